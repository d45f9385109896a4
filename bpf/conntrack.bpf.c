// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that call the conntrack kfuncs: what conntrack.yaml asks about.
 *
 * The programs themselves are in conntrack_programs.h and conntrack_details.h, which are included once per program type.
 * `const volatile` globals are constants to the verifier; the other globals are the inputs of one run.
 * What a run saw is left in `result`.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define UNTOUCHED 0x12345678 /* what opts.error holds when the kernel did not write it */
#define CANARY 0xa5a5a5a5a5a5a5a5ULL
#define SKIP (-1)

/* The kernel's own names: these are CO-RE relocated against the running kernel. Only what is read is declared. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

union nf_inet_addr {
	__u32 all[4];
	__be32 ip;
};

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union {
		__be16 all;
	} u;
};

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			__be16 all;
		} u;
	} dst;
};

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
};

struct nf_conn {
	__u32 timeout;
	struct nf_conntrack_tuple_hash tuplehash[2];
	unsigned long status;
	__u32 mark;
};

struct nf_conn___init {
	struct nf_conn ct;
};

#pragma clang attribute pop

#include "conntrack_kfuncs.h"

#define IPS_SEEN_REPLY 2
#define IPS_ASSURED 4

/* Constants: what decides whether a program loads. */
const volatile __u32 null_size = 0; /* the size that goes with a NULL pointer */
const volatile struct bpf_ct_opts readonly_opts = { .netns_id = BPF_F_CURRENT_NETNS, .l4proto = 6 };

/* Inputs: by default a legal call. `flow` is another one in every question, so that no question meets the entry of another. */
__u32 flow = 0;
__u32 family = 4;
__u32 tuple_size = sizeof(((struct bpf_sock_tuple *)0)->ipv4);
__u32 opts_size = 12;
struct bpf_ct_opts opts = { .netns_id = BPF_F_CURRENT_NETNS, .error = UNTOUCHED, .l4proto = 6 };
__u32 lookup_reverse = 0; /* look the entry up by its reply direction */
struct bpf_ct_opts lookup_opts = { .netns_id = BPF_F_CURRENT_NETNS, .error = UNTOUCHED, .l4proto = 6 };
__s32 set_timeout_ms = SKIP;
__s32 change_timeout_ms = SKIP;
__s32 set_status = SKIP;
__s32 change_status = SKIP;
__u32 mark = 0;
__u32 nat_addr = 0x0a640001; /* host byte order: 10.100.0.1 */
__s32 nat_port = 4242;
__u32 nat_manip = NF_NAT_MANIP_SRC;

/* Results: 0 until a program says otherwise. */
struct {
	__s32 error; /* opts.error after alloc, or after lookup in the programs that only look up */
	__u32 acquired; /* ... and whether that returned an entry */
	__u32 dir;
	__u32 zone_id;
	__u32 zone_dir;
	__u32 overrun; /* bytes behind the options were written */
	__u32 outside; /* how many bytes at or behind opts + opts_size were changed */
	__u32 inserted;
	__u32 inserted_again; /* another entry for the same tuple */
	__u32 found; /* a later lookup returned the entry */
	__u32 found_dirs; /* bit N: it was found with a zone whose ct_zone_dir is N */
	__u32 found_reply_dirs; /* the same, by its reply tuple */
	__s32 lookup_error;
	__u32 lookup_dir;
	__u32 hz; /* jiffies per second, from the timeout of 10 s that a new entry gets */
	__u32 timeout_ms; /* time left right after insertion */
	__u32 changed_timeout_ms;
	__s32 set_ret; /* what bpf_ct_set_* returned */
	__s32 set_again_ret;
	__s32 change_ret; /* what bpf_ct_change_* returned */
	__u64 new_status; /* of the entry before it was inserted */
	__u64 status; /* at the end */
	__u32 mark;
	__u32 changed_mark;
	__u32 nat_addr; /* host byte order, from the reply tuple */
	__u32 nat_port;
	__u32 nat_other_addr; /* of the other translation, without `flow` */
	__u32 nat_other_port;
} result;

struct call {
	union {
		struct bpf_ct_opts opts;
		__u64 opts_mem[4];
	};
	union {
		struct bpf_sock_tuple tuple;
		__u64 tuple_mem[8];
	};
};

