// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that ask about tunnels, connections and flows around a packet: xfrm.yaml, fou.yaml, reqsk.yaml, flowtable.yaml. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "kfunc.h"

#define UNTOUCHED 0x12345678
#define AF_INET 2
#define TCP_ESTABLISHED 1
#define FIRST_PORT 20000 /* runner/agent/traffic.py: the client's port is this + flow */

/* ABI between programs and the kernel. */

struct bpf_xfrm_info {
	__u32 if_id;
	int link;
};

struct bpf_fou_encap {
	__be16 sport;
	__be16 dport;
};

struct bpf_xfrm_state_opts {
	__s32 error;
	__s32 netns_id;
	__u32 mark;
	union {
		__be32 a4;
		__be32 a6[4];
	} daddr;
	__be32 spi;
	__u8 proto;
	__u16 family;
};

struct bpf_flowtable_opts {
	__s32 error;
};

struct bpf_tcp_req_attrs {
	__u32 rcv_tsval;
	__u32 rcv_tsecr;
	__u16 mss;
	__u8 rcv_wscale;
	__u8 snd_wscale;
	__u8 ecn_ok;
	__u8 wscale_ok;
	__u8 sack_ok;
	__u8 tstamp_ok;
	__u8 usec_ts_ok;
	__u8 reserved[3];
};

/* The kernel's own, of which only what is read is declared. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct xfrm_state {
	struct {
		__u32 reqid;
	} props;
};

struct flow_offload_tuple {
	__be16 src_port;
	__be16 dst_port;
};

struct flow_offload_tuple_rhash {
	struct flow_offload_tuple tuple;
};

#pragma clang attribute pop

struct sock {
	char any; /* libbpf tells a structure from a declaration of one */
};

KFUNC(int, bpf_skb_set_xfrm_info, (struct __sk_buff *, const struct bpf_xfrm_info *))
KFUNC(int, bpf_skb_get_xfrm_info, (struct __sk_buff *, struct bpf_xfrm_info *))
KFUNC(struct xfrm_state *, bpf_xdp_get_xfrm_state, (struct xdp_md *, struct bpf_xfrm_state_opts *, __u32 size))
KFUNC(void, bpf_xdp_xfrm_state_release, (struct xfrm_state *))
KFUNC(int, bpf_skb_set_fou_encap, (struct __sk_buff *, struct bpf_fou_encap *, int type))
KFUNC(int, bpf_skb_get_fou_encap, (struct __sk_buff *, struct bpf_fou_encap *))
KFUNC(int, bpf_sk_assign_tcp_reqsk, (struct __sk_buff *, struct sock *, struct bpf_tcp_req_attrs *, int size))
KFUNC(struct flow_offload_tuple_rhash *, bpf_xdp_flow_lookup,
      (struct xdp_md *, struct bpf_fib_lookup *, struct bpf_flowtable_opts *, __u32 size))

/* Inputs. */
__u32 flow = 0;
struct bpf_xfrm_info xfrm_info = { .if_id = 7, .link = 3 };
__u32 set_times = 1;
__u32 in_tunnel = 1;
struct bpf_fou_encap encap = {};
__s32 encap_type = 0;
struct bpf_xfrm_state_opts xfrm_opts = { .error = UNTOUCHED, .netns_id = BPF_F_CURRENT_NETNS, .proto = 50, .family = AF_INET };
__u32 opts_size = 36;
__u32 address = 0x0a000002; /* host byte order */
__u32 spi = 1;
struct bpf_tcp_req_attrs attrs = { .mss = 1460, .rcv_wscale = 7, .snd_wscale = 7 };
__u32 attrs_size = 20;
__u32 flow_opts_size = 4;
__u32 family = AF_INET, protocol = 17;
__u32 tries = 1;
__u32 on_later = 0; /* do it for a packet of the connection */

