/* A program, and one that replaces a function of it. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__attribute__((noinline)) int verdict(struct xdp_md *xdp) { return xdp->ingress_ifindex ? XDP_PASS : XDP_DROP; }

SEC("xdp") int base(struct xdp_md *xdp) { return verdict(xdp); }

SEC("freplace/verdict") int ext(struct xdp_md *xdp) { return XDP_ABORTED; }

char LICENSE[] SEC("license") = "GPL";
