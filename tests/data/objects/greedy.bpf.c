/* A map that takes all memory of a small guest: under vm.panic_on_oom=2 that is the end of its kernel. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct value { char bytes[16384]; };
struct { __uint(type, BPF_MAP_TYPE_PERCPU_HASH); __type(key, int); __type(value, struct value); __uint(max_entries, 400000); } all SEC(".maps");

SEC("xdp") int idle(struct xdp_md *xdp) { return XDP_PASS; }

char LICENSE[] SEC("license") = "GPL";
