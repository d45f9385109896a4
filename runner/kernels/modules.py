"""The modules that are taken from a kernel's packages, with their dependencies; what a kernel lacks is skipped."""

GUEST = (
    # what the guest itself stands on: its disk, its network, the host's folders, its console
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "virtio_net",
    "virtio_console",
    "virtio_rng",
    "virtiofs",
    "9p",
    "9pnet_virtio",
    "overlay",
    "ext4",
    # ext4 asks for them by the names of algorithms at run time, which no dependency shows
    "crc32c_generic",
    "crc32c_cryptoapi",
    "crc32c_intel",
    "libcrc32c",
)

PROBES = (
    # the modules whose kfuncs TC and XDP programs may call
    "nf_conntrack",
    "nf_nat",
    "nf_flow_table",
    "nf_flow_table_inet",
    "xfrm_interface",
    "fou",
    "fou6",
    # traffic, and a look at what it did
    "nf_conntrack_netlink",
    "nf_tables",
    "nft_ct",
    "nft_nat",
    "nft_chain_nat",
    "xfrm_user",
    "veth",
    "dummy",
    "ipip",
    "sit",
    "sch_ingress",
    "cls_bpf",
    "act_bpf",
)

WANTED = GUEST + PROBES
