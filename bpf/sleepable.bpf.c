// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs whose callbacks sleep: what sleepable.yaml asks about. */
#include "program.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct task_struct {
	int pid;
};

struct vm_area_struct {
	unsigned long vm_start;
};

struct cgroup_subsys_state {
	__u64 serial_nr;
};

struct cgroup {
	struct cgroup_subsys_state self;
};

struct mem_cgroup {
	struct cgroup_subsys_state css;
};

#pragma clang attribute pop

#define ITERATOR(name, words)                                                                                          \
	struct name {                                                                                                  \
		__u64 opaque[words];                                                                                   \
	} __attribute__((aligned(8)))

ITERATOR(bpf_iter_task_vma, 1);
ITERATOR(bpf_iter_css_task, 1);

KFUNC(int, bpf_iter_task_vma_new, (struct bpf_iter_task_vma *it, struct task_struct *task, __u64 address))
KFUNC(struct vm_area_struct *, bpf_iter_task_vma_next, (struct bpf_iter_task_vma *it))
KFUNC(void, bpf_iter_task_vma_destroy, (struct bpf_iter_task_vma *it))
KFUNC(int, bpf_iter_css_task_new, (struct bpf_iter_css_task *it, struct cgroup_subsys_state *css, unsigned int flags))
KFUNC(struct task_struct *, bpf_iter_css_task_next, (struct bpf_iter_css_task *it))
KFUNC(void, bpf_iter_css_task_destroy, (struct bpf_iter_css_task *it))
KFUNC(struct task_struct *, bpf_task_from_pid, (int pid))
KFUNC(void, bpf_task_release, (struct task_struct *task))
KFUNC(struct cgroup *, bpf_cgroup_from_id, (__u64 id))
KFUNC(void, bpf_cgroup_release, (struct cgroup *cgroup))
KFUNC(struct mem_cgroup *, bpf_get_root_mem_cgroup, (void))
KFUNC(void, bpf_put_mem_cgroup, (struct mem_cgroup *memory))
KFUNC(void, bpf_mem_cgroup_flush_stats, (struct mem_cgroup *memory))
KFUNC(int, bpf_copy_from_user_str, (void *to, __u32 size, const void *from, __u64 flags))
KFUNC(int, bpf_copy_from_user_task_str, (void *to, __u32 size, const void *from, struct task_struct *task, __u64 flags))
KFUNC(int, bpf_copy_from_user_dynptr, (const struct bpf_dynptr *to, __u64 at, __u64 size, const void *from))
KFUNC(int, bpf_copy_from_user_str_dynptr, (const struct bpf_dynptr *to, __u64 at, __u64 size, const void *from))
KFUNC(int, bpf_copy_from_user_task_dynptr,
      (const struct bpf_dynptr *to, __u64 at, __u64 size, const void *from, struct task_struct *task))
KFUNC(int, bpf_copy_from_user_task_str_dynptr,
      (const struct bpf_dynptr *to, __u64 at, __u64 size, const void *from, struct task_struct *task))

/* Inputs. */
__u32 flow = 0;
__u64 flags = 0;
__u32 nowhere = 0; /* read at this address instead */
__u64 size = 5;
__u64 offset = 0;
__u64 id = 1; /* of a cgroup */

/* What is copied: the beginning of an ELF file. */
__u8 room[16] = { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 };

/* Results. */
struct {
	__u32 done;
	__s32 ret;
	__u32 elf; /* what was copied, where it should be, is the beginning of the program's file */
	__u32 ended; /* there is a 0 behind it */
	__u32 untouched; /* bytes that nothing was written to */
	__u32 seen;
	__u32 self; /* the task that ran the program was seen */
	__u32 found;
	__u64 address; /* from which is copied */
} result = { .ret = UNTOUCHED };

/* The first mapping of a process is, by its address, the beginning of a file: of the program, or of a library. */
static __always_inline __u64 first_mapping(struct task_struct *task)
{
	struct bpf_iter_task_vma it;
	struct vm_area_struct *vma;
	__u64 start = 0;

	bpf_iter_task_vma_new(&it, task, 0);
	vma = bpf_iter_task_vma_next(&it);
	if (vma)
		start = vma->vm_start;
	bpf_iter_task_vma_destroy(&it);
	return start;
}

#define PREPARE(later) prepare(&(later)->pid, &(later)->address)

static __always_inline void prepare(int *pid, __u64 *address)
{
	struct task_struct *self = bpf_get_current_task_btf();

	*pid = self->pid;
	*address = result.address = nowhere ? nowhere : first_mapping(self);
}

#include "later.h"

#define FROM(later) ((const void *)(later)->address)

/* --- memory of a process ------------------------------------------------------------------------------------------- */

static __always_inline void judge(void)
{
	__u64 at = offset & 7;

	asm volatile("" ::: "memory");
	result.elf = room[at] == 0x7f && room[at + 1] == 'E' && room[at + 2] == 'L' && room[at + 3] == 'F';
	result.ended = room[at + 4] == 0;
	for (int i = 0; i < sizeof(room); i++)
		result.untouched += room[i] == 255;
}

