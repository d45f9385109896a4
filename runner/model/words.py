# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What everything else is spelled with: safe strings, one enumeration for each set of words, and error numbers."""

from __future__ import annotations

import errno
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# What may become part of a command line, a path or a cell id. vng joins most of its values into a shell line unquoted.
SafeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+~:-]{0,127}$")]
# <word>:<what that source understands>: debian:trixie-backports/6.18 is the newest 6.18.y of that suite. For people and
# for the source's own parser: never a part of a command line or of a file's name.
SourceText = Annotated[str, StringConstraints(pattern=r"^[a-z]+:[A-Za-z0-9/<>][A-Za-z0-9._/+~<>=,:@?&%*$-]{0,511}$")]
CellId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,127}$")]


class Plain(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class ProgType(StrEnum):
    """The program types, by the words that people use for them: the kernel's own but for `tc`.

    `ext` is missing: such a program may call what the program may call that it extends.
    """

    TC = "tc"  # BPF_PROG_TYPE_SCHED_CLS
    XDP = "xdp"  # BPF_PROG_TYPE_XDP
    # the census asks about the others when it is told to
    SOCKET_FILTER = "socket_filter"
    KPROBE = "kprobe"
    SCHED_ACT = "sched_act"
    TRACEPOINT = "tracepoint"
    PERF_EVENT = "perf_event"
    CGROUP_SKB = "cgroup_skb"
    CGROUP_SOCK = "cgroup_sock"
    LWT_IN = "lwt_in"
    LWT_OUT = "lwt_out"
    LWT_XMIT = "lwt_xmit"
    SOCK_OPS = "sock_ops"
    SK_SKB = "sk_skb"
    CGROUP_DEVICE = "cgroup_device"
    SK_MSG = "sk_msg"
    RAW_TRACEPOINT = "raw_tracepoint"
    CGROUP_SOCK_ADDR = "cgroup_sock_addr"
    LWT_SEG6LOCAL = "lwt_seg6local"
    LIRC_MODE2 = "lirc_mode2"
    SK_REUSEPORT = "sk_reuseport"
    FLOW_DISSECTOR = "flow_dissector"
    CGROUP_SYSCTL = "cgroup_sysctl"
    RAW_TRACEPOINT_WRITABLE = "raw_tracepoint_writable"
    CGROUP_SOCKOPT = "cgroup_sockopt"
    TRACING = "tracing"
    STRUCT_OPS = "struct_ops"
    LSM = "lsm"
    SK_LOOKUP = "sk_lookup"
    SYSCALL = "syscall"
    NETFILTER = "netfilter"


NETWORK_TYPES = (ProgType.TC, ProgType.XDP)  # those that the claims are about


NO_ANSWER = "no answer"  # in every set of words


class Outcome(StrEnum):
    """How a cell ended. Only `RAN` holds answers; none of the others says anything about a kfunc."""

    RAN = "ran"
    BOOT_FAILED = "boot failed"
    LOST = "lost"
    INFRA_FAILED = "infrastructure failed"
    SKIPPED = "skipped"


ANSWERS = frozenset({Outcome.RAN, Outcome.BOOT_FAILED})  # these say something about a kernel


class Verdict(StrEnum):
    """An observation held against an expectation."""

    HOLDS = "holds"
    BROKEN = "broken"
    NOT_APPLICABLE = "not applicable"
    NO_ANSWER = "no answer"


class Level(StrEnum):
    """How far programs of a type were seen to get with a kfunc, the least first. Only what was seen counts."""

    NONE = "none"  # not in BTF, or nothing is known
    IN_BTF = "in BTF"
    MAY_BE_CALLED = "may be called"
    LOADS = "loads"  # with real arguments
    RUNS = "runs"
    EFFECT = "effect seen"  # what a claim marked `usable` says was observed


class State(StrEnum):
    """Of a (kfunc, program type) in a cell."""

    ABSENT = "absent"
    NOT_ALLOWED = "not allowed"
    REGISTERED = "registered"
    USABLE = "usable"
    NO_ANSWER = "no answer"


Seconds = Annotated[float, Field(gt=0, le=86400)]


# --- error numbers ----------------------------------------------------------------------------------------------------
# include/uapi/asm-generic/errno.h, and the kernel's own that no libc has. They are the same on x86_64, arm64, riscv64
# and s390x; ppc64le differs in EDEADLOCK only. The agent has its own copy.

ENOTSUPP = 524  # "this JIT cannot"
ERRNO = {name: number for number, name in errno.errorcode.items()}
ERRNO |= {"EOPNOTSUPP": errno.EOPNOTSUPP, "EDEADLK": errno.EDEADLK, "ENOTSUPP": ENOTSUPP}  # Python: ENOTSUP, EDEADLOCK
_NAMES = {number: name for name, number in ERRNO.items()}


def errno_name(number: int) -> str:
    """`EINVAL` for 22; the number itself when it has no name."""
    return _NAMES.get(number, str(number))


def errno_words(number: int | None, success: str) -> str:
    """What a system call answered: `success` for 0, "-22 (-EINVAL)", or that it was never made."""
    if number is None:
        return "never got that far"
    return success if number == 0 else f"-{number} (-{errno_name(number)})"
