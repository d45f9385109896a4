/* A program that stable releases began to load: 6.1.190 refuses it, 6.1.191 does not. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

struct bpf_ct_opts {
	int netns_id, error;
	unsigned char l4proto, dir, reserved[2];
};
struct nf_conn { unsigned long status; };

extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 tuple_size,
					 struct bpf_ct_opts *opts, __u32 opts_size) __ksym;
extern void bpf_ct_release(struct nf_conn *found) __ksym;

SEC("tc") int unwritten(struct __sk_buff *skb)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_ct_opts opts; /* on the stack, where nothing was written before */
	struct nf_conn *found = bpf_skb_ct_lookup(skb, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));

	if (found)
		bpf_ct_release(found);
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
