// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs about tasks, cgroups and their memory: what tasks.yaml asks about. */
#include "program.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
	__u64 id;
};

struct cgroup_subsys_state {
	__u64 serial_nr;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	int level;
};

struct sigset {
	unsigned long sig[1]; /* its beginning alone */
};

struct sigpending {
	struct sigset signal;
};

struct signal_struct {
	struct sigpending shared_pending;
};

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct signal_struct *signal;
};

struct mem_cgroup {
	struct cgroup_subsys_state css;
};

#pragma clang attribute pop

/* A kfunc is found by its prototype: an enum is no integer. */
enum pid_type { PIDTYPE_PID };
enum vm_event_item { PGPGIN };
enum memcg_memory_event { MEMCG_LOW };

KFUNC(struct task_struct *, bpf_task_acquire, (struct task_struct *task))
KFUNC(void, bpf_task_release, (struct task_struct *task))
KFUNC(struct task_struct *, bpf_task_from_pid, (int pid))
KFUNC(struct task_struct *, bpf_task_from_vpid, (int pid))
KFUNC(long, bpf_task_under_cgroup, (struct task_struct *task, struct cgroup *ancestor))
KFUNC(struct cgroup *, bpf_task_get_cgroup1, (struct task_struct *task, int hierarchy))
KFUNC(int, bpf_send_signal_task, (struct task_struct *task, int number, enum pid_type type, __u64 value))
KFUNC(struct cgroup *, bpf_cgroup_from_id, (__u64 id))
KFUNC(struct cgroup *, bpf_cgroup_acquire, (struct cgroup *cgroup))
KFUNC(struct cgroup *, bpf_cgroup_ancestor, (struct cgroup *cgroup, int level))
KFUNC(void, bpf_cgroup_release, (struct cgroup *cgroup))
KFUNC(int, bpf_cgroup_read_xattr, (struct cgroup *cgroup, const char *name, struct bpf_dynptr *value))
KFUNC(struct mem_cgroup *, bpf_get_root_mem_cgroup, (void))
KFUNC(struct mem_cgroup *, bpf_get_mem_cgroup, (struct cgroup_subsys_state *css))
KFUNC(void, bpf_put_mem_cgroup, (struct mem_cgroup *memory))
KFUNC(unsigned long, bpf_mem_cgroup_vm_events, (struct mem_cgroup *memory, enum vm_event_item event))
KFUNC(unsigned long, bpf_mem_cgroup_memory_events, (struct mem_cgroup *memory, enum memcg_memory_event event))
KFUNC(unsigned long, bpf_mem_cgroup_usage, (struct mem_cgroup *memory))
KFUNC(unsigned long, bpf_mem_cgroup_page_state, (struct mem_cgroup *memory, int which))

#define ROOT 1 /* the id of the cgroup at the root */

/* Inputs. */
__u32 flow = 0;
__u32 own = 0; /* the pid is that of the task that runs the program */
int pid = 2; /* kthreadd */
__u64 id = ROOT;
int level = 0;
int number = 0; /* of a signal; 0 is none: nothing is sent, all is checked */
__u32 type = 1; /* PIDTYPE_TGID */
int which = 0; /* counter */

const char user_name[] = "user.runner";
const char no_name[] = "user.none";
const char other_name[] = "security.runner";

/* Results. */
struct {
	__s64 ret;
	__u32 found; /* a pointer was returned */
	__s32 pid;
	__s32 own_pid;
	__u64 id;
	__u32 level;
	__u32 same; /* what was returned twice is the same */
	__u32 under; /* ... the cgroup */
	__u64 pending; /* signals of a task, after the call */
	__u64 value;
} result = { .ret = UNTOUCHED };

static __always_inline int wanted(void)
{
	struct task_struct *self = bpf_get_current_task_btf();

	result.own_pid = self->pid;
	asm volatile("" ::: "memory");
	return own ? result.own_pid : pid;
}

static __always_inline int seen(struct task_struct *task)
{
	if (!task)
		return 0;
	result.found = 1;
	asm volatile("" ::: "memory"); /* or clang reads this pid and the other one by the same instruction */
	result.pid = task->pid;
	result.same = result.pid == result.own_pid;
	bpf_task_release(task);
	return 0;
}