/* Results. */
struct {
	__u32 done;
	__u32 packets;
	__s32 error;
	__s32 tunnel_ret;
	__s32 set_ret;
	__s32 get_ret;
	__u32 if_id;
	__s32 link;
	__u32 sport; /* host byte order */
	__u32 dport;
	__u32 acquired;
	__u32 reqid;
	__u32 outside; /* bytes behind the options were written */
	__u32 found; /* the state of the socket that the packet is for: 1 is TCP_ESTABLISHED, 10 TCP_LISTEN */
	__s32 ret;
	__u32 state; /* of the packet's socket: 12 is TCP_NEW_SYN_RECV */
} result;

/* The verifier needs to see that a size fits its buffer. */
#define BOUND(size, mem) asm volatile("%0 &= %1" : "+r"(size) : "i"(sizeof(mem) - 1))

/* --- xfrm interfaces: metadata */

SEC("tc") int tc_xfrm_info(struct __sk_buff *ctx)
{
	struct bpf_xfrm_info to = xfrm_info, found = { .if_id = UNTOUCHED };

	if (set_times)
		result.set_ret = bpf_skb_set_xfrm_info(ctx, &to);
	if (set_times > 1)
		result.set_ret = bpf_skb_set_xfrm_info(ctx, &to);
	result.get_ret = bpf_skb_get_xfrm_info(ctx, &found);
	result.if_id = found.if_id;
	result.link = found.link;
	return TC_ACT_OK;
}

SEC("tc") int tc_xfrm_info_null(struct __sk_buff *ctx)
{
	result.get_ret = bpf_skb_get_xfrm_info(ctx, NULL);
	return TC_ACT_OK;
}

SEC("tc") int tc_xfrm_info_small(struct __sk_buff *ctx)
{
	__u32 found = 0;

	result.get_ret = bpf_skb_get_xfrm_info(ctx, (struct bpf_xfrm_info *)&found);
	return TC_ACT_OK;
}

/* --- fou */

SEC("tc") int tc_fou(struct __sk_buff *ctx)
{
	struct bpf_tunnel_key key = { .remote_ipv4 = 0x0a000009 };
	struct bpf_fou_encap to = encap, found = {};

	to.sport = bpf_htons(to.sport);
	to.dport = bpf_htons(to.dport);
	if (in_tunnel)
		result.tunnel_ret = bpf_skb_set_tunnel_key(ctx, &key, sizeof(key), 0);
	result.set_ret = bpf_skb_set_fou_encap(ctx, &to, encap_type);
	result.get_ret = bpf_skb_get_fou_encap(ctx, &found);
	result.sport = bpf_ntohs(found.sport);
	result.dport = bpf_ntohs(found.dport);
	return TC_ACT_OK;
}

SEC("tc") int tc_fou_null(struct __sk_buff *ctx)
{
	result.set_ret = bpf_skb_set_fou_encap(ctx, NULL, 0);
	return TC_ACT_OK;
}

/* --- xfrm states */

struct state_call {
	union {
		struct bpf_xfrm_state_opts opts;
		__u64 mem[8];
	};
};

static __always_inline struct xfrm_state *find_state(struct xdp_md *ctx)
{
	struct state_call call = {};
	struct xfrm_state *found;
	__u32 size = opts_size;

	BOUND(size, call.mem);
	call.mem[5] = UNTOUCHED;
	call.opts = xfrm_opts;
	call.opts.daddr.a4 = bpf_htonl(address);
	call.opts.spi = bpf_htonl(spi);
	found = bpf_xdp_get_xfrm_state(ctx, &call.opts, size);
	result.error = call.opts.error;
	result.outside = call.mem[5] != UNTOUCHED;
	if (!found)
		return NULL;
	result.acquired = 1;
	result.reqid = found->props.reqid;
	return found;
}

SEC("xdp") int xdp_state(struct xdp_md *ctx)
{
	struct xfrm_state *found = find_state(ctx);

	if (found)
		bpf_xdp_xfrm_state_release(found);
	return XDP_PASS;
}

SEC("xdp") int xdp_state_leak(struct xdp_md *ctx)
{
	find_state(ctx);
	return XDP_PASS;
}

