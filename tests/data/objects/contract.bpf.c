/* What its own loader sets before it loads it: each program loads only when that was done. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 backends = 0;
const volatile _Bool strict = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 4);
} outer SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u64); } unsized SEC(".maps");

extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *xdp, __u64 *timestamp) __ksym __weak; /* since 6.3 */
extern int bpf_dynptr_from_xdp(struct xdp_md *xdp, __u64 flags, struct bpf_dynptr *dynptr) __ksym __weak; /* 6.4 */

SEC("xdp") int constant(struct xdp_md *xdp)
{
	if (backends != 16 || !strict)
		return bpf_skb_change_type((void *)xdp, 0); /* no helper of this type */
	return XDP_PASS;
}

SEC("xdp") int nested(struct xdp_md *xdp)
{
	__u32 key = 0;
	void *inner = bpf_map_lookup_elem(&outer, &key);
	__u64 *value = inner ? bpf_map_lookup_elem(inner, &key) : 0;

	return value && *value ? XDP_DROP : XDP_PASS;
}

SEC("xdp") int sized(struct xdp_md *xdp)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&unsized, &key) ? XDP_DROP : XDP_PASS;
}

SEC("xdp") int of_dynptr(struct xdp_md *xdp)
{
	struct bpf_dynptr dynptr;

	return bpf_dynptr_from_xdp(xdp, 0, &dynptr) ? XDP_DROP : XDP_PASS;
}

SEC("xdp") int bound(struct xdp_md *xdp)
{
	__u64 timestamp = 0;

	return bpf_xdp_metadata_rx_timestamp(xdp, &timestamp) ? XDP_PASS : XDP_DROP;
}

SEC("?xdp") int of_pointer(struct xdp_md *xdp) { return xdp->data < xdp->data_end ? XDP_PASS : XDP_DROP; }

char LICENSE[] SEC("license") = "GPL";
