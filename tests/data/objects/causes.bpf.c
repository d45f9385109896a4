/* One program, or map, for each reason why a kernel does not load one. Its name says which. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

extern int bpf_no_such_kfunc(void *context) __ksym;
extern int bpf_key_put(void) __ksym; /* since 6.1, with a parameter */
extern int CONFIG_HZ __kconfig;

/* since 6.11, in the module nf_flow_table, which no kernel loads by itself */
struct bpf_flowtable_opts___mine { int error; };
struct flow_offload_tuple_rhash { struct { void *next; } node; };
extern struct flow_offload_tuple_rhash *bpf_xdp_flow_lookup(struct xdp_md *xdp, struct bpf_fib_lookup *tuple,
							    struct bpf_flowtable_opts___mine *opts, __u32 opts__sz) __ksym;

struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, int); __type(value, long); __uint(max_entries, 16); } fine SEC(".maps");
struct { __uint(type, 250); __type(key, int); __type(value, long); __uint(max_entries, 16); } map_of_no_type SEC(".maps");
/* 4 GiB: more than the guest has */
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, int); __type(value, char[4096]); __uint(max_entries, 1 << 20); } huge SEC(".maps");

struct task_struct { int no_such_field; } __attribute__((preserve_access_index));

SEC("tc") int loads(struct __sk_buff *skb)
{
	int key = 1;
	long *value = bpf_map_lookup_elem(&fine, &key);

	return value ? *value + CONFIG_HZ : TC_ACT_OK;
}

SEC("xdp") int extern_kfunc(struct xdp_md *xdp) { return bpf_no_such_kfunc(xdp); }

SEC("xdp") int extern_prototype(struct xdp_md *xdp) { return bpf_key_put(); }

SEC("xdp") int extern_of_module(struct xdp_md *xdp)
{
	struct bpf_flowtable_opts___mine opts = {};
	struct bpf_fib_lookup tuple = {.ifindex = xdp->ingress_ifindex};

	return bpf_xdp_flow_lookup(xdp, &tuple, &opts, sizeof(opts)) ? XDP_PASS : XDP_DROP;
}

SEC("xdp") int map_used(struct xdp_md *xdp)
{
	int key = 0;

	return bpf_map_lookup_elem(&map_of_no_type, &key) ? XDP_PASS : XDP_DROP;
}

SEC("xdp") int map_without_memory(struct xdp_md *xdp)
{
	int key = 0;

	return bpf_map_lookup_elem(&huge, &key) ? XDP_PASS : XDP_DROP;
}

SEC("tc") int refused_packet(struct __sk_buff *skb) { return *(char *)(long)skb->data; }

SEC("fentry/no_such_function") int target_function(void *context) { return 0; }

SEC("freplace/of_no_program") int target_ext(struct __sk_buff *skb) { return 0; }

SEC("kprobe/no_such_function") int attach_nowhere(void *context) { return 0; }

SEC("kprobe/do_unlinkat") int core_field(void *context)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, no_such_field);
}

SEC("xdp") int helper_of_tc(struct xdp_md *xdp)
{
	char byte = 0;

	return bpf_skb_store_bytes((void *)xdp, 0, &byte, 1, 0);
}

SEC("socket1") int untyped_section(struct __sk_buff *skb) { return 0; }

SEC("netfilter") int type_since_6_4(void *context) { return 1; }

SEC("tc") int too_large_loop(struct __sk_buff *skb)
{
	long sum = 0;

	for (int i = 0; i < 20000; i++) /* each turn leaves a branch behind that is to be looked at: 8192 may wait */
		if (bpf_get_prandom_u32() == i)
			sum += i;
	return sum & 1;
}

char LICENSE[] SEC("license") = "GPL";
