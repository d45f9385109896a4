// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that read and write packets by dynptrs, and ask about what came with them: packet.yaml and metadata.yaml.
 *
 * The programs of both types are in packet_programs.h. XDP programs take packets of several buffers.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "kfunc.h"

enum xdp_rss_hash_type { XDP_RSS_TYPE_NONE };

KFUNC(int, bpf_dynptr_from_skb, (struct __sk_buff *, __u64 flags, struct bpf_dynptr *))
KFUNC(int, bpf_dynptr_from_xdp, (struct xdp_md *, __u64 flags, struct bpf_dynptr *))
KFUNC(int, bpf_dynptr_from_skb_meta, (struct __sk_buff *, __u64 flags, struct bpf_dynptr *))
KFUNC(void *, bpf_dynptr_slice, (const struct bpf_dynptr *, __u32 offset, void *buffer, __u32 size))
KFUNC(void *, bpf_dynptr_slice_rdwr, (const struct bpf_dynptr *, __u32 offset, void *buffer, __u32 size))
KFUNC(int, bpf_dynptr_adjust, (const struct bpf_dynptr *, __u32 start, __u32 end))
KFUNC(int, bpf_dynptr_clone, (const struct bpf_dynptr *, struct bpf_dynptr *))
KFUNC(int, bpf_dynptr_is_null, (const struct bpf_dynptr *))
KFUNC(int, bpf_dynptr_is_rdonly, (const struct bpf_dynptr *))
KFUNC(__u32, bpf_dynptr_size, (const struct bpf_dynptr *))
KFUNC(int, bpf_dynptr_copy, (struct bpf_dynptr *, __u32 to_at, struct bpf_dynptr *, __u32 from_at, __u32 size))
KFUNC(int, bpf_dynptr_memset, (struct bpf_dynptr *, __u32 offset, __u32 size, __u8 value))
KFUNC(int, bpf_xdp_pull_data, (struct xdp_md *, __u32 length))
KFUNC(int, bpf_xdp_metadata_rx_timestamp, (const struct xdp_md *, __u64 *))
KFUNC(int, bpf_xdp_metadata_rx_hash, (const struct xdp_md *, __u32 *, enum xdp_rss_hash_type *))
KFUNC(int, bpf_xdp_metadata_rx_vlan_tag, (const struct xdp_md *, __be16 *, __u16 *))

#define UNTOUCHED 0x12345678
#define FORWARD_TO 11 /* metadata.yaml: the index of d1 */

/* Inputs. */
__u32 flow = 0; /* not used */
__u64 flags = 0;
__u32 offset = 14; /* of the IP header */
__s32 from_end = 0; /* 1: from the end of what is linear */
__u64 value = 0x1122334455667788;
__u32 write_back = 0;
__u32 start = 0, end = 0;
__u32 size = 8;
__u32 to_packet = 0;
__u32 memory_at = 0;
__u64 memory[2] = { 0x2020202020202020, 0x2020202020202020 };
__u32 length = 0;

/* Results. The 8 bytes of a u64 are in the order of the packet. */
struct {
	__u32 done;
	__s32 from_ret;
	__u32 linear; /* bytes that the program may access directly */
	__u32 sliced; /* there is a slice */
	__u64 value; /* its bytes */
	__u64 buffer; /* what the buffer has afterwards */
	__u64 packet; /* what the packet has there afterwards */
	__u64 memory;
	__s32 ret;
	__s32 clone_ret;
	__s32 size;
	__s32 new_size;
	__s32 old_size; /* of the original, after its clone was changed */
	__u32 first; /* byte */
	__u32 is_null;
	__u32 is_rdonly;
	__u32 new_linear;
	__u32 pulled;
	__s32 timestamp_ret;
	__u64 timestamp;
	__s32 hash_ret;
	__u32 hash;
	__u32 hash_type;
	__s32 vlan_ret;
	__u32 vlan_protocol;
	__u32 vlan_tag;
} result;

/* On a wire there are also packets that nobody here sent. */
static __always_inline int is_ours(__u32 data, __u32 data_end)
{
	struct ethhdr *eth = (void *)(long)data;

	return (void *)(eth + 1) <= (void *)(long)data_end && eth->h_proto == bpf_htons(ETH_P_IP);
}

static __always_inline __u32 linear_bytes(__u32 data, __u32 data_end)
{
	return (__u64)(long)data_end - (__u64)(long)data;
}

