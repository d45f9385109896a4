# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The program types, by the host's names for them, and what a program of each needs so that it loads at all."""

from __future__ import annotations

from .btf import FUNC, STRUCT, Btf
from .structs import LoadOpts

_SLEEPABLE = 1 << 4  # BPF_F_SLEEPABLE


class ProgTypeRow:
    """`constant` is the kernel's name without BPF_PROG_TYPE_; `function` or `struct` is what a program attaches to.

    `attach` is the expected_attach_type, for a struct_ops program the index of a member.
    """

    __slots__ = ("attach", "constant", "flags", "function", "number", "struct")

    def __init__(
        self, number: int, constant: str, attach: int = 0, flags: int = 0, *, function: str = "", struct: str = ""
    ) -> None:
        self.number, self.constant, self.attach, self.flags = number, constant, attach, flags
        self.function, self.struct = function, struct


def load_opts(prog_type: ProgTypeRow, vmlinux: Btf) -> LoadOpts:
    """What to load a program with. Raises LookupError when the kernel has no such type, or not what it attaches to."""
    if not vmlinux.has_string(f"BPF_PROG_TYPE_{prog_type.constant}"):
        raise LookupError("the kernel does not know this program type")
    opts = LoadOpts(expected_attach_type=prog_type.attach, prog_flags=prog_type.flags)
    if name := prog_type.function or prog_type.struct:
        target = vmlinux.find(name, FUNC if prog_type.function else STRUCT)
        if target is None:
            raise LookupError(f"the kernel has no {name} to attach to")
        opts.attach_btf_id = target
    return opts


# include/uapi/linux/bpf.h: enum bpf_prog_type, enum bpf_attach_type. `ext` is not here: such a program may call what
# the program may call that it extends.
PROG_TYPES = {
    "tc": ProgTypeRow(3, "SCHED_CLS"),
    "xdp": ProgTypeRow(6, "XDP"),
    "socket_filter": ProgTypeRow(1, "SOCKET_FILTER"),
    "kprobe": ProgTypeRow(2, "KPROBE"),
    "sched_act": ProgTypeRow(4, "SCHED_ACT"),
    "tracepoint": ProgTypeRow(5, "TRACEPOINT"),
    "perf_event": ProgTypeRow(7, "PERF_EVENT"),
    "cgroup_skb": ProgTypeRow(8, "CGROUP_SKB"),
    "cgroup_sock": ProgTypeRow(9, "CGROUP_SOCK", attach=2),  # BPF_CGROUP_INET_SOCK_CREATE
    "lwt_in": ProgTypeRow(10, "LWT_IN"),
    "lwt_out": ProgTypeRow(11, "LWT_OUT"),
    "lwt_xmit": ProgTypeRow(12, "LWT_XMIT"),
    "sock_ops": ProgTypeRow(13, "SOCK_OPS"),
    "sk_skb": ProgTypeRow(14, "SK_SKB"),
    "cgroup_device": ProgTypeRow(15, "CGROUP_DEVICE"),
    "sk_msg": ProgTypeRow(16, "SK_MSG"),
    "raw_tracepoint": ProgTypeRow(17, "RAW_TRACEPOINT"),
    "cgroup_sock_addr": ProgTypeRow(18, "CGROUP_SOCK_ADDR", attach=8),  # BPF_CGROUP_INET4_BIND
    "lwt_seg6local": ProgTypeRow(19, "LWT_SEG6LOCAL"),
    "lirc_mode2": ProgTypeRow(20, "LIRC_MODE2"),
    "sk_reuseport": ProgTypeRow(21, "SK_REUSEPORT"),
    "flow_dissector": ProgTypeRow(22, "FLOW_DISSECTOR"),
    "cgroup_sysctl": ProgTypeRow(23, "CGROUP_SYSCTL"),
    "raw_tracepoint_writable": ProgTypeRow(24, "RAW_TRACEPOINT_WRITABLE"),
    "cgroup_sockopt": ProgTypeRow(25, "CGROUP_SOCKOPT", attach=22),  # BPF_CGROUP_SETSOCKOPT
    "tracing": ProgTypeRow(26, "TRACING", attach=24, function="bpf_fentry_test1"),  # BPF_TRACE_FENTRY
    "struct_ops": ProgTypeRow(27, "STRUCT_OPS", struct="tcp_congestion_ops"),  # its first member is ssthresh()
    "lsm": ProgTypeRow(29, "LSM", attach=27, function="bpf_lsm_file_open"),  # BPF_LSM_MAC
    "sk_lookup": ProgTypeRow(30, "SK_LOOKUP", attach=36),  # BPF_SK_LOOKUP
    "syscall": ProgTypeRow(31, "SYSCALL", flags=_SLEEPABLE),
    "netfilter": ProgTypeRow(32, "NETFILTER", attach=45),  # BPF_NETFILTER
}
