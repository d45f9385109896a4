// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that have something done later, call it off, or end early: what async.yaml asks about. */
#include "program.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct task_struct {
	int pid;
	unsigned int flags;
};

#pragma clang attribute pop

/* Inputs. */
__u32 flow = 0;
__u32 flags = 0;

/* Results. */
struct {
	__u32 done;
	__s32 ret;
	__s32 second;
	__s32 third;
	__u32 worker; /* the callback runs in a task of a workqueue */
	__u32 same; /* ... in the task that ran the program */
	__u32 key;
	__u32 value;
	__u32 before; /* the program came so far */
	__u32 after; /* ... and behind what ends it */
	__u64 cookie;
} result = { .ret = UNTOUCHED, .second = UNTOUCHED, .third = UNTOUCHED };

#include "later.h"

KFUNC(int, bpf_timer_cancel_async, (struct bpf_timer *timer))
KFUNC(void, bpf_throw, (__u64 cookie))
KFUNC(void, bpf_rcu_read_lock, (void))
KFUNC(void, bpf_rcu_read_unlock, (void))
KFUNC(void, bpf_local_irq_save, (unsigned long *flags))
KFUNC(void, bpf_local_irq_restore, (unsigned long *flags))
KFUNC(struct task_struct *, bpf_task_from_pid, (int pid))
KFUNC(void, bpf_task_release, (struct task_struct *task))

#define OF_WORKQUEUE 0x20 /* PF_WQ_WORKER */
#define NEVER_NS 3600000000000 /* long after the guest has gone */

/* A value that nothing was done with yet. */
#define FRESH(map, name)                                                                                               \
	bpf_map_delete_elem(&map, &(int){ 5 });                                                                        \
	bpf_map_update_elem(&map, &(int){ 5 }, &no_##map, BPF_ANY);                                                    \
	name = bpf_map_lookup_elem(&map, &(int){ 5 })

/* --- on a workqueue ------------------------------------------------------------------------------------------------ */

struct item {
	struct bpf_wq work;
	__u32 flow;
	__u32 value;
};

static const struct item no_items;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, struct item);
} items SEC(".maps");

static int in_workqueue(void *map, int *key, void *value)
{
	struct task_struct *self = bpf_get_current_task_btf();
	struct item *item = value;

	if (item->flow != flow)
		return 0;
	result.worker = (self->flags & OF_WORKQUEUE) != 0;
	result.key = *key;
	result.value = item->value;
	asm volatile("" ::: "memory");
	result.done = 1;
	return 0;
}

PROGRAM(wq_init)
{
	struct item *item;

	FRESH(items, item);
	if (!item)
		return 0;
	result.ret = bpf_wq_init(&item->work, &items, flags);
	result.second = bpf_wq_init(&item->work, &items, 0);
	return 0;
}

PROGRAM(wq)
{
	struct item *item;

	FRESH(items, item);
	if (!item)
		return 0;
	item->flow = flow;
	item->value = 77;
	result.ret = bpf_wq_init(&item->work, &items, 0);
	result.second = SET_CALLBACK(&item->work, in_workqueue, 0);
	result.third = bpf_wq_start(&item->work, 0);
	return LEFT(result.third);
}

PROGRAM(wq_callback_flags)
{
	struct item *item;

	FRESH(items, item);
	if (!item)
		return 0;
	bpf_wq_init(&item->work, &items, 0);
	result.ret = SET_CALLBACK(&item->work, in_workqueue, flags);
	return 0;
}

PROGRAM(wq_callback_first)
{
	struct item *item;

	FRESH(items, item);
	if (item)
		result.ret = SET_CALLBACK(&item->work, in_workqueue, 0);
	return 0;
}

PROGRAM(wq_start_flags)
{
	struct item *item;

	FRESH(items, item);
	if (!item)
		return 0;
	bpf_wq_init(&item->work, &items, 0);
	SET_CALLBACK(&item->work, in_workqueue, 0);
	result.ret = bpf_wq_start(&item->work, flags);
	return 0;
}

