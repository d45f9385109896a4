/* An object that stable releases ceased to load: both programs are of one type, but for different places to attach to,
 * and 6.12.53 no longer takes both into one prog array.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc") int ingress(struct __sk_buff *skb) { return 0; }
SEC("tcx/ingress") int tail(struct __sk_buff *skb) { return 0; }

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int(void *));
} calls SEC(".maps") = { .values = { [0] = (void *)&ingress, [1] = (void *)&tail } };

char LICENSE[] SEC("license") = "GPL";