SEC("xdp") int xdp_state_twice(struct xdp_md *ctx)
{
	struct xfrm_state *found = find_state(ctx);

	if (found) {
		bpf_xdp_xfrm_state_release(found);
		bpf_xdp_xfrm_state_release(found);
	}
	return XDP_PASS;
}

SEC("xdp") int xdp_state_unchecked(struct xdp_md *ctx)
{
	struct bpf_xfrm_state_opts opts = { .netns_id = BPF_F_CURRENT_NETNS };

	bpf_xdp_xfrm_state_release(bpf_xdp_get_xfrm_state(ctx, &opts, sizeof(opts)));
	return XDP_PASS;
}

SEC("xdp") int xdp_state_written(struct xdp_md *ctx)
{
	struct xfrm_state *found = find_state(ctx);

	if (found) {
		found->props.reqid = 1;
		bpf_xdp_xfrm_state_release(found);
	}
	return XDP_PASS;
}

/* --- a connection that a program accepts by a cookie of its own */

/* What the client sent: its first packet asks for a connection, later ones belong to one. */
SEC("tc") int tc_reqsk(struct __sk_buff *ctx)
{
	void *data = (void *)(long)ctx->data;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct tcphdr *tcp = (void *)(ip + 1);
	struct bpf_sock_tuple tuple = {};
	union {
		struct bpf_tcp_req_attrs attrs;
		__u64 mem[4];
	} call = {};
	__u32 size = attrs_size;
	struct bpf_sock *sk;

	if ((void *)(tcp + 1) > (void *)(long)ctx->data_end || ip->protocol != IPPROTO_TCP)
		return TC_ACT_OK;
	if (tcp->source != bpf_htons(FIRST_PORT + flow) || tcp->syn == on_later || result.found)
		return TC_ACT_OK;
	BOUND(size, call);
	call.attrs = attrs;
	tuple.ipv4.saddr = ip->saddr;
	tuple.ipv4.daddr = ip->daddr;
	tuple.ipv4.sport = tcp->source;
	tuple.ipv4.dport = tcp->dest;
	sk = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), -1, 0);
	if (!sk)
		return TC_ACT_OK;
	if (on_later && sk->state != TCP_ESTABLISHED) {
		bpf_sk_release(sk);
		return TC_ACT_OK;
	}
	result.found = sk->state;
	result.ret = bpf_sk_assign_tcp_reqsk(ctx, (struct sock *)sk, &call.attrs, size);
	bpf_sk_release(sk);
	sk = ctx->sk;
	if (sk)
		result.state = sk->state;
	return TC_ACT_OK;
}

SEC("tc") int tc_reqsk_null(struct __sk_buff *ctx)
{
	struct bpf_tcp_req_attrs own = attrs;

	result.ret = bpf_sk_assign_tcp_reqsk(ctx, NULL, &own, sizeof(own));
	return TC_ACT_OK;
}

/* --- flow tables */

SEC("xdp") int xdp_flow(struct xdp_md *ctx)
{
	struct bpf_fib_lookup tuple = { .family = family, .l4_protocol = protocol };
	struct bpf_flowtable_opts opts[2] = { { .error = UNTOUCHED }, { .error = UNTOUCHED } };
	struct flow_offload_tuple_rhash *found;
	__u32 size = flow_opts_size;

	BOUND(size, opts);
	tuple.ifindex = ctx->ingress_ifindex;
	tuple.ipv4_src = bpf_htonl(0x0a010002);
	tuple.ipv4_dst = bpf_htonl(0x0a020002);
	tuple.sport = bpf_htons(4000);
	tuple.dport = bpf_htons(4001);
	found = bpf_xdp_flow_lookup(ctx, &tuple, opts, size);
	result.error = opts[0].error;
	result.outside = opts[1].error != UNTOUCHED;
	if (found) {
		result.acquired = 1;
		result.sport = bpf_ntohs(found->tuple.src_port);
		result.dport = bpf_ntohs(found->tuple.dst_port);
	}
	result.packets++;
	result.done = found || result.packets >= tries;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
