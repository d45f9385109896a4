/* Two programs, each of which loads alone; one prog array does not take both. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc") int of_tc(struct __sk_buff *skb) { return 0; }
SEC("xdp") int of_xdp(struct xdp_md *xdp) { return XDP_PASS; }

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int(void *));
} calls SEC(".maps") = { .values = { [0] = (void *)&of_tc, [1] = (void *)&of_xdp } };

char LICENSE[] SEC("license") = "GPL";