PROGRAM(wq_start_first)
{
	struct item *item;

	FRESH(items, item);
	if (!item)
		return 0;
	result.ret = bpf_wq_start(&item->work, 0);
	bpf_wq_init(&item->work, &items, 0);
	result.second = bpf_wq_start(&item->work, 0);
	return 0;
}

PROGRAM(wq_elsewhere)
{
	struct bpf_wq work = {};

	bpf_wq_init(&work, &items, 0);
	return 0;
}

PROGRAM(wq_other_map)
{
	struct item *item = bpf_map_lookup_elem(&items, &(int){ 0 });

	if (item)
		bpf_wq_init(&item->work, &laters, 0);
	return 0;
}

PROGRAM(wq_beside)
{
	struct item *item = bpf_map_lookup_elem(&items, &(int){ 0 });

	if (item)
		bpf_wq_start((struct bpf_wq *)&item->value, 0);
	return 0;
}

PROGRAM(wq_written)
{
	struct item *item = bpf_map_lookup_elem(&items, &(int){ 0 });

	if (item)
		*(volatile __u64 *)&item->work = 1;
	return 0;
}

static int returns_two(void *map, int *key, void *value)
{
	return 2;
}

PROGRAM(wq_returned)
{
	struct item *item = bpf_map_lookup_elem(&items, &(int){ 0 });

	if (item)
		SET_CALLBACK(&item->work, returns_two, 0);
	return 0;
}

/* --- in a task ----------------------------------------------------------------------------------------------------- */

struct job {
	struct bpf_task_work work;
	__u32 flow;
	__u32 pid;
	__u32 value;
};

static const struct job no_jobs;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, struct job);
} jobs SEC(".maps");

static int in_task(struct bpf_map *map, void *key, void *value)
{
	struct task_struct *self = bpf_get_current_task_btf();
	struct job *job = value;

	if (job->flow != flow)
		return 0;
	result.same = self->pid == job->pid;
	result.key = *(int *)key;
	result.value = job->value;
	asm volatile("" ::: "memory");
	result.done = 1;
	return 0;
}

