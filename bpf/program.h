/* SPDX-FileCopyrightText: 2026 The kfunc-runner authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */

/* How the families that are not about packets write their programs. Include it first. */

/* Older headers do not have these structures, which the verifier knows by their names: so nobody's are used. */
#define bpf_list_head bpf_list_head_of_header
#define bpf_list_node bpf_list_node_of_header
#define bpf_rb_root bpf_rb_root_of_header
#define bpf_rb_node bpf_rb_node_of_header
#define bpf_refcount bpf_refcount_of_header
#define bpf_wq bpf_wq_of_header
#define bpf_task_work bpf_task_work_of_header
#define bpf_iter_num bpf_iter_num_of_header
#include <linux/bpf.h>
#undef bpf_list_head
#undef bpf_list_node
#undef bpf_rb_root
#undef bpf_rb_node
#undef bpf_refcount
#undef bpf_wq
#undef bpf_task_work
#undef bpf_iter_num
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "kfunc.h"

#define UNTOUCHED 0x12345678 /* what no kfunc returns */

/* A program that is loaded as either type, for kfuncs that take no context. What it does often it does by bpf_loop: of a loop in C the
 * verifier follows each round.
 */
#define PROGRAM(name) PROGRAM_(name)
#define PROGRAM_(name)                                                                                                 \
	static __always_inline int name(void *ctx);                                                                    \
	SEC("tc") int any_##name(struct __sk_buff *ctx)                                                                \
	{                                                                                                              \
		return name(ctx);                                                                                      \
	}                                                                                                              \
	static __always_inline int name(void *ctx)

/* What an interrupt brings comes after the program asked for it: mostly before its next instruction, on an emulated ppc64le
 * milliseconds later. `round` is called until it returns other than 0; it returns late() while there is nothing yet.
 */
#define MOMENT 20000000 /* ns */
#define within(ns, round) bpf_loop(1 << 23, round, &(__u64){ bpf_ktime_get_ns() + (ns) }, 0)
#define soon(round) within(1000000000, round)

static __always_inline long late(const __u64 *until)
{
	return bpf_ktime_get_ns() > *until;
}
