"""May programs of a type call a kfunc? Loads the smallest program that calls it, and keeps the verifier's words."""

from __future__ import annotations

import ctypes

from .kernelbtf import Kfunc
from .libbpf import TYPES, Libbpf, LoadOpts, instruction

_MOV_IMM, _CALL, _EXIT = 0xB7, 0x85, 0x95
_PSEUDO_KFUNC_CALL = 2


def program(kfunc: Kfunc) -> bytes:
    """r1 is the context; r2 to r5 are 0; call; return 0.

    Whether the program type may call it is checked before the arguments are.
    """
    zeros = b"".join(instruction(_MOV_IMM, register, 0, 0, 0) for register in range(2, 6))
    # 0 is vmlinux; anything else is an index into fd_array
    call = instruction(_CALL, 0, _PSEUDO_KFUNC_CALL, 1 if kfunc.fd else 0, kfunc.btf_id)
    return zeros + call + instruction(_MOV_IMM, 0, 0, 0, 0) + instruction(_EXIT, 0, 0, 0, 0)


def may_call(libbpf: Libbpf, kfunc: Kfunc, prog_type: str) -> tuple[int, int, str]:
    """File descriptor of the loaded program or -1, errno, log."""
    opts = LoadOpts()
    fds = (ctypes.c_int * 2)(0, kfunc.fd)
    if kfunc.fd:
        opts.fd_array = fds
    return libbpf.prog_load(TYPES[prog_type], program(kfunc), opts)
