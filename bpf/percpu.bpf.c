// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that make objects of which each processor has its own: objects.yaml.
 *
 * This needs clang 19: older ones write no type tags into BTF, and only from a map such an object can be used.
 */
#include "program.h"
#include "graph.h"

#ifndef __percpu_kptr
#define __percpu_kptr __attribute__((btf_type_tag("percpu_kptr")))
#endif

struct plain {
	__u64 key;
	__u64 more;
};

struct large {
	__u64 all[65]; /* 8 bytes more than may be */
};

struct listed {
	__u64 key;
	struct bpf_list_node node;
};

struct pointing {
	__u64 *key;
};

struct slot {
	struct plain __percpu_kptr *object;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, struct slot);
} slots SEC(".maps");

KFUNC(void *, bpf_percpu_obj_new_impl, (__u64 type, void *meta))
KFUNC(void *, bpf_percpu_obj_new, (__u64 type))
KFUNC(void, bpf_percpu_obj_drop_impl, (void *object, void *meta))
KFUNC(void, bpf_percpu_obj_drop, (void *object))

/* Inputs. */
__u32 flow = 0;
__u64 key = 77;

struct {
	__u32 made; /* objects */
	__u32 kept; /* the map held the object */
	__u64 key; /* of the object, as this processor has it */
	__u32 elsewhere; /* a processor that is not there has one */
} result = { .elsewhere = UNTOUCHED };

#define N(name) impl_##name
#define EACH_NEW(type) bpf_percpu_obj_new_impl(bpf_core_type_id_local(type), NULL)
#define EACH_DROP(object) bpf_percpu_obj_drop_impl(object, NULL)
#define NEW NEW_IMPL
#define DROP DROP_IMPL
#include "percpu_programs.h"
#undef N
#undef EACH_NEW
#undef EACH_DROP
#undef NEW
#undef DROP

#define N(name) name
#define EACH_NEW(type) bpf_percpu_obj_new(bpf_core_type_id_local(type))
#define EACH_DROP(object) bpf_percpu_obj_drop(object)
#define NEW(type) ((type *)bpf_obj_new(bpf_core_type_id_local(type)))
#define DROP(object) bpf_obj_drop(object)
#include "percpu_programs.h"

char _license[] SEC("license") = "GPL";
