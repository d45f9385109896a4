/* SPDX-FileCopyrightText: 2026 The kfunc-runner authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Programs whose work is done later, by a callback that may sleep: on a workqueue, or in the task that ran the program.
 * Include it below program.h. `result` has a member `done`, and struct task_struct a member `pid`.
 */

/* What such a program returns: 1, if there is something to wait for. */
#ifdef NO_CALL
#define LEFT(failed) 0
#else
#define LEFT(failed) (!(failed))
#endif

struct bpf_wq {
	__u64 opaque[2];
} __attribute__((aligned(8)));

struct bpf_task_work {
	__u64 opaque;
} __attribute__((aligned(8)));

struct later {
	struct bpf_wq work;
	struct bpf_task_work job;
	__u32 flow; /* of the question that started it */
	int pid; /* of the task that ran the program, and an address in its memory, where PREPARE gives them */
	__u64 address;
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

struct bpf_map {
	char any;
};

typedef int in_task_callback(struct bpf_map *map, void *key, void *value);

KFUNC(int, bpf_task_work_schedule_signal,
      (struct task_struct *task, struct bpf_task_work *work, void *map, in_task_callback *callback))
KFUNC(int, bpf_task_work_schedule_signal_impl,
      (struct task_struct *task, struct bpf_task_work *work, void *map, in_task_callback *callback, void *program))
KFUNC(int, bpf_task_work_schedule_resume,
      (struct task_struct *task, struct bpf_task_work *work, void *map, in_task_callback *callback))
KFUNC(int, bpf_task_work_schedule_resume_impl,
      (struct task_struct *task, struct bpf_task_work *work, void *map, in_task_callback *callback, void *program))

#define IN_TASK(kfunc, task, work, map, callback)                                                                      \
	(kfunc ? kfunc(task, work, map, callback) : kfunc##_impl(task, work, map, callback, NULL))

/* A program that has the block which follows done by a callback: `later` is what the program left for it. PREPARE is
 * done by the program itself. */
#define CALLBACK(name, key_type, start)                                                                                \
	static __always_inline void name##_work(struct later *later);                                                  \
	static int name##_callback(void *map, key_type *key, void *value)                                              \
	{                                                                                                              \
		struct later *later = value;                                                                           \
                                                                                                                       \
		if (later->flow != flow) /* another question's, and late */                                            \
			return 0;                                                                                      \
		name##_work(later);                                                                                    \
		asm volatile("" ::: "memory");                                                                         \
		result.done = 1;                                                                                       \
		return 0;                                                                                              \
	}                                                                                                              \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		struct later *later = bpf_map_lookup_elem(&laters, &(int){ 0 });                                       \
		int failed;                                                                                            \
                                                                                                                       \
		if (!later)                                                                                            \
			return 0;                                                                                      \
		later->flow = flow;                                                                                    \
		PREPARE(later);                                                                                        \
		start;                                                                                                 \
		return LEFT(failed);                                                                                   \
	}                                                                                                              \
	static __always_inline void name##_work(struct later *later)

#ifndef PREPARE
#define PREPARE(later)
#endif

/* On a workqueue. bpf_wq_init returns -EBUSY from the second time on. */
#define LATER(name)                                                                                                    \
	CALLBACK(name, int, bpf_wq_init(&later->work, &laters, 0);                                                     \
		 failed = SET_CALLBACK(&later->work, name##_callback, 0) || bpf_wq_start(&later->work, 0))

/* In the task that ran the program, when it returns to user space. */
#define LATER_IN_TASK(name)                                                                                            \
	CALLBACK(name, void,                                                                                           \
		 failed = IN_TASK(bpf_task_work_schedule_signal, bpf_get_current_task_btf(), &later->job, &laters,     \
				  (in_task_callback *)name##_callback))