/* The verifier needs to see that a size fits its buffer. */
#define BOUND(size, mem) asm volatile("%0 &= %1" : "+r"(size) : "i"(sizeof(mem) - 1))

static __always_inline void fill(struct call *call, const struct bpf_ct_opts *from, __u32 reverse)
{
	__u32 one = 0x0a000000 + flow, two = 0x0b000000 + flow;
	__u16 port_one = 1024, port_two = 80;

	__builtin_memset(call, 0, sizeof(*call));
	call->opts_mem[2] = call->opts_mem[3] = CANARY;
	call->opts = *from;
	if (reverse) {
		one = 0x0b000000 + flow;
		two = 0x0a000000 + flow;
		port_one = 80;
		port_two = 1024;
	}
	if (family == 6) {
		call->tuple.ipv6.saddr[0] = call->tuple.ipv6.daddr[0] = bpf_htonl(0xfd000000);
		call->tuple.ipv6.saddr[3] = bpf_htonl(one);
		call->tuple.ipv6.daddr[3] = bpf_htonl(two);
		call->tuple.ipv6.sport = bpf_htons(port_one);
		call->tuple.ipv6.dport = bpf_htons(port_two);
	} else {
		call->tuple.ipv4.saddr = bpf_htonl(one);
		call->tuple.ipv4.daddr = bpf_htonl(two);
		call->tuple.ipv4.sport = bpf_htons(port_one);
		call->tuple.ipv4.dport = bpf_htons(port_two);
	}
}

static __always_inline void record(const struct call *call)
{
	result.error = call->opts.error;
	result.dir = call->opts.dir;
	result.zone_id = call->opts.ct_zone_id;
	result.zone_dir = call->opts.ct_zone_dir;
	result.overrun = call->opts_mem[2] != CANARY || call->opts_mem[3] != CANARY;
}

/* Without branches: 32 of them would be many paths for the verifier. */
static __always_inline void record_outside(const struct call *call)
{
	const __u8 *after = (const __u8 *)call->opts_mem;
	union {
		struct bpf_ct_opts opts;
		__u64 mem[sizeof(call->opts_mem) / 8];
	} before;
	__u32 count = 0;

	before.mem[2] = before.mem[3] = CANARY;
	before.opts = opts;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < sizeof(call->opts_mem); i++) {
		__u32 differs = after[i] ^ ((const __u8 *)before.mem)[i];
		__u32 is_outside = opts_size - 1 - i;

		asm volatile("" : "+r"(differs), "+r"(is_outside));
		count += (differs + 255) >> 8 & is_outside >> 31;
	}
	result.outside = count;
}

static __always_inline __u32 timeout_left_ms(__u32 timeout)
{
	__u32 left = timeout - (__u32)bpf_jiffies64();

	return result.hz ? (__u64)left * 1000 / result.hz : 0;
}

#define SECTION SEC("tc")
#define T(name) tc_##name
#define CTX struct __sk_buff
#define CT_ALLOC bpf_skb_ct_alloc
#define CT_LOOKUP bpf_skb_ct_lookup
#define FOREIGN_CTX struct xdp_md
#define FOREIGN_ALLOC bpf_xdp_ct_alloc
#define FOREIGN_LOOKUP bpf_xdp_ct_lookup
#include "conntrack_programs.h"
#include "conntrack_details.h"
#undef SECTION
#undef T
#undef CTX
#undef CT_ALLOC
#undef CT_LOOKUP
#undef FOREIGN_CTX
#undef FOREIGN_ALLOC
#undef FOREIGN_LOOKUP

#define SECTION SEC("xdp")
#define T(name) xdp_##name
#define CTX struct xdp_md
#define CT_ALLOC bpf_xdp_ct_alloc
#define CT_LOOKUP bpf_xdp_ct_lookup
#define FOREIGN_CTX struct __sk_buff
#define FOREIGN_ALLOC bpf_skb_ct_alloc
#define FOREIGN_LOOKUP bpf_skb_ct_lookup
#include "conntrack_programs.h"
#include "conntrack_details.h"

char _license[] SEC("license") = "GPL";
