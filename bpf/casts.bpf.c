// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that cast pointers, and count the elements of maps: what casts.yaml asks about. */
#include "program.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct task_struct {
	int pid;
};

struct net_device {
	int ifindex;
};

struct sk_buff {
	unsigned int len;
};

struct xdp_rxq_info {
	struct net_device *dev;
};

struct xdp_buff {
	void *data;
	void *data_end;
	struct xdp_rxq_info *rxq;
};

struct bpf_map {
	__u32 max_entries;
};

#pragma clang attribute pop

enum pid_type { PIDTYPE_PID };

KFUNC(void *, bpf_cast_to_kern_ctx, (void *context))
KFUNC(void *, bpf_rdonly_cast, (const void *address, __u32 type))
KFUNC(void, bpf_task_release, (struct task_struct *task))
KFUNC(__s64, bpf_map_sum_elem_count, (const struct bpf_map *map))

#define TASK bpf_core_type_id_kernel(struct task_struct)

/* Inputs. */
__u32 flow = 0;
__u32 number = 3; /* of elements that are put into the map */
__u32 again = 0; /* ... a second time, with other values */

/* Results. */
struct {
	__s64 ret;
	__s32 pid;
	__s32 own_pid;
	__u32 len; /* of the packet, as the kernel's structure has it */
	__u32 ifindex;
	__u32 same; /* that is what the program's context has */
	__u32 done; /* it got to the end */
} result = { .ret = UNTOUCHED };

SEC("tc") int tc_context(struct __sk_buff *ctx)
{
	struct sk_buff *skb = bpf_cast_to_kern_ctx(ctx);

	result.len = skb->len;
	result.same = result.len == ctx->len;
	return 0;
}

SEC("xdp") int xdp_context(struct xdp_md *ctx)
{
	struct xdp_buff *xdp = bpf_cast_to_kern_ctx(ctx);

	result.len = xdp->data_end - xdp->data;
	result.ifindex = xdp->rxq->dev->ifindex;
	result.same = result.ifindex == ctx->ingress_ifindex;
	return 0;
}

SEC("tc") int tc_context_write(struct __sk_buff *ctx)
{
	struct sk_buff *skb = bpf_cast_to_kern_ctx(ctx);

	skb->len = 1;
	return 0;
}

SEC("xdp") int xdp_context_write(struct xdp_md *ctx)
{
	struct xdp_buff *xdp = bpf_cast_to_kern_ctx(ctx);

	xdp->data = NULL;
	return 0;
}

PROGRAM(context_of_other)
{
	result.same = !bpf_cast_to_kern_ctx(&flow);
	return 0;
}

PROGRAM(task)
{
	struct task_struct *task = bpf_rdonly_cast((void *)bpf_get_current_task(), TASK);

	result.own_pid = bpf_get_current_pid_tgid();
	result.pid = task->pid;
	result.same = result.pid == result.own_pid;
	return 0;
}

/* The address of nothing. */
PROGRAM(nowhere)
{
	struct task_struct *task = bpf_rdonly_cast((void *)8, TASK);

	result.own_pid = bpf_get_current_pid_tgid();
	result.pid = task->pid;
	result.done = 1;
	return 0;
}

/* To the type 0, which is void: plain memory. */
PROGRAM(memory)
{
	__u64 *pid = bpf_rdonly_cast((void *)bpf_get_current_task() + bpf_core_field_offset(struct task_struct, pid), 0);

	result.own_pid = bpf_get_current_pid_tgid();
	result.pid = *pid;
	result.same = result.pid == result.own_pid;
	return 0;
}

PROGRAM(task_write)
{
	struct task_struct *task = bpf_rdonly_cast((void *)bpf_get_current_task(), TASK);

	task->pid = 1;
	return 0;
}

PROGRAM(task_outside)
{
	char *task = bpf_rdonly_cast((void *)bpf_get_current_task(), TASK);

	result.pid = *(volatile char *)(task + (1 << 20));
	return 0;
}

/* What was cast is not trusted. */
PROGRAM(task_release)
{
	bpf_task_release(bpf_rdonly_cast((void *)bpf_get_current_task(), TASK));
	return 0;
}

PROGRAM(enumeration)
{
	result.same = !bpf_rdonly_cast((void *)bpf_get_current_task(), bpf_core_type_id_kernel(enum pid_type));
	return 0;
}

PROGRAM(no_type)
{
	result.same = !bpf_rdonly_cast((void *)bpf_get_current_task(), 0x7fffffff);
	return 0;
}

PROGRAM(any_type)
{
	result.same = !bpf_rdonly_cast((void *)bpf_get_current_task(), flow);
	return 0;
}

/* --- elements of maps ---------------------------------------------------------------------------------------------- */

#define ROOM 8
#define EACH(key, number) for (__u32 i = 0, key = 0; i < ROOM && i < (number); i++, key = i)

#define MAP(name, kind)                                                                                                \
	struct {                                                                                                       \
		__uint(type, kind);                                                                                    \
		__uint(max_entries, ROOM);                                                                             \
		__type(key, __u32);                                                                                    \
		__type(value, __u64);                                                                                  \
	} name SEC(".maps");                                                                                           \
	PROGRAM(count_##name)                                                                                          \
	{                                                                                                              \
		__u64 value = 1;                                                                                       \
                                                                                                                       \
		EACH(key, ROOM)                                                                                        \
			bpf_map_delete_elem(&name, &key);                                                              \
		EACH(key, number)                                                                                      \
			bpf_map_update_elem(&name, &key, &value, BPF_ANY);                                             \
		EACH(key, again ? number : 0)                                                                          \
			bpf_map_update_elem(&name, &key, &value, BPF_EXIST);                                           \
		result.ret = bpf_map_sum_elem_count((struct bpf_map *)&name);                                          \
		return 0;                                                                                              \
	}

MAP(hash, BPF_MAP_TYPE_HASH)
MAP(percpu_hash, BPF_MAP_TYPE_PERCPU_HASH)
MAP(lru_hash, BPF_MAP_TYPE_LRU_HASH)
MAP(array, BPF_MAP_TYPE_ARRAY)

PROGRAM(count_other)
{
	result.ret = bpf_map_sum_elem_count((void *)&flow);
	return 0;
}

char _license[] SEC("license") = "GPL";
