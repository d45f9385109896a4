/* SPDX-FileCopyrightText: 2026 The kfunc-runner authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct nf_conn {
	unsigned long status;
};
struct nf_conn___init {
	struct nf_conn ct;
};
struct bpf_ct_opts {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u16 zone;
};

extern struct nf_conn___init *bpf_skb_ct_alloc(struct __sk_buff *, struct bpf_sock_tuple *, __u32,
					       struct bpf_ct_opts *, __u32) __ksym;
extern struct nf_conn *bpf_ct_insert_entry(struct nf_conn___init *) __ksym;
extern void bpf_ct_release(struct nf_conn *) __ksym;

/* No such network namespace: the error that the kernel writes into the options. */
static __always_inline int error_of(struct __sk_buff *skb, __u32 size)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_ct_opts opts = {.netns_id = -2};
	struct nf_conn___init *new = bpf_skb_ct_alloc(skb, &tuple, sizeof(tuple.ipv4), &opts, size);
	struct nf_conn *ct;

	if (new) {
		ct = bpf_ct_insert_entry(new);
		if (ct)
			bpf_ct_release(ct);
	}
	return -opts.error;
}

SEC("tc") int whole(struct __sk_buff *skb)
{
	return error_of(skb, sizeof(struct bpf_ct_opts));
}

SEC("tc") int only_netns_id(struct __sk_buff *skb)
{
	return error_of(skb, 4);
}

char LICENSE[] SEC("license") = "GPL";
