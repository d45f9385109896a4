/* Programs that the verifier counts differently: straight, with functions of their own, with loops and with maps. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, int); __type(value, long); __uint(max_entries, 64); } counts SEC(".maps");

SEC("tc") int straight(struct __sk_buff *skb) { return skb->len > 64 ? TC_ACT_OK : TC_ACT_SHOT; }

static __attribute__((noinline)) long deep(long seed)
{
	volatile char kept[128] = {};

	kept[seed & 127] = seed;
	return kept[(seed + 1) & 127];
}

__attribute__((noinline)) int checked_apart(int seed)
{
	volatile char kept[64] = {};

	kept[seed & 63] = seed;
	return kept[(seed + 1) & 63];
}

SEC("xdp") int functions(struct xdp_md *xdp)
{
	volatile long kept[4] = {};

	kept[0] = deep(xdp->rx_queue_index);
	return kept[0] + checked_apart(xdp->ingress_ifindex) > 5 ? XDP_PASS : XDP_DROP;
}

SEC("tc") int branches(struct __sk_buff *skb)
{
	long sum = 0;

	for (int i = 0; i < 200; i++)
		if (bpf_get_prandom_u32() > i)
			sum += i;
	return sum & 1;
}

static long add(__u32 index, long *sum)
{
	*sum += index;
	return 0;
}

SEC("tc") int callbacks(struct __sk_buff *skb)
{
	long sum = 0;

	bpf_loop(skb->len, add, &sum, 0);
	return sum & 1;
}

SEC("socket") int maps(struct __sk_buff *skb)
{
	int key = skb->protocol;
	long *value = bpf_map_lookup_elem(&counts, &key), one = 1;

	if (value)
		__sync_fetch_and_add(value, 1);
	else
		bpf_map_update_elem(&counts, &key, &one, BPF_ANY);
	return 0;
}

SEC("tracepoint/sched/sched_switch") int traced(void *context) { return bpf_get_current_pid_tgid() >> 32 == 1; }

SEC("fentry/bpf_fentry_test1") int attached(void *context)
{
	bpf_get_prandom_u32();
	return 0;
}

SEC("xdp") int refused(struct xdp_md *xdp) { return *(char *)(long)xdp->data; }

char LICENSE[] SEC("license") = "GPL";
