// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs about the kernel's caches of objects, and buffers that devices share: what kmem.yaml asks about. */
#include "program.h"
#include "later.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kmem_cache {
	unsigned int object_size;
	const char *name;
};

struct task_struct {
	int pid;
};

struct dma_buf {
	unsigned long size;
};

#pragma clang attribute pop

struct bpf_iter_kmem_cache {
	__u64 opaque[1];
} __attribute__((aligned(8)));

struct bpf_iter_dmabuf {
	__u64 opaque[1];
} __attribute__((aligned(8)));

KFUNC(int, bpf_iter_kmem_cache_new, (struct bpf_iter_kmem_cache *it))
KFUNC(struct kmem_cache *, bpf_iter_kmem_cache_next, (struct bpf_iter_kmem_cache *it))
KFUNC(void, bpf_iter_kmem_cache_destroy, (struct bpf_iter_kmem_cache *it))
KFUNC(int, bpf_iter_dmabuf_new, (struct bpf_iter_dmabuf *it))
KFUNC(struct dma_buf *, bpf_iter_dmabuf_next, (struct bpf_iter_dmabuf *it))
KFUNC(void, bpf_iter_dmabuf_destroy, (struct bpf_iter_dmabuf *it))
KFUNC(struct kmem_cache *, bpf_get_kmem_cache, (__u64 address))

/* Inputs. */
__u32 flow = 0;
__u32 inside = 0; /* bytes behind the beginning of the object */
__u64 address = 0; /* that is looked up, without an object */

/* Results. */
struct {
	__s32 ret;
	__u32 found;
	__u64 size; /* of all buffers, or of an object, in bytes */
	__u32 named; /* task_struct */
	__u32 large; /* its objects have room for a task */
	__u32 done;
} result = { .ret = UNTOUCHED };

static const char task_struct_name[] = "task_struct";

static __always_inline void note(struct kmem_cache *cache)
{
	char name[sizeof(task_struct_name)] = {};

	result.found++;
	bpf_probe_read_kernel_str(name, sizeof(name), cache->name);
	if (bpf_strncmp(name, sizeof(name), task_struct_name))
		return;
	result.named++;
	result.large = cache->object_size >= bpf_core_type_size(struct task_struct);
}

PROGRAM(cache)
{
	struct kmem_cache *cache = bpf_get_kmem_cache(address ?: (__u64)bpf_get_current_task() + inside);

	if (cache)
		note(cache);
	return 0;
}

PROGRAM(cache_unchecked)
{
	result.size = bpf_get_kmem_cache(address ?: (__u64)bpf_get_current_task())->object_size;
	return 0;
}

PROGRAM(cache_write)
{
	struct kmem_cache *cache = bpf_get_kmem_cache((__u64)bpf_get_current_task());

	if (cache)
		cache->object_size = 1;
	return 0;
}

/* --- iterators ----------------------------------------------------------------------------------------------------- */

LATER(caches)
{
	struct bpf_iter_kmem_cache it;
	struct kmem_cache *cache;

	result.ret = bpf_iter_kmem_cache_new(&it);
	while ((cache = bpf_iter_kmem_cache_next(&it)))
		note(cache);
	bpf_iter_kmem_cache_destroy(&it);
}

LATER(buffers)
{
	struct bpf_iter_dmabuf it;
	struct dma_buf *buffer;

	result.ret = bpf_iter_dmabuf_new(&it);
	while ((buffer = bpf_iter_dmabuf_next(&it))) {
		result.found++;
		result.size += buffer->size;
	}
	bpf_iter_dmabuf_destroy(&it);
}

#define CACHES bpf_iter_kmem_cache_new(&it)
#define BUFFERS bpf_iter_dmabuf_new(&it)

#define REFUSED(name, iterator, make)                                                                                  \
	PROGRAM(name##_at_once)                                                                                        \
	{                                                                                                              \
		struct bpf_iter_##iterator it;                                                                         \
                                                                                                                       \
		result.ret = make;                                                                                     \
		bpf_iter_##iterator##_destroy(&it);                                                                    \
		return 0;                                                                                              \
	}                                                                                                              \
	LATER(name##_leak)                                                                                             \
	{                                                                                                              \
		struct bpf_iter_##iterator it;                                                                         \
                                                                                                                       \
		result.ret = make;                                                                                     \
	}                                                                                                              \
	LATER(name##_not_begun)                                                                                        \
	{                                                                                                              \
		struct bpf_iter_##iterator it = {};                                                                    \
                                                                                                                       \
		bpf_iter_##iterator##_next(&it);                                                                       \
	}                                                                                                              \
	LATER(name##_ended)                                                                                            \
	{                                                                                                              \
		struct bpf_iter_##iterator it;                                                                         \
                                                                                                                       \
		result.ret = make;                                                                                     \
		bpf_iter_##iterator##_destroy(&it);                                                                    \
		bpf_iter_##iterator##_destroy(&it);                                                                    \
	}

REFUSED(caches, kmem_cache, CACHES)
REFUSED(buffers, dmabuf, BUFFERS)

char _license[] SEC("license") = "GPL";
