/* SPDX-FileCopyrightText: 2026 The kfunc-runner authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Objects, lists and trees of a program: what the families about them share. Include it below program.h. */
struct bpf_list_head {
	__u64 opaque[2];
} __attribute__((aligned(8)));

struct bpf_list_node {
	__u64 opaque[3];
} __attribute__((aligned(8)));

struct bpf_rb_root {
	__u64 opaque[2];
} __attribute__((aligned(8)));

struct bpf_rb_node {
	__u64 opaque[4];
} __attribute__((aligned(8)));

struct bpf_refcount {
	__u32 opaque;
} __attribute__((aligned(4)));

#define CONTAINS(type, member) __attribute__((btf_decl_tag("contains:" #type ":" #member)))
#define PRIVATE(name) SEC(".bss." #name) __hidden __attribute__((aligned(8))) /* a map that is not mapped by libbpf */
#define CONTAINER(pointer, type, member) ((type *)((void *)(pointer) - __builtin_offsetof(type, member)))

KFUNC(void *, bpf_obj_new_impl, (__u64 type, void *meta))
KFUNC(void *, bpf_obj_new, (__u64 type))
KFUNC(void, bpf_obj_drop_impl, (void *object, void *meta))
KFUNC(void, bpf_obj_drop, (void *object))
KFUNC(void *, bpf_refcount_acquire_impl, (void *object, void *meta))
KFUNC(void *, bpf_refcount_acquire, (void *object))

/* By the names that all kernels with these kfuncs have. */
#define NEW_IMPL(type) ((type *)bpf_obj_new_impl(bpf_core_type_id_local(type), NULL))
#define DROP_IMPL(object) bpf_obj_drop_impl(object, NULL)
#define SHARE_IMPL(object) bpf_refcount_acquire_impl(object, NULL)