#define SECTION SEC("tc")
#define T(name) tc_##name
#define CTX struct __sk_buff
#define FROM bpf_dynptr_from_skb
#define LOAD bpf_skb_load_bytes
#define CHANGE(ctx) bpf_skb_pull_data(ctx, 0)
#define PASS TC_ACT_OK
#include "packet_programs.h"
#undef SECTION
#undef T
#undef CTX
#undef FROM
#undef LOAD
#undef CHANGE
#undef PASS

#define SECTION SEC("xdp.frags")
#define T(name) xdp_##name
#define CTX struct xdp_md
#define FROM bpf_dynptr_from_xdp
#define LOAD bpf_xdp_load_bytes
#define CHANGE(ctx) bpf_xdp_adjust_head(ctx, 0)
#define PASS XDP_PASS
#include "packet_programs.h"

/* The metadata of a packet: xdp_give leaves 8 bytes, which TC programs find. */

SEC("xdp") int xdp_give(struct xdp_md *ctx)
{
	volatile char *meta; /* bytes: it need not be aligned */

	if (bpf_xdp_adjust_meta(ctx, -8))
		return XDP_PASS;
	meta = (void *)(long)ctx->data_meta;
	if ((void *)(meta + 8) <= (void *)(long)ctx->data)
#pragma unroll
		for (int at = 0; at < 8; at++)
			meta[at] = at + 1;
	return XDP_PASS;
}

SEC("tc") int tc_meta(struct __sk_buff *ctx)
{
	struct bpf_dynptr p;
	__u64 found = 0;

	if (!is_ours(ctx->data, ctx->data_end))
		return TC_ACT_OK;
	result.from_ret = bpf_dynptr_from_skb_meta(ctx, flags, &p);
	result.is_null = TRUTH(bpf_dynptr_is_null(&p));
	result.is_rdonly = TRUTH(bpf_dynptr_is_rdonly(&p));
	result.size = bpf_dynptr_size(&p);
	bpf_dynptr_read(&found, sizeof(found), &p, 0, 0);
	result.value = bpf_be64_to_cpu(found);
	found = bpf_cpu_to_be64(value);
	result.ret = bpf_dynptr_write(&p, 0, &found, sizeof(found), 0);
	found = 0;
	bpf_dynptr_read(&found, sizeof(found), &p, 0, 0);
	result.packet = bpf_be64_to_cpu(found);
	result.done = 1;
	return TC_ACT_OK;
}

SEC("xdp.frags") int xdp_pull(struct xdp_md *ctx)
{
	result.linear = linear_bytes(ctx->data, ctx->data_end);
	result.ret = bpf_xdp_pull_data(ctx, (from_end ? result.linear : 0) + length);
	result.new_linear = linear_bytes(ctx->data, ctx->data_end);
	result.pulled = result.new_linear - result.linear;
	return XDP_PASS;
}

/* Sends the packet out of another device. */
SEC("xdp") int xdp_forward(struct xdp_md *ctx)
{
	return is_ours(ctx->data, ctx->data_end) ? bpf_redirect(FORWARD_TO, 0) : XDP_PASS;
}

/* The driver answers these. */

SEC("xdp") int xdp_hints(struct xdp_md *ctx)
{
	enum xdp_rss_hash_type hash_type = 0;
	__u64 timestamp = UNTOUCHED;
	__u32 hash = 0;

	if (!is_ours(ctx->data, ctx->data_end))
		return XDP_PASS;
	result.timestamp_ret = bpf_xdp_metadata_rx_timestamp(ctx, &timestamp);
	result.timestamp = timestamp;
	result.hash_ret = bpf_xdp_metadata_rx_hash(ctx, &hash, &hash_type);
	result.hash = hash;
	result.hash_type = hash_type;
	result.done = 1;
	return XDP_PASS;
}

SEC("xdp") int xdp_vlan(struct xdp_md *ctx)
{
	__be16 protocol = 0;
	__u16 tag = 0;

	if (!is_ours(ctx->data, ctx->data_end))
		return XDP_PASS;
	result.vlan_ret = bpf_xdp_metadata_rx_vlan_tag(ctx, &protocol, &tag);
	result.vlan_protocol = bpf_ntohs(protocol);
	result.vlan_tag = tag;
	result.done = 1;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