#define IN_TASKS(name, kfunc)                                                                                          \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		struct task_struct *self = bpf_get_current_task_btf();                                                 \
		struct job *job;                                                                                       \
                                                                                                                       \
		FRESH(jobs, job);                                                                                      \
		if (!job)                                                                                              \
			return 0;                                                                                      \
		job->flow = flow;                                                                                      \
		job->pid = self->pid;                                                                                  \
		job->value = 77;                                                                                       \
		result.ret = IN_TASK(kfunc, self, &job->work, &jobs, in_task);                                         \
		result.second = IN_TASK(kfunc, self, &job->work, &jobs, in_task);                                      \
		return LEFT(result.ret);                                                                               \
	}                                                                                                              \
	PROGRAM(name##_elsewhere)                                                                                      \
	{                                                                                                              \
		struct bpf_task_work work = {};                                                                        \
                                                                                                                       \
		IN_TASK(kfunc, bpf_get_current_task_btf(), &work, &jobs, in_task);                                     \
		return 0;                                                                                              \
	}                                                                                                              \
	PROGRAM(name##_other_map)                                                                                      \
	{                                                                                                              \
		struct job *job = bpf_map_lookup_elem(&jobs, &(int){ 0 });                                             \
                                                                                                                       \
		if (job)                                                                                               \
			IN_TASK(kfunc, bpf_get_current_task_btf(), &job->work, &items, in_task);                       \
		return 0;                                                                                              \
	}                                                                                                              \
	PROGRAM(name##_unchecked)                                                                                      \
	{                                                                                                              \
		struct job *job = bpf_map_lookup_elem(&jobs, &(int){ 0 });                                             \
		struct task_struct *task;                                                                              \
                                                                                                                       \
		if (!job)                                                                                              \
			return 0;                                                                                      \
		task = bpf_task_from_pid(2);                                                                           \
		IN_TASK(kfunc, task, &job->work, &jobs, in_task);                                                      \
		if (task)                                                                                              \
			bpf_task_release(task);                                                                        \
		return 0;                                                                                              \
	}

IN_TASKS(by_signal, bpf_task_work_schedule_signal)
IN_TASKS(on_resume, bpf_task_work_schedule_resume)

/* --- timers -------------------------------------------------------------------------------------------------------- */

struct clock {
	struct bpf_timer timer;
	__u32 value;
};

static const struct clock no_clocks;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, struct clock);
} clocks SEC(".maps");

static int on_time(void *map, int *key, void *value)
{
	result.done = 1;
	return 0;
}

static __always_inline void set_timer(struct clock *clock)
{
	bpf_timer_init(&clock->timer, &clocks, 1);
	bpf_timer_set_callback(&clock->timer, on_time);
	bpf_timer_start(&clock->timer, NEVER_NS, 0);
}

PROGRAM(cancel)
{
	struct clock *clock;

	FRESH(clocks, clock);
	if (!clock)
		return 0;
	result.ret = bpf_timer_cancel_async(&clock->timer);
	set_timer(clock);
	result.second = bpf_timer_cancel_async(&clock->timer);
	result.third = bpf_timer_cancel_async(&clock->timer);
	return 0;
}

static long cancel_again(__u32 i, struct clock **clock)
{
	result.second = bpf_timer_cancel_async(&(*clock)->timer);
	return !result.second;
}

/* Where interrupts are off, it is called off once they are on again. */
PROGRAM(cancel_irq)
{
	struct clock *clock;
	unsigned long saved;

	FRESH(clocks, clock);
	if (!clock)
		return 0;
	set_timer(clock);
	bpf_local_irq_save(&saved);
	result.ret = bpf_timer_cancel_async(&clock->timer);
	bpf_local_irq_restore(&saved);
	bpf_loop(1000, cancel_again, &clock, 0);
	return 0;
}

PROGRAM(cancel_elsewhere)
{
	struct bpf_timer timer = {};

	bpf_timer_cancel_async(&timer);
	return 0;
}

/* --- thrown -------------------------------------------------------------------------------------------------------- */

static __noinline int throws(__u32 value)
{
	if (value != UNTOUCHED)
		bpf_throw(value);
	result.after++;
	return 0;
}

PROGRAM(throw)
{
	result.before = 1;
	bpf_throw(3);
	result.after = 1;
	return 0;
}

PROGRAM(throw_below)
{
	result.before = 1;
	throws(flow);
	result.after++;
	return 0;
}

__noinline int caught(__u64 cookie)
{
	result.cookie = cookie;
	return 0;
}

#define CAUGHT(section, prefix, context)                                                                               \
	SEC(section)                                                                                                   \
	__attribute__((btf_decl_tag("exception_callback:caught"))) int prefix##_throw_caught(struct context *ctx)     \
	{                                                                                                              \
		result.before = 1;                                                                                     \
		bpf_throw(77);                                                                                         \
		result.after = 1;                                                                                      \
		return 0;                                                                                              \
	}

CAUGHT("tc", tc, __sk_buff)
CAUGHT("xdp", xdp, xdp_md)

PROGRAM(throw_reference)
{
	struct task_struct *task = bpf_task_from_pid(2);

	if (!task)
		return 0;
	bpf_throw(3);
	bpf_task_release(task);
	return 0;
}

PROGRAM(throw_locked)
{
	bpf_rcu_read_lock();
	bpf_throw(3);
	bpf_rcu_read_unlock();
	return 0;
}

static int throws_later(void *map, int *key, void *value)
{
	bpf_throw(0);
	return 0;
}

PROGRAM(throw_later)
{
	struct item *item = bpf_map_lookup_elem(&items, &(int){ 0 });

	if (item)
		SET_CALLBACK(&item->work, throws_later, 0);
	return 0;
}

char _license[] SEC("license") = "GPL";
