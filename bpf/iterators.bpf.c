// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that iterate: what iterators.yaml asks about. */
#include "program.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct cgroup_subsys_state {
	__u64 serial_nr;
};

struct cgroup {
	struct cgroup_subsys_state self;
	int level;
};

struct task_struct {
	int pid;
	int tgid;
};

struct vm_area_struct {
	unsigned long vm_start;
	unsigned long vm_end;
};

#pragma clang attribute pop

#define ITERATOR(name, words)                                                                                          \
	struct name {                                                                                                  \
		__u64 opaque[words];                                                                                   \
	} __attribute__((aligned(8)))

ITERATOR(bpf_iter_num, 1);
ITERATOR(bpf_iter_bits, 2);
ITERATOR(bpf_iter_task, 3);
ITERATOR(bpf_iter_task_vma, 1);
ITERATOR(bpf_iter_css, 3);
ITERATOR(bpf_iter_css_task, 1);

KFUNC(int, bpf_iter_num_new, (struct bpf_iter_num *it, int start, int end))
KFUNC(int *, bpf_iter_num_next, (struct bpf_iter_num *it))
KFUNC(void, bpf_iter_num_destroy, (struct bpf_iter_num *it))
KFUNC(int, bpf_iter_bits_new, (struct bpf_iter_bits *it, const __u64 *words, __u32 count))
KFUNC(int *, bpf_iter_bits_next, (struct bpf_iter_bits *it))
KFUNC(void, bpf_iter_bits_destroy, (struct bpf_iter_bits *it))
KFUNC(int, bpf_iter_task_new, (struct bpf_iter_task *it, struct task_struct *task, unsigned int flags))
KFUNC(struct task_struct *, bpf_iter_task_next, (struct bpf_iter_task *it))
KFUNC(void, bpf_iter_task_destroy, (struct bpf_iter_task *it))
KFUNC(int, bpf_iter_task_vma_new, (struct bpf_iter_task_vma *it, struct task_struct *task, __u64 address))
KFUNC(struct vm_area_struct *, bpf_iter_task_vma_next, (struct bpf_iter_task_vma *it))
KFUNC(void, bpf_iter_task_vma_destroy, (struct bpf_iter_task_vma *it))
KFUNC(int, bpf_iter_css_new, (struct bpf_iter_css *it, struct cgroup_subsys_state *start, unsigned int flags))
KFUNC(struct cgroup_subsys_state *, bpf_iter_css_next, (struct bpf_iter_css *it))
KFUNC(void, bpf_iter_css_destroy, (struct bpf_iter_css *it))
KFUNC(int, bpf_iter_css_task_new, (struct bpf_iter_css_task *it, struct cgroup_subsys_state *css, unsigned int flags))
KFUNC(struct task_struct *, bpf_iter_css_task_next, (struct bpf_iter_css_task *it))
KFUNC(void, bpf_iter_css_task_destroy, (struct bpf_iter_css_task *it))
KFUNC(struct task_struct *, bpf_task_from_pid, (int pid))
KFUNC(void, bpf_task_release, (struct task_struct *task))
KFUNC(struct cgroup *, bpf_cgroup_from_id, (__u64 id))
KFUNC(void, bpf_cgroup_release, (struct cgroup *cgroup))

/* Inputs. */
__u32 flow = 0;
int start = 3;
int end = 6;
__u64 words[4] = { 0x8000000000000001, 0, 2, 0 };
__u32 count = 4;
__u32 unmapped = 0;
__u32 flags = 0;
__u64 address = 0;
int pid = 2; /* kthreadd, which has no memory of its own */

/* Results. */
struct {
	__s32 ret; /* of the start */
	__u32 seen; /* how many */
	__u64 sum;
	__u64 first;
	__u64 last;
	__u32 self; /* how often the task that runs the program, or the cgroup at which it began, was seen */
	__u32 others; /* threads besides leaders of their group */
	__u32 misplaced; /* out of order, or not what was asked for */
} result = { .ret = UNTOUCHED };

static __always_inline void note(__u64 value)
{
	if (!result.seen)
		result.first = value;
	result.last = value;
	result.sum += value;
	result.seen++;
}

PROGRAM(num)
{
	struct bpf_iter_num it;
	int *number;

	result.ret = bpf_iter_num_new(&it, start, end);
	while ((number = bpf_iter_num_next(&it)))
		note(*number);
	bpf_iter_num_destroy(&it);
	return 0;
}

PROGRAM(bits)
{
	const __u64 *from = unmapped ? (const __u64 *)-8 : words;
	struct bpf_iter_bits it;
	int *number;

	result.ret = bpf_iter_bits_new(&it, from, count);
	while ((number = bpf_iter_bits_next(&it)))
		note(*number);
	bpf_iter_bits_destroy(&it);
	return 0;
}

PROGRAM(bits_null)
{
	struct bpf_iter_bits it;
	int *number;

	result.ret = bpf_iter_bits_new(&it, NULL, count);
	while ((number = bpf_iter_bits_next(&it)))
		note(*number);
	bpf_iter_bits_destroy(&it);
	return 0;
}

static __always_inline void walk_tasks(struct task_struct *from)
{
	struct task_struct *self = bpf_get_current_task_btf(), *task;
	struct bpf_iter_task it;

	result.ret = bpf_iter_task_new(&it, from, flags);
	while ((task = bpf_iter_task_next(&it))) {
		note(task->pid);
		result.self += task->pid == self->pid;
		result.others += task->pid != task->tgid;
		result.misplaced += flags == 2 && task->tgid != self->tgid;
	}
	bpf_iter_task_destroy(&it);
}

