/* SPDX-FileCopyrightText: 2026 The kfunc-runner authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The conntrack kfuncs, and what they take. Include it below the structures of the kernel that a file reads. */
#include "kfunc.h"

/* ABI between program and kernel since v6.11; until then 12 bytes, and bytes 10 and 11 were `reserved`. */
struct bpf_ct_opts {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u16 ct_zone_id;
	__u8 ct_zone_dir;
	__u8 reserved[3];
};

enum nf_nat_manip_type { NF_NAT_MANIP_SRC, NF_NAT_MANIP_DST };

KFUNC(struct nf_conn___init *, bpf_skb_ct_alloc,
      (struct __sk_buff *, struct bpf_sock_tuple *, __u32, struct bpf_ct_opts *, __u32))
KFUNC(struct nf_conn___init *, bpf_xdp_ct_alloc,
      (struct xdp_md *, struct bpf_sock_tuple *, __u32, struct bpf_ct_opts *, __u32))
KFUNC(struct nf_conn *, bpf_skb_ct_lookup,
      (struct __sk_buff *, struct bpf_sock_tuple *, __u32, struct bpf_ct_opts *, __u32))
KFUNC(struct nf_conn *, bpf_xdp_ct_lookup,
      (struct xdp_md *, struct bpf_sock_tuple *, __u32, struct bpf_ct_opts *, __u32))
KFUNC(struct nf_conn *, bpf_ct_insert_entry, (struct nf_conn___init *))
KFUNC(void, bpf_ct_release, (struct nf_conn *))
KFUNC(void, bpf_ct_set_timeout, (struct nf_conn___init *, __u32 msec))
KFUNC(int, bpf_ct_change_timeout, (struct nf_conn *, __u32 msec))
KFUNC(int, bpf_ct_set_status, (const struct nf_conn___init *, __u32))
KFUNC(int, bpf_ct_change_status, (struct nf_conn *, __u32))
KFUNC(int, bpf_ct_set_nat_info, (struct nf_conn___init *, union nf_inet_addr *, int port, enum nf_nat_manip_type))
