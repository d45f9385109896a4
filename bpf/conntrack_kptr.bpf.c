// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that keep an entry in a map.
 *
 * A map called tagged_TAG holds one pointer to a struct nf_conn with the BTF type tag TAG. The agent makes these maps:
 * clang writes no type tags before version 15. What a tag means changed in v6.4: `kptr_ref` became `kptr`, and what was
 * `kptr`, a pointer without a reference, became `kptr_untrusted`.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "kfunc.h"

struct nf_conn {
	__u32 mark;
} __attribute__((preserve_access_index));

struct bpf_ct_opts {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};

KFUNC(struct nf_conn *, bpf_skb_ct_lookup,
      (struct __sk_buff *, struct bpf_sock_tuple *, __u32, struct bpf_ct_opts *, __u32))
KFUNC(struct nf_conn *, bpf_xdp_ct_lookup,
      (struct xdp_md *, struct bpf_sock_tuple *, __u32, struct bpf_ct_opts *, __u32))
KFUNC(void, bpf_ct_release, (struct nf_conn *))

#define TAGGED(name)                                                                                                   \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                                      \
		__uint(max_entries, 1);                                                                                \
		__type(key, __u32);                                                                                    \
		__type(value, struct nf_conn *);                                                                       \
	} name SEC(".maps")

TAGGED(tagged_kptr);
TAGGED(tagged_kptr_ref);
TAGGED(tagged_kptr_untrusted);

__u32 flow = 0;

struct {
	__s32 error; /* of the lookup */
	__u32 mark;
} result;

#define LOOKUP(lookup, ctx)                                                                                            \
	({                                                                                                             \
		struct bpf_ct_opts opts = { .netns_id = BPF_F_CURRENT_NETNS, .l4proto = 6 };                           \
		struct bpf_sock_tuple tuple = { .ipv4.saddr = bpf_htonl(flow) };                                       \
		struct nf_conn *found = lookup(ctx, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));                  \
                                                                                                                       \
		result.error = opts.error;                                                                             \
		found;                                                                                                 \
	})

/* Put the entry into the map, and release what was there. */
static __always_inline int keep(void *map, struct nf_conn *entry)
{
	__u32 zero = 0;
	struct nf_conn **place = bpf_map_lookup_elem(map, &zero);

	if (place)
		entry = bpf_kptr_xchg(place, entry);
	if (entry)
		bpf_ct_release(entry);
	return 0;
}

/* Leave a pointer in the map, release the entry, and look at it through the pointer. */
static __always_inline int note(void *map, struct nf_conn *entry)
{
	__u32 zero = 0;
	struct nf_conn **place = bpf_map_lookup_elem(map, &zero);

	if (place)
		*place = entry;
	bpf_ct_release(entry);
	asm volatile("" ::: "memory"); /* read it again: what was released is no pointer any more */
	if (place && *place)
		result.mark = (*place)->mark;
	return 0;
}

#define PROGRAMS(name, what, map)                                                                                      \
	SEC("tc") int tc_##name(struct __sk_buff *ctx)                                                                 \
	{                                                                                                              \
		struct nf_conn *entry = LOOKUP(bpf_skb_ct_lookup, ctx);                                                \
                                                                                                                       \
		return entry ? what(&map, entry) : 0;                                                                  \
	}                                                                                                              \
	SEC("xdp") int xdp_##name(struct xdp_md *ctx)                                                                  \
	{                                                                                                              \
		struct nf_conn *entry = LOOKUP(bpf_xdp_ct_lookup, ctx);                                                \
                                                                                                                       \
		return entry ? what(&map, entry) : 0;                                                                  \
	}

PROGRAMS(keep, keep, tagged_kptr)
PROGRAMS(keep_old_tag, keep, tagged_kptr_ref)
PROGRAMS(note, note, tagged_kptr_untrusted)
PROGRAMS(note_old_tag, note, tagged_kptr)

char _license[] SEC("license") = "GPL";
