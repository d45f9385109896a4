/* A program that loads, and one that libbpf does not load by itself: no kernel takes it. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp") int plain(struct xdp_md *xdp) { return XDP_PASS; }
SEC("?xdp") int optional(struct xdp_md *xdp) { return *(char *)(long)xdp->data; }

char LICENSE[] SEC("license") = "GPL";