#define COPY(later_how, name, call)                                                                                    \
	later_how(name)                                                                                                \
	{                                                                                                              \
		result.ret = call;                                                                                     \
		judge();                                                                                               \
	}
#define COPY_OF_TASK(name, call)                                                                                       \
	LATER(name)                                                                                                    \
	{                                                                                                              \
		struct task_struct *task = bpf_task_from_pid(later->pid);                                              \
                                                                                                                       \
		if (!task)                                                                                             \
			return;                                                                                        \
		result.ret = call;                                                                                     \
		bpf_task_release(task);                                                                                \
		judge();                                                                                               \
	}
#define BOUNDED (size & 15)

COPY(LATER, worker_str, bpf_copy_from_user_str(room, BOUNDED, FROM(later), flags))
COPY(LATER_IN_TASK, copy_str, bpf_copy_from_user_str(room, BOUNDED, FROM(later), flags))
COPY_OF_TASK(task_str, bpf_copy_from_user_task_str(room, BOUNDED, FROM(later), task, flags))

static __always_inline int copied(const void *from)
{
	struct bpf_dynptr to;

	bpf_dynptr_from_mem(room, sizeof(room), 0, &to);
	return bpf_copy_from_user_dynptr(&to, offset, size, from);
}

static __always_inline int copied_str(const void *from)
{
	struct bpf_dynptr to;

	bpf_dynptr_from_mem(room, sizeof(room), 0, &to);
	return bpf_copy_from_user_str_dynptr(&to, offset, size, from);
}

static __always_inline int copied_of_task(const void *from, struct task_struct *task)
{
	struct bpf_dynptr to;

	bpf_dynptr_from_mem(room, sizeof(room), 0, &to);
	return bpf_copy_from_user_task_dynptr(&to, offset, size, from, task);
}

static __always_inline int copied_str_of_task(const void *from, struct task_struct *task)
{
	struct bpf_dynptr to;

	bpf_dynptr_from_mem(room, sizeof(room), 0, &to);
	return bpf_copy_from_user_task_str_dynptr(&to, offset, size, from, task);
}

COPY(LATER_IN_TASK, copy, copied(FROM(later)))
COPY(LATER_IN_TASK, copy_text, copied_str(FROM(later)))
COPY_OF_TASK(task_copy, copied_of_task(FROM(later), task))
COPY_OF_TASK(task_text, copied_str_of_task(FROM(later), task))

/* --- iterators ----------------------------------------------------------------------------------------------------- */

LATER(css_task)
{
	struct cgroup *cgroup = bpf_cgroup_from_id(id);
	struct bpf_iter_css_task it;
	struct task_struct *task;

	if (!cgroup)
		return;
	result.ret = bpf_iter_css_task_new(&it, &cgroup->self, flags);
	while ((task = bpf_iter_css_task_next(&it))) {
		result.seen++;
		result.self += task->pid == later->pid;
	}
	bpf_iter_css_task_destroy(&it);
	bpf_cgroup_release(cgroup);
}

/* --- memory of cgroups --------------------------------------------------------------------------------------------- */

LATER(flush)
{
	struct mem_cgroup *memory = bpf_get_root_mem_cgroup();

	if (!memory)
		return;
	bpf_mem_cgroup_flush_stats(memory);
	bpf_put_mem_cgroup(memory);
	result.found = 1;
}

/* --- refused: not in a callback ------------------------------------------------------------------------------------ */

#define OUTSIDE(name, call)                                                                                            \
	PROGRAM(name##_outside)                                                                                        \
	{                                                                                                              \
		result.ret = call;                                                                                     \
		return 0;                                                                                              \
	}
#define SELF bpf_get_current_task_btf()

OUTSIDE(copy_str, bpf_copy_from_user_str(room, sizeof(room), NULL, 0))
OUTSIDE(task_str, bpf_copy_from_user_task_str(room, sizeof(room), NULL, SELF, 0))
OUTSIDE(copy, copied(NULL))
OUTSIDE(copy_text, copied_str(NULL))
OUTSIDE(task_copy, copied_of_task(NULL, SELF))
OUTSIDE(task_text, copied_str_of_task(NULL, SELF))

PROGRAM(flush_outside)
{
	struct mem_cgroup *memory = bpf_get_root_mem_cgroup();

	if (!memory)
		return 0;
	bpf_mem_cgroup_flush_stats(memory);
	bpf_put_mem_cgroup(memory);
	return 0;
}

/* ... which leaves what it took. */

LATER(css_task_leak)
{
	struct cgroup *cgroup = bpf_cgroup_from_id(id);
	struct bpf_iter_css_task it;

	if (!cgroup)
		return;
	bpf_iter_css_task_new(&it, &cgroup->self, 0);
	bpf_cgroup_release(cgroup);
}

LATER(task_str_unchecked)
{
	bpf_copy_from_user_task_str(room, sizeof(room), NULL, bpf_task_from_pid(later->pid), 0);
}

char _license[] SEC("license") = "GPL";