PROGRAM(from_pid)
{
	return seen(bpf_task_from_pid(wanted()));
}

PROGRAM(from_vpid)
{
	return seen(bpf_task_from_vpid(wanted()));
}

PROGRAM(acquire)
{
	struct task_struct *self = bpf_get_current_task_btf();

	result.own_pid = self->pid;
	return seen(bpf_task_acquire(self));
}

/* The first reference is given back before the second is used. */
PROGRAM(acquire_again)
{
	struct task_struct *first = bpf_task_from_pid(pid), *second;

	if (!first)
		return 0;
	second = bpf_task_acquire(first);
	bpf_task_release(first);
	return seen(second);
}

static __always_inline int seen_cgroup(struct cgroup *cgroup)
{
	if (!cgroup)
		return 0;
	result.found = 1;
	result.id = cgroup->kn->id;
	result.level = cgroup->level;
	bpf_cgroup_release(cgroup);
	return 0;
}

PROGRAM(from_id)
{
	return seen_cgroup(bpf_cgroup_from_id(id));
}

PROGRAM(cgroup_acquire)
{
	struct cgroup *first = bpf_cgroup_from_id(id), *second;

	if (!first)
		return 0;
	second = bpf_cgroup_acquire(first);
	bpf_cgroup_release(first);
	return seen_cgroup(second);
}

PROGRAM(ancestor)
{
	struct cgroup *cgroup = bpf_cgroup_from_id(id), *found;

	if (!cgroup)
		return 0;
	found = bpf_cgroup_ancestor(cgroup, level);
	bpf_cgroup_release(cgroup);
	return seen_cgroup(found);
}

PROGRAM(under_cgroup)
{
	struct task_struct *self = bpf_get_current_task_btf();
	struct cgroup *root = bpf_cgroup_from_id(id);

	if (!root)
		return 0;
	result.ret = bpf_task_under_cgroup(self, root);
	bpf_cgroup_release(root);
	return 0;
}

PROGRAM(get_cgroup1)
{
	return seen_cgroup(bpf_task_get_cgroup1(bpf_get_current_task_btf(), level));
}

/* In the first hierarchy of version 1 that there is. */
PROGRAM(find_cgroup1)
{
	for (int hierarchy = 1; hierarchy < 16; hierarchy++) {
		struct cgroup *cgroup = bpf_task_get_cgroup1(bpf_get_current_task_btf(), hierarchy);

		if (cgroup)
			return seen_cgroup(cgroup);
	}
	return 0;
}

PROGRAM(send_signal)
{
	struct task_struct *task = bpf_task_from_pid(wanted());

	if (!task)
		return 0;
	result.ret = bpf_send_signal_task(task, number, type, 0);
	bpf_task_release(task);
	return 0;
}

static long pending(__u32 i, const __u64 *until)
{
	struct task_struct *task = bpf_get_current_task_btf()->real_parent;

	result.pending = task->signal->shared_pending.signal.sig[0] >> (number - 1) & 1;
	return result.pending || late(until);
}

/* To the process that waits for the one which runs this: it can take care of the signal only later. Where preemption is
 * off, as it is here, an interrupt sends it. */
PROGRAM(signal_parent)
{
	struct task_struct *task = bpf_task_acquire(bpf_get_current_task_btf()->real_parent);

	if (!task)
		return 0;
	result.ret = bpf_send_signal_task(task, number, type, 0);
	bpf_task_release(task);
	soon(pending);
	return 0;
}

#define READ_XATTR(program, of)                                                                                        \
	PROGRAM(program)                                                                                               \
	{                                                                                                              \
		struct cgroup *cgroup = bpf_cgroup_from_id(id);                                                        \
		struct bpf_dynptr value;                                                                               \
                                                                                                                       \
		if (!cgroup)                                                                                           \
			return 0;                                                                                      \
		bpf_dynptr_from_mem(&result.value, sizeof(result.value), 0, &value);                                   \
		result.ret = bpf_cgroup_read_xattr(cgroup, of, &value);                                                \
		bpf_cgroup_release(cgroup);                                                                            \
		return 0;                                                                                              \
	}

READ_XATTR(read_xattr, user_name)
READ_XATTR(read_no_xattr, no_name)
READ_XATTR(read_other_xattr, other_name)

