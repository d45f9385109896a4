// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that take and give back pages of an arena: what arena.yaml asks about.
 *
 * This needs clang 19: older ones do not know that an arena has addresses of its own.
 */
#include "program.h"
#include "later.h"

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

#define __arena __attribute__((address_space(1)))
#define PAGES 64
#define WORDS 512 /* of a page of 4096 bytes */

typedef volatile __u64 __arena *page;

struct {
	__uint(type, 33); /* BPF_MAP_TYPE_ARENA, which older headers lack */
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PAGES);
} arena SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} no_arena SEC(".maps");

KFUNC(void __arena *, bpf_arena_alloc_pages, (void *map, void __arena *address, __u32 number, int node, __u64 flags))
KFUNC(void, bpf_arena_free_pages, (void *map, void __arena *address, __u32 number))
KFUNC(int, bpf_arena_reserve_pages, (void *map, void __arena *address, __u32 number))

/* Inputs. */
__u32 flow = 0;
__u32 number = 1; /* of pages */
__u64 flags = 0;
int node = -1; /* any */

/* Results. */
struct {
	__u32 done;
	__u32 made; /* times that pages were taken */
	__u64 first; /* word of the first page, read after it was written */
	__u64 last; /* ... of the last page */
	__u64 before; /* what the first word was at first */
	__u32 same; /* the address is the one that was asked for */
	__s32 ret; /* of the reservation */
	__s32 again_ret; /* of a second one */
	__s32 outside_ret; /* of one behind the end */
	__u32 taken; /* a page could be taken although it was reserved */
	__u32 freed; /* ... once that was given back */
} result;

static __always_inline page take(__u32 count)
{
	return bpf_arena_alloc_pages(&arena, NULL, count, node, flags);
}

static __always_inline void use(void)
{
	page it = take(number);

	if (!it)
		return;
	result.made++;
	result.before = it[0];
	it[0] = 77;
	it[(number & (PAGES - 1)) * WORDS - 1] = 78;
	result.first = it[0];
	result.last = it[(number & (PAGES - 1)) * WORDS - 1];
	bpf_arena_free_pages(&arena, (void __arena *)it, number);
}

LATER(alloc)
{
	use();
}

PROGRAM(alloc_at_once)
{
	use();
	result.done = 1;
	return 0;
}

/* More than there are, one after the other. */
LATER(many)
{
	for (int i = 0; i < 4 * PAGES; i++) {
		page it = take(1);

		if (!it)
			return;
		result.made++;
		bpf_arena_free_pages(&arena, (void __arena *)it, 1);
	}
}

/* All that there are, and one more. */
LATER(all)
{
	page it = take(PAGES);

	if (!it)
		return;
	result.made++;
	result.taken = !!take(1);
	bpf_arena_free_pages(&arena, (void __arena *)it, PAGES);
}

/* At an address. */
LATER(at)
{
	page it = take(4), other;

	if (!it)
		return;
	result.made++;
	bpf_arena_free_pages(&arena, (void __arena *)it, 4);
	other = bpf_arena_alloc_pages(&arena, (void __arena *)(it + 2 * WORDS), 1, -1, 0);
	if (!other)
		return;
	result.made++;
	result.same = other == it + 2 * WORDS;
	result.taken = !!bpf_arena_alloc_pages(&arena, (void __arena *)(it + 2 * WORDS), 1, -1, 0);
	bpf_arena_free_pages(&arena, (void __arena *)other, 1);
}

LATER(reserve)
{
	page it = take(4), other;

	if (!it)
		return;
	result.made++;
	bpf_arena_free_pages(&arena, (void __arena *)it, 4);
	result.ret = bpf_arena_reserve_pages(&arena, (void __arena *)it, number);
	result.again_ret = bpf_arena_reserve_pages(&arena, (void __arena *)it, 1);
	result.outside_ret = bpf_arena_reserve_pages(&arena, (void __arena *)it, PAGES + 1);
	other = bpf_arena_alloc_pages(&arena, (void __arena *)it, 1, -1, 0);
	result.taken = !!other;
	bpf_arena_free_pages(&arena, (void __arena *)it, number);
	other = bpf_arena_alloc_pages(&arena, (void __arena *)it, 1, -1, 0);
	if (!other)
		return;
	result.freed = 1;
	bpf_arena_free_pages(&arena, (void __arena *)other, 1);
}

/* A map of another kind, in a program that has an arena. */
LATER(other_map)
{
	page it = take(1);

	if (!it)
		return;
	bpf_arena_free_pages(&arena, (void __arena *)it, 1);
	result.taken = !!bpf_arena_alloc_pages(&no_arena, NULL, 1, -1, 0);
}

char _license[] SEC("license") = "GPL";