PROGRAM(tasks)
{
	walk_tasks(NULL);
	return 0;
}

PROGRAM(threads)
{
	walk_tasks(bpf_get_current_task_btf());
	return 0;
}

static __always_inline void walk_memory(struct task_struct *task)
{
	struct vm_area_struct *vma;
	struct bpf_iter_task_vma it;

	result.ret = bpf_iter_task_vma_new(&it, task, address);
	while ((vma = bpf_iter_task_vma_next(&it))) {
		result.misplaced += vma->vm_start < result.last || vma->vm_end <= address;
		note(vma->vm_start);
	}
	bpf_iter_task_vma_destroy(&it);
}

PROGRAM(vmas)
{
	walk_memory(bpf_get_current_task_btf());
	return 0;
}

PROGRAM(vmas_of_kernel)
{
	struct task_struct *task = bpf_task_from_pid(pid);

	if (!task)
		return 0;
	walk_memory(task);
	bpf_task_release(task);
	return 0;
}

/* From the root, whose id is 1. */
PROGRAM(css)
{
	struct cgroup *root = bpf_cgroup_from_id(1);
	struct cgroup_subsys_state *css;
	struct bpf_iter_css it;

	if (!root)
		return 0;
	result.ret = bpf_iter_css_new(&it, &root->self, flags);
	while ((css = bpf_iter_css_next(&it))) {
		note(css->serial_nr);
		result.self += css->serial_nr == root->self.serial_nr;
	}
	bpf_iter_css_destroy(&it);
	bpf_cgroup_release(root);
	return 0;
}

/* --- refused ------------------------------------------------------------------------------------------------------- */

#define NUM bpf_iter_num_new(&it, 0, 3)
#define BITS bpf_iter_bits_new(&it, words, 1)
#define TASK bpf_iter_task_new(&it, NULL, 0)
#define VMA bpf_iter_task_vma_new(&it, bpf_get_current_task_btf(), 0)

#define REFUSED(name, make)                                                                                            \
	PROGRAM(name##_leak)                                                                                           \
	{                                                                                                              \
		struct bpf_iter_##name it;                                                                             \
                                                                                                                       \
		make;                                                                                                  \
		return 0;                                                                                              \
	}                                                                                                              \
	PROGRAM(name##_twice)                                                                                          \
	{                                                                                                              \
		struct bpf_iter_##name it;                                                                             \
                                                                                                                       \
		make;                                                                                                  \
		make;                                                                                                  \
		bpf_iter_##name##_destroy(&it);                                                                        \
		return 0;                                                                                              \
	}                                                                                                              \
	PROGRAM(name##_not_begun)                                                                                      \
	{                                                                                                              \
		struct bpf_iter_##name it = {};                                                                        \
                                                                                                                       \
		bpf_iter_##name##_next(&it);                                                                           \
		return 0;                                                                                              \
	}                                                                                                              \
	PROGRAM(name##_ended)                                                                                          \
	{                                                                                                              \
		struct bpf_iter_##name it;                                                                             \
                                                                                                                       \
		make;                                                                                                  \
		bpf_iter_##name##_destroy(&it);                                                                        \
		bpf_iter_##name##_destroy(&it);                                                                        \
		return 0;                                                                                              \
	}

REFUSED(num, NUM)
REFUSED(bits, BITS)
REFUSED(task, TASK)
REFUSED(task_vma, VMA)

#define UNCHECKED(name, make, read)                                                                                    \
	PROGRAM(name##_unchecked)                                                                                      \
	{                                                                                                              \
		struct bpf_iter_##name it;                                                                             \
                                                                                                                       \
		make;                                                                                                  \
		result.first = bpf_iter_##name##_next(&it) read;                                                       \
		bpf_iter_##name##_destroy(&it);                                                                        \
		return 0;                                                                                              \
	}

UNCHECKED(num, NUM, [0])
UNCHECKED(bits, BITS, [0])
UNCHECKED(task, TASK, ->pid)
UNCHECKED(task_vma, VMA, ->vm_start)

/* The memory of an iterator can be neither read nor written. */
PROGRAM(num_opened)
{
	struct bpf_iter_num it;

	bpf_iter_num_new(&it, 0, 3);
	*(volatile __u64 *)&it = 0;
	bpf_iter_num_destroy(&it);
	return 0;
}

PROGRAM(css_leak)
{
	struct cgroup *root = bpf_cgroup_from_id(1);
	struct bpf_iter_css it;

	if (!root)
		return 0;
	bpf_iter_css_new(&it, &root->self, 0);
	bpf_cgroup_release(root);
	return 0;
}

PROGRAM(css_task)
{
	struct cgroup *root = bpf_cgroup_from_id(1);
	struct bpf_iter_css_task it;
	struct task_struct *task;

	if (!root)
		return 0;
	result.ret = bpf_iter_css_task_new(&it, &root->self, 0);
	while ((task = bpf_iter_css_task_next(&it)))
		note(task->pid);
	bpf_iter_css_task_destroy(&it);
	bpf_cgroup_release(root);
	return 0;
}

char _license[] SEC("license") = "GPL";
