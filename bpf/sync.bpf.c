// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that take locks, and switch off preemption and interrupts: what sync.yaml asks about. */
#include "program.h"

struct bpf_res_spin_lock {
	__u32 opaque;
} __attribute__((aligned(4)));

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct thread_info {
	__u64 preempt_count;
};

struct task_struct {
	struct thread_info thread_info;
	int pid;
	int rcu_read_lock_nesting;
	struct task_struct *real_parent;
};

struct thread_info___narrow { /* riscv64 */
	int preempt_count;
};

struct task_struct___narrow {
	struct thread_info___narrow thread_info;
};

struct pcpu_hot {
	int preempt_count;
};

#pragma clang attribute pop

enum pid_type { PIDTYPE_PID };

/* Inputs. */
__u32 flow = 0;

/* Results. */
struct {
	__s32 ret;
	__s32 second;
	__s32 third;
	__u32 once; /* the count is one higher, if the kernel counts */
	__u32 twice; /* ... two */
	__u32 back; /* ... as before */
	__u64 count; /* what the lock protects */
	__s32 pid;
	__u32 done;
} result = { .ret = UNTOUCHED, .second = UNTOUCHED, .third = UNTOUCHED };

#include "later.h"

KFUNC(void, bpf_rcu_read_lock, (void))
KFUNC(void, bpf_rcu_read_unlock, (void))
KFUNC(void, bpf_preempt_disable, (void))
KFUNC(void, bpf_preempt_enable, (void))
KFUNC(void, bpf_local_irq_save, (unsigned long *flags))
KFUNC(void, bpf_local_irq_restore, (unsigned long *flags))
KFUNC(int, bpf_res_spin_lock, (struct bpf_res_spin_lock *lock))
KFUNC(void, bpf_res_spin_unlock, (struct bpf_res_spin_lock *lock))
KFUNC(int, bpf_res_spin_lock_irqsave, (struct bpf_res_spin_lock *lock, unsigned long *flags))
KFUNC(void, bpf_res_spin_unlock_irqrestore, (struct bpf_res_spin_lock *lock, unsigned long *flags))
KFUNC(int, bpf_send_signal_task, (struct task_struct *task, int number, enum pid_type type, __u64 value))
KFUNC(struct task_struct *, bpf_task_acquire, (struct task_struct *task))
KFUNC(void, bpf_task_release, (struct task_struct *task))
KFUNC(int, bpf_copy_from_user_str, (void *to, __u32 size, const void *from, __u64 flags))

extern const struct pcpu_hot pcpu_hot __ksym __weak; /* x86 up to 6.14 */
extern const int __preempt_count __ksym __weak; /* ... from 6.15 on */
extern void preempt_schedule(void) __ksym __weak; /* of kernels that preempt themselves, and no others count */

struct guarded {
	__u64 count;
	struct bpf_res_spin_lock lock;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, struct guarded);
} locks SEC(".maps");

#define barrier() asm volatile("" ::: "memory")

/* --- preemption ---------------------------------------------------------------------------------------------------- */

static __always_inline __u32 preempt_count(void)
{
	struct task_struct *self = bpf_get_current_task_btf();
	__u32 count = 0;

	barrier();
	if (&__preempt_count)
		count = *(const int *)bpf_this_cpu_ptr(&__preempt_count);
	else if (&pcpu_hot)
		count = ((const struct pcpu_hot *)bpf_this_cpu_ptr(&pcpu_hot))->preempt_count;
	else if (bpf_core_field_exists(self->thread_info.preempt_count)) {
		if (bpf_core_field_size(self->thread_info.preempt_count) == sizeof(int))
			count = ((struct task_struct___narrow *)self)->thread_info.preempt_count;
		else
			count = self->thread_info.preempt_count;
	}
	barrier();
	return count;
}

PROGRAM(preempt)
{
	__u32 one = &preempt_schedule ? 1 : 0, before = preempt_count();

	bpf_preempt_disable();
	result.once = preempt_count() == before + one;
	bpf_preempt_disable();
	result.twice = preempt_count() == before + 2 * one;
	bpf_preempt_enable();
	bpf_preempt_enable();
	result.back = preempt_count() == before;
	return 0;
}

PROGRAM(preempt_missing)
{
	bpf_preempt_disable();
	return 0;
}

PROGRAM(preempt_unmatched)
{
	bpf_preempt_enable();
	return 0;
}

PROGRAM(preempt_missing_one)
{
	bpf_preempt_disable();
	bpf_preempt_disable();
	bpf_preempt_enable();
	return 0;
}

LATER(preempt_sleep)
{
	char text[8];

	bpf_preempt_disable();
	bpf_copy_from_user_str(text, sizeof(text), NULL, 0);
	bpf_preempt_enable();
}

/* --- grace periods of RCU ------------------------------------------------------------------------------------------ */

/* Of kernels that preempt those who read, and no others count. */
static __always_inline __u32 rcu_depth(void)
{
	struct task_struct *self = bpf_get_current_task_btf();
	__u32 depth = 0;

	barrier();
	if (bpf_core_field_exists(self->rcu_read_lock_nesting))
		depth = self->rcu_read_lock_nesting;
	barrier();
	return depth;
}

