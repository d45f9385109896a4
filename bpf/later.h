/* Programs whose work is done later, by a callback that may sleep: on a workqueue, or in the task that ran the program.
 * Include it below program.h. `result` has a member `done`.
 */
struct bpf_wq {
	__u64 opaque[2];
} __attribute__((aligned(8)));

struct bpf_task_work {
	__u64 opaque;
} __attribute__((aligned(8)));

struct later {
	struct bpf_wq work;
	__u32 flow; /* of the question that started it */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, struct later);
} laters SEC(".maps");

/* The second name is that of kernels before 7.0, which leave the last parameter to the verifier; later ones have it in
 * their BTF only, with another type. */
KFUNC(int, bpf_wq_init, (struct bpf_wq *work, void *map, unsigned int flags))
KFUNC(int, bpf_wq_set_callback, (struct bpf_wq *work, int(callback)(void *map, int *key, void *value), unsigned int flags))
KFUNC(int, bpf_wq_set_callback_impl,
      (struct bpf_wq *work, int(callback)(void *map, int *key, void *value), unsigned int flags, void *program))
KFUNC(int, bpf_wq_start, (struct bpf_wq *work, unsigned int flags))

#define SET_CALLBACK(work, callback, flags)                                                                            \
	(bpf_wq_set_callback ? bpf_wq_set_callback(work, callback, flags) :                                            \
			       bpf_wq_set_callback_impl(work, callback, flags, NULL))

struct bpf_map;
typedef int in_task_callback(struct bpf_map *map, void *key, void *value);

KFUNC(int, bpf_task_work_schedule_signal,
      (struct task_struct *task, struct bpf_task_work *work, void *map,
       in_task_callback *callback))
KFUNC(int, bpf_task_work_schedule_signal_impl,
      (struct task_struct *task, struct bpf_task_work *work, void *map,
       in_task_callback *callback, void *program))
KFUNC(int, bpf_task_work_schedule_resume,
      (struct task_struct *task, struct bpf_task_work *work, void *map,
       in_task_callback *callback))
KFUNC(int, bpf_task_work_schedule_resume_impl,
      (struct task_struct *task, struct bpf_task_work *work, void *map,
       in_task_callback *callback, void *program))

#define IN_TASK(kfunc, task, work, map, callback)                                                                      \
	(kfunc ? kfunc(task, work, map, callback) : kfunc##_impl(task, work, map, callback, NULL))

/* A program that has the block which follows done by a workqueue. */
#define LATER(name)                                                                                                    \
	static __always_inline void name##_work(void);                                                                 \
	static int name##_callback(void *map, int *key, void *value)                                                   \
	{                                                                                                              \
		if (((struct later *)value)->flow != flow) /* another question's, and late */                          \
			return 0;                                                                                      \
		name##_work();                                                                                         \
		asm volatile("" ::: "memory");                                                                         \
		result.done = 1;                                                                                       \
		return 0;                                                                                              \
	}                                                                                                              \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		struct later *later = bpf_map_lookup_elem(&laters, &(int){ 0 });                                       \
                                                                                                                       \
		if (!later)                                                                                            \
			return 0;                                                                                      \
		later->flow = flow;                                                                                    \
		bpf_wq_init(&later->work, &laters, 0); /* -EBUSY from the second time on */                            \
		if (!SET_CALLBACK(&later->work, name##_callback, 0))                                                   \
			bpf_wq_start(&later->work, 0);                                                                 \
		return 0;                                                                                              \
	}                                                                                                              \
	static __always_inline void name##_work(void)
