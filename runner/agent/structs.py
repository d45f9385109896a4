# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What libbpf and the kernel take: instructions and structures as bytes, and the types of programs."""

from __future__ import annotations

import ctypes
import struct
import sys
from ctypes import c_bool, c_char_p, c_int, c_long, c_size_t, c_uint32, c_uint64, c_void_p

_INSN, _LITTLE = struct.Struct("=BBhi").pack, sys.byteorder == "little"


def instruction(code: int, dst: int, src: int, off: int, imm: int) -> bytes:
    """One struct bpf_insn. Its two register fields are bit fields: their order is the machine's."""
    return _INSN(code, src << 4 | dst if _LITTLE else dst << 4 | src, off, imm)


def wide(register: int, source: int, low: int, high: int = 0) -> bytes:
    """The two instructions that load 64 bits."""
    return instruction(LD_IMM64, register, source, 0, _signed(low)) + instruction(0, 0, 0, 0, _signed(high))


def _signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def register(insn: bytes | bytearray) -> int:
    """The one that an instruction writes to."""
    return insn[1] & 15 if _LITTLE else insn[1] >> 4


MOV_IMM, LD_IMM64, CALL, _EXIT = 0xB7, 0x18, 0x85, 0x95
MAP_FD, MAP_VALUE, KFUNC_CALL = 1, 2, 2  # BPF_PSEUDO_*
RETURN = instruction(MOV_IMM, 0, 0, 0, 0) + instruction(_EXIT, 0, 0, 0, 0)
_ZEROS = b"".join(instruction(MOV_IMM, number, 0, 0, 0) for number in range(2, 6))


def smallest(source: int, index: int, function: int) -> bytes:
    """The smallest program that calls a function: r1 is the context; r2 to r5 are 0; call; return 0.

    Whether the program type may call it is checked before the arguments are.
    """
    return _ZEROS + instruction(CALL, 0, source, index, function) + RETURN


DEV_BOUND_ONLY = 1 << 6  # BPF_F_XDP_DEV_BOUND_ONLY


# Each up to the last member that is used here: libbpf takes `sz` for the end of what its caller knows.


class LoadOpts(ctypes.Structure):
    """struct bpf_prog_load_opts"""

    _fields_ = (
        ("sz", c_size_t),
        ("attempts", c_int),
        ("expected_attach_type", c_int),
        ("prog_btf_fd", c_uint32),
        ("prog_flags", c_uint32),
        ("prog_ifindex", c_uint32),
        ("kern_version", c_uint32),
        ("attach_btf_id", c_uint32),
        ("attach_prog_fd", c_uint32),
        ("attach_btf_obj_fd", c_uint32),
        ("fd_array", ctypes.POINTER(c_int)),
        ("func_info", c_void_p),
        ("func_info_cnt", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("line_info", c_void_p),
        ("line_info_cnt", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("log_level", c_uint32),
        ("log_size", c_uint32),
        ("log_buf", c_void_p),
    )

    def bound(self, device: int) -> LoadOpts:
        """The same for a program that is bound to a device; 0: to none."""
        opts = LoadOpts.from_buffer_copy(self)
        if device:
            opts.prog_flags |= DEV_BOUND_ONLY
            opts.prog_ifindex = device
        return opts


class OpenOpts(ctypes.Structure):
    """struct bpf_object_open_opts"""

    _fields_ = (
        ("sz", c_size_t),
        ("object_name", c_char_p),
        ("relaxed_maps", c_bool),
        ("pin_root_path", c_char_p),
        ("unused", c_uint32),
        ("kconfig", c_char_p),
        ("btf_custom_path", c_char_p),
    )


class TestRunOpts(ctypes.Structure):
    """struct bpf_test_run_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
    )


class HandlerOpts(ctypes.Structure):
    """struct libbpf_prog_handler_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("cookie", c_long),
        ("prog_setup_fn", c_void_p),
        ("prog_prepare_load_fn", c_void_p),
    )


class DeclOpts(ctypes.Structure):
    """struct btf_dump_emit_type_decl_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("field_name", c_char_p),
    )


class MapOpts(ctypes.Structure):
    """struct bpf_map_create_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("inner_map_fd", c_uint32),
        ("map_flags", c_uint32),
        ("map_extra", c_uint64),
    )


class BtfInfo(ctypes.Structure):
    """struct bpf_btf_info."""

    _fields_ = (
        ("btf", ctypes.c_uint64),
        ("btf_size", c_uint32),
        ("id", c_uint32),
        ("name", ctypes.c_uint64),
        ("name_len", c_uint32),
        ("kernel_btf", c_uint32),
    )


class StreamRead(ctypes.Structure):
    """What union bpf_attr has for BPF_PROG_STREAM_READ_BY_FD."""

    _fields_ = (("buffer", c_uint64), ("size", c_uint32), ("stream", c_uint32), ("prog_fd", c_uint32))


# --- program types ----------------------------------------------------------------------------------------------------


class ProgTypeRow:
    """What a program of a type needs so that it loads at all.

    `constant` is the kernel's name without BPF_PROG_TYPE_; `function` or `struct` is what a program attaches to.

    `attach` is the expected_attach_type, for a struct_ops program the index of a member.
    """

    __slots__ = ("attach", "constant", "flags", "function", "number", "struct")

    def __init__(
        self, number: int, constant: str, attach: int = 0, flags: int = 0, *, function: str = "", struct: str = ""
    ) -> None:
        self.number, self.constant, self.attach, self.flags = number, constant, attach, flags
        self.function, self.struct = function, struct


# By the host's names for them. include/uapi/linux/bpf.h: enum bpf_prog_type, enum bpf_attach_type. `ext` is not here:
# such a program may call what the program may call that it extends.
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
    "syscall": ProgTypeRow(31, "SYSCALL", flags=1 << 4),  # BPF_F_SLEEPABLE
    "netfilter": ProgTypeRow(32, "NETFILTER", attach=45),  # BPF_NETFILTER
}