PROGRAM(rcu)
{
	__u32 one = bpf_core_field_exists(struct task_struct, rcu_read_lock_nesting) ? 1 : 0, before = rcu_depth();

	bpf_rcu_read_lock();
	result.once = rcu_depth() == before + one;
	bpf_rcu_read_unlock();
	result.back = rcu_depth() == before;
	return 0;
}

/* A pointer that only RCU protects is good where a callback that may sleep holds the lock. */
LATER(rcu_pointer)
{
	struct task_struct *self = bpf_get_current_task_btf(), *parent;

	bpf_rcu_read_lock();
	parent = bpf_task_acquire(self->real_parent);
	bpf_rcu_read_unlock();
	if (!parent)
		return;
	result.pid = parent->pid;
	bpf_task_release(parent);
}

LATER(rcu_pointer_outside)
{
	struct task_struct *parent = bpf_task_acquire(bpf_get_current_task_btf()->real_parent);

	if (parent)
		bpf_task_release(parent);
}

LATER(rcu_pointer_after)
{
	struct task_struct *self = bpf_get_current_task_btf(), *parent;

	bpf_rcu_read_lock();
	parent = self->real_parent;
	bpf_rcu_read_unlock();
	parent = bpf_task_acquire(parent);
	if (parent)
		bpf_task_release(parent);
}

LATER(rcu_sleep)
{
	char text[8];

	bpf_rcu_read_lock();
	bpf_copy_from_user_str(text, sizeof(text), NULL, 0);
	bpf_rcu_read_unlock();
}

PROGRAM(rcu_missing)
{
	bpf_rcu_read_lock();
	return 0;
}

PROGRAM(rcu_unmatched)
{
	bpf_rcu_read_unlock();
	return 0;
}

PROGRAM(rcu_nested)
{
	bpf_rcu_read_lock();
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	bpf_rcu_read_unlock();
	result.back = 1;
	return 0;
}

/* --- interrupts ---------------------------------------------------------------------------------------------------- */

/* Signal 0, which is none, to the task that runs this: where interrupts are off one must run before the next is sent. */
static __always_inline int signal(void)
{
	return bpf_send_signal_task(bpf_get_current_task_btf(), 0, 1, 0);
}

#define EBUSY 16

static long signal_second(__u32 i, const __u64 *until)
{
	result.second = signal();
	return result.second != -EBUSY || late(until);
}

/* The first one is busy, too, while the last one of another program is on its way. */
static long signals(__u32 i, const __u64 *until)
{
	unsigned long flags;

	bpf_local_irq_save(&flags);
	result.ret = signal();
	within(MOMENT, signal_second);
	bpf_local_irq_restore(&flags);
	return result.ret != -EBUSY || late(until);
}

/* The inner ones change nothing. */
static long signals_nested(__u32 i, const __u64 *until)
{
	unsigned long flags, inner;

	bpf_local_irq_save(&flags);
	result.ret = signal();
	bpf_local_irq_save(&inner);
	bpf_local_irq_restore(&inner);
	within(MOMENT, signal_second);
	bpf_local_irq_restore(&flags);
	return result.ret != -EBUSY || late(until);
}

static long signal_again(__u32 i, const __u64 *until)
{
	result.third = signal();
	return result.third != -EBUSY || late(until);
}

PROGRAM(irq)
{
	soon(signals);
	soon(signal_again);
	return 0;
}

PROGRAM(irq_nested)
{
	soon(signals_nested);
	soon(signal_again);
	return 0;
}

PROGRAM(irq_missing)
{
	unsigned long flags;

	bpf_local_irq_save(&flags);
	return 0;
}

PROGRAM(irq_unmatched)
{
	unsigned long flags = 0;

	bpf_local_irq_restore(&flags);
	return 0;
}

PROGRAM(irq_same)
{
	unsigned long flags;

	bpf_local_irq_save(&flags);
	bpf_local_irq_save(&flags);
	bpf_local_irq_restore(&flags);
	return 0;
}

PROGRAM(irq_order)
{
	unsigned long flags, inner;

	bpf_local_irq_save(&flags);
	bpf_local_irq_save(&inner);
	bpf_local_irq_restore(&flags);
	bpf_local_irq_restore(&inner);
	return 0;
}

unsigned long global_flags;

PROGRAM(irq_global)
{
	bpf_local_irq_save(&global_flags);
	bpf_local_irq_restore(&global_flags);
	return 0;
}

LATER(irq_sleep)
{
	unsigned long flags;
	char text[8];

	bpf_local_irq_save(&flags);
	bpf_copy_from_user_str(text, sizeof(text), NULL, 0);
	bpf_local_irq_restore(&flags);
}

/* --- locks that notice deadlocks ----------------------------------------------------------------------------------- */

#define FIRST(name) struct guarded *name = bpf_map_lookup_elem(&locks, &(int){ 0 })
#define OTHER(name) struct guarded *name = bpf_map_lookup_elem(&locks, &(int){ 1 })

