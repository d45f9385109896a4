/* An entry kept in a map. conntrack_kptr*.bpf.c say with which type tag, whose meaning changed in v6.4.
 *
 * The kernel makes a map with a member that it does not understand; it is the program's use of it that is refused.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define KPTR __attribute__((btf_type_tag(KPTR_TAG)))

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

struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *, struct bpf_sock_tuple *, __u32, struct bpf_ct_opts *,
				  __u32) __ksym __weak;
struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *, struct bpf_sock_tuple *, __u32, struct bpf_ct_opts *,
				  __u32) __ksym __weak;
void bpf_ct_release(struct nf_conn *) __ksym __weak;

struct kept {
	struct nf_conn KPTR *entry;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kept);
} kept SEC(".maps");

__u32 flow = 0;

struct {
	__s32 error;
	__u32 mark;
} result;

#define FIND(lookup, ctx)                                                                                              \
	struct bpf_ct_opts opts = { .netns_id = BPF_F_CURRENT_NETNS, .l4proto = 6 };                                   \
	struct bpf_sock_tuple tuple = { .ipv4.saddr = bpf_htonl(flow) };                                               \
	struct nf_conn *entry;                                                                                         \
	struct kept *place;                                                                                            \
	__u32 zero = 0;                                                                                                \
                                                                                                                       \
	place = bpf_map_lookup_elem(&kept, &zero);                                                                     \
	if (!place)                                                                                                    \
		return 0;                                                                                              \
	entry = lookup(ctx, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));                                          \
	result.error = opts.error;                                                                                     \
	if (!entry)                                                                                                    \
		return 0;

#define KEEP                                                                                                           \
	entry = bpf_kptr_xchg(&place->entry, entry);                                                                   \
	if (entry)                                                                                                     \
		bpf_ct_release(entry);                                                                                 \
	return 0;

#define KEEP_UNTRUSTED                                                                                                 \
	place->entry = entry;                                                                                          \
	bpf_ct_release(entry);                                                                                         \
	asm volatile("" ::: "memory"); /* read it again: what was released is no pointer any more */                   \
	entry = place->entry;                                                                                          \
	if (entry)                                                                                                     \
		result.mark = entry->mark;                                                                             \
	return 0;

#ifdef UNTRUSTED
SEC("tc") int tc_keep_untrusted(struct __sk_buff *ctx)
{
	FIND(bpf_skb_ct_lookup, ctx)
	KEEP_UNTRUSTED
}

SEC("xdp") int xdp_keep_untrusted(struct xdp_md *ctx)
{
	FIND(bpf_xdp_ct_lookup, ctx)
	KEEP_UNTRUSTED
}
#endif

#ifdef REFERENCED
SEC("tc") int tc_keep(struct __sk_buff *ctx)
{
	FIND(bpf_skb_ct_lookup, ctx)
	KEEP
}

SEC("xdp") int xdp_keep(struct xdp_md *ctx)
{
	FIND(bpf_xdp_ct_lookup, ctx)
	KEEP
}
#endif

char _license[] SEC("license") = "GPL";
