// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that make objects: what objects.yaml asks about.
 *
 * The programs are in objects_programs.h, once for each of the names that a kfunc has.
 */
#include "program.h"
#include "graph.h"

struct plain {
	__u64 key;
	__u64 more[7];
};

struct listed { /* may be in a list, and is not counted */
	__u64 key;
	struct bpf_list_node node;
};

struct counted {
	__u64 key;
	struct bpf_refcount count;
};

/* Inputs. */
__u32 flow = 0;
__u64 key = 77;

struct {
	__u32 made; /* objects */
	__u64 key; /* read from the last of them */
	__u64 other_key;
	__u32 distinct; /* they are not the same memory */
} result;

#define N(name) impl_##name
#define NEW NEW_IMPL
#define DROP DROP_IMPL
#define SHARE SHARE_IMPL
#include "objects_programs.h"
#undef N
#undef NEW
#undef DROP
#undef SHARE

#define N(name) name
#define NEW(type) ((type *)bpf_obj_new(bpf_core_type_id_local(type)))
#define DROP(object) bpf_obj_drop(object)
#define SHARE(object) bpf_refcount_acquire(object)
#include "objects_programs.h"

char _license[] SEC("license") = "GPL";