/* Both pointers are to the same lock, which the verifier does not know. */
PROGRAM(spin)
{
	FIRST(one);
	FIRST(same);

	if (!one || !same)
		return 0;
	result.ret = bpf_res_spin_lock(&one->lock);
	if (result.ret)
		return 0;
	one->count = 77;
	result.count = one->count;
	result.second = bpf_res_spin_lock(&same->lock);
	if (!result.second)
		bpf_res_spin_unlock(&same->lock);
	bpf_res_spin_unlock(&one->lock);
	result.third = bpf_res_spin_lock(&same->lock);
	if (!result.third)
		bpf_res_spin_unlock(&same->lock);
	return 0;
}

PROGRAM(spin_irq)
{
	unsigned long flags, inner;
	FIRST(one);
	FIRST(same);

	if (!one || !same)
		return 0;
	result.ret = bpf_res_spin_lock_irqsave(&one->lock, &flags);
	if (result.ret)
		return 0;
	one->count = 77;
	result.count = one->count;
	result.second = bpf_res_spin_lock_irqsave(&same->lock, &inner);
	if (!result.second)
		bpf_res_spin_unlock_irqrestore(&same->lock, &inner);
	bpf_res_spin_unlock_irqrestore(&one->lock, &flags);
	result.third = bpf_res_spin_lock_irqsave(&same->lock, &inner);
	if (!result.third)
		bpf_res_spin_unlock_irqrestore(&same->lock, &inner);
	return 0;
}

PROGRAM(spin_two)
{
	FIRST(one);
	OTHER(other);

	if (!one || !other)
		return 0;
	result.ret = bpf_res_spin_lock(&one->lock);
	if (result.ret)
		return 0;
	result.second = bpf_res_spin_lock(&other->lock);
	if (!result.second)
		bpf_res_spin_unlock(&other->lock);
	bpf_res_spin_unlock(&one->lock);
	return 0;
}

PROGRAM(spin_order)
{
	FIRST(one);
	OTHER(other);

	if (!one || !other)
		return 0;
	if (bpf_res_spin_lock(&one->lock))
		return 0;
	if (!bpf_res_spin_lock(&other->lock)) {
		bpf_res_spin_unlock(&one->lock);
		bpf_res_spin_unlock(&other->lock);
		return 0;
	}
	bpf_res_spin_unlock(&one->lock);
	return 0;
}

PROGRAM(spin_again)
{
	FIRST(one);

	if (!one || bpf_res_spin_lock(&one->lock))
		return 0;
	if (!bpf_res_spin_lock(&one->lock))
		bpf_res_spin_unlock(&one->lock);
	bpf_res_spin_unlock(&one->lock);
	return 0;
}

PROGRAM(spin_missing)
{
	FIRST(one);

	if (one)
		result.ret = bpf_res_spin_lock(&one->lock);
	return 0;
}

PROGRAM(spin_unmatched)
{
	FIRST(one);

	if (one)
		bpf_res_spin_unlock(&one->lock);
	return 0;
}

PROGRAM(spin_unchecked)
{
	FIRST(one);

	if (!one)
		return 0;
	bpf_res_spin_lock(&one->lock);
	bpf_res_spin_unlock(&one->lock);
	return 0;
}

PROGRAM(spin_call)
{
	FIRST(one);

	if (!one || bpf_res_spin_lock(&one->lock))
		return 0;
	result.count = bpf_ktime_get_ns();
	bpf_res_spin_unlock(&one->lock);
	return 0;
}

PROGRAM(spin_elsewhere)
{
	bpf_res_spin_lock((struct bpf_res_spin_lock *)&result.pid);
	return 0;
}

PROGRAM(spin_beside)
{
	FIRST(one);

	if (one && !bpf_res_spin_lock((struct bpf_res_spin_lock *)&one->count))
		bpf_res_spin_unlock((struct bpf_res_spin_lock *)&one->count);
	return 0;
}

PROGRAM(spin_written)
{
	FIRST(one);

	if (one)
		*(volatile __u32 *)&one->lock = 1;
	return 0;
}

/* Interrupts are restored by the call that belongs to the one that saved them. */
PROGRAM(spin_irq_other)
{
	unsigned long flags;
	FIRST(one);

	if (!one || bpf_res_spin_lock_irqsave(&one->lock, &flags))
		return 0;
	bpf_res_spin_unlock(&one->lock);
	bpf_local_irq_restore(&flags);
	return 0;
}

PROGRAM(spin_irq_restore)
{
	unsigned long flags, inner;
	FIRST(one);

	if (!one)
		return 0;
	bpf_local_irq_save(&flags);
	if (!bpf_res_spin_lock_irqsave(&one->lock, &inner))
		bpf_res_spin_unlock_irqrestore(&one->lock, &flags);
	bpf_local_irq_restore(&flags);
	return 0;
}

PROGRAM(spin_irq_missing)
{
	unsigned long flags;
	FIRST(one);

	if (one)
		result.ret = bpf_res_spin_lock_irqsave(&one->lock, &flags);
	return 0;
}

char _license[] SEC("license") = "GPL";