/* --- memory -------------------------------------------------------------------------------------------------------- */

PROGRAM(root_memory)
{
	struct mem_cgroup *memory = bpf_get_root_mem_cgroup();

	if (!memory)
		return 0;
	result.found = 1;
	result.id = memory->css.serial_nr;
	bpf_put_mem_cgroup(memory);
	return 0;
}

PROGRAM(memory)
{
	struct mem_cgroup *root = bpf_get_root_mem_cgroup(), *memory;
	struct cgroup *cgroup;

	if (!root)
		return 0;
	cgroup = bpf_cgroup_from_id(id);
	if (!cgroup)
		goto out;
	memory = bpf_get_mem_cgroup(&cgroup->self);
	if (memory) {
		result.found = 1;
		result.same = memory == root;
		bpf_put_mem_cgroup(memory);
	}
	bpf_cgroup_release(cgroup);
out:
	bpf_put_mem_cgroup(root);
	return 0;
}

#define COUNTER(name, ...)                                                                                             \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		struct mem_cgroup *memory = bpf_get_root_mem_cgroup();                                                 \
                                                                                                                       \
		result.ret = 0;                                                                                        \
		if (!memory)                                                                                           \
			return 0;                                                                                      \
		result.ret = bpf_mem_cgroup_##name(memory, ##__VA_ARGS__);                                             \
		bpf_put_mem_cgroup(memory);                                                                            \
		return 0;                                                                                              \
	}

COUNTER(vm_events, which)
COUNTER(memory_events, which)
COUNTER(usage)
COUNTER(page_state, which)

/* --- refused ------------------------------------------------------------------------------------------------------- */

#define LEAK(name, call)                                                                                               \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		if (call)                                                                                              \
			result.found = 1;                                                                              \
		return 0;                                                                                              \
	}

LEAK(acquire_leak, bpf_task_acquire(bpf_get_current_task_btf()))
LEAK(from_pid_leak, bpf_task_from_pid(pid))
LEAK(from_vpid_leak, bpf_task_from_vpid(pid))
LEAK(from_id_leak, bpf_cgroup_from_id(id))
LEAK(root_memory_leak, bpf_get_root_mem_cgroup())

#define UNCHECKED(name, release, call)                                                                                 \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		release(call);                                                                                         \
		return 0;                                                                                              \
	}

UNCHECKED(acquire_unchecked, bpf_task_release, bpf_task_acquire(bpf_get_current_task_btf()))
UNCHECKED(from_pid_unchecked, bpf_task_release, bpf_task_from_pid(pid))
UNCHECKED(from_vpid_unchecked, bpf_task_release, bpf_task_from_vpid(pid))
UNCHECKED(from_id_unchecked, bpf_cgroup_release, bpf_cgroup_from_id(id))
UNCHECKED(root_memory_unchecked, bpf_put_mem_cgroup, bpf_get_root_mem_cgroup())

PROGRAM(release_other)
{
	bpf_task_release(bpf_get_current_task_btf());
	return 0;
}

PROGRAM(release_twice)
{
	struct task_struct *task = bpf_task_from_pid(pid);

	if (!task)
		return 0;
	bpf_task_release(task);
	bpf_task_release(task);
	return 0;
}

PROGRAM(release_as_cgroup)
{
	struct task_struct *task = bpf_task_from_pid(pid);

	if (task)
		bpf_cgroup_release((struct cgroup *)task);
	return 0;
}

PROGRAM(cgroup_release_twice)
{
	struct cgroup *cgroup = bpf_cgroup_from_id(id);

	if (!cgroup)
		return 0;
	bpf_cgroup_release(cgroup);
	bpf_cgroup_release(cgroup);
	return 0;
}

PROGRAM(read_after_release)
{
	struct task_struct *task = bpf_task_from_pid(pid);

	if (!task)
		return 0;
	bpf_task_release(task);
	result.ret = bpf_send_signal_task(task, 0, type, 0);
	return 0;
}

PROGRAM(memory_put_twice)
{
	struct mem_cgroup *memory = bpf_get_root_mem_cgroup();

	if (!memory)
		return 0;
	bpf_put_mem_cgroup(memory);
	bpf_put_mem_cgroup(memory);
	return 0;
}

char _license[] SEC("license") = "GPL";
