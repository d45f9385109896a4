// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that make and change the conntrack entries of real flows: what traffic.yaml asks about.
 *
 * They are attached to the server's device, see the packets of one client port, and let everything pass.
 * The programs themselves are in traffic_programs.h, which is included once per program type.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define SKIP (-1)
#define FIRST_PORT 20000 /* runner/agent/traffic.py: the client's port is this + flow */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct nf_conn {
	unsigned long status;
	__u32 mark;
};

struct nf_conn___init {
	struct nf_conn ct;
};

union nf_inet_addr {
	__be32 ip;
	__u32 all[4];
};

#pragma clang attribute pop

#include "conntrack_kfuncs.h"

/* Inputs. */
__u32 flow = 0;
__u32 opts_size = 12;
__u32 zone = 0;
__s32 set_timeout_ms = SKIP;
__s32 change_timeout_ms = SKIP;
__s32 set_status = SKIP;
__s32 add_status = SKIP;
__u32 mark = 0;
__u32 nat_addr = 0; /* host byte order */
__s32 nat_port = 0;
__u32 nat_manip = NF_NAT_MANIP_SRC;
__u32 nat_own_port = 0; /* add `flow` to nat_port: a source that was translated must be another one for every flow */

/* Results: 0 until a program says otherwise. */
struct {
	__u32 packets; /* of the flow, from its client */
	__s32 first_error; /* of the lookup or alloc for the first packet; 0: none */
	__u32 inserted;
	__u32 found; /* packets whose entry was found */
	__u32 dir; /* what the last lookup that found one said */
	__s32 set_ret;
	__s32 nat_ret;
	__s32 change_ret;
	__s32 change_status_ret;
} result;

struct call {
	union {
		struct bpf_ct_opts opts;
		__u64 opts_mem[2];
	};
	struct bpf_sock_tuple tuple;
};

/* Is the packet one of our flow? Then its tuple is in `call`. */
static __always_inline int parse(void *data, void *data_end, struct call *call)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	__be16 *ports = (void *)(ip + 1); /* source and destination lead both headers */

	if ((void *)(ports + 2) > data_end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5)
		return 0;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return 0;
	if (ports[0] != bpf_htons(FIRST_PORT + flow))
		return 0;
	__builtin_memset(call, 0, sizeof(*call));
	call->opts.netns_id = BPF_F_CURRENT_NETNS;
	call->opts.l4proto = ip->protocol;
	call->opts.ct_zone_id = zone;
	call->tuple.ipv4.saddr = ip->saddr;
	call->tuple.ipv4.daddr = ip->daddr;
	call->tuple.ipv4.sport = ports[0];
	call->tuple.ipv4.dport = ports[1];
	return 1;
}

static __always_inline __u32 known_size(void)
{
	return opts_size == 16 ? 16 : 12;
}

#define SECTION SEC("tc")
#define T(name) tc_##name
#define CTX struct __sk_buff
#define PASS TC_ACT_OK
#define CT_ALLOC bpf_skb_ct_alloc
#define CT_LOOKUP bpf_skb_ct_lookup
#include "traffic_programs.h"
#undef SECTION
#undef T
#undef CTX
#undef PASS
#undef CT_ALLOC
#undef CT_LOOKUP

#define SECTION SEC("xdp")
#define T(name) xdp_##name
#define CTX struct xdp_md
#define PASS XDP_PASS
#define CT_ALLOC bpf_xdp_ct_alloc
#define CT_LOOKUP bpf_xdp_ct_lookup
#include "traffic_programs.h"

char _license[] SEC("license") = "GPL";
