"""Function prototypes as C has them, written by libbpf.

libbpf hands what it writes to a function of the signature of vfprintf. That is what it gets: the C library's own, so
that no text comes by way of Python until all of it is there. All of it happens in a child: libbpf trusts BTF to be
sound, and what a broken one does to it must not end the agent.
"""

from __future__ import annotations

import ctypes
import os

from .libbpf import DeclOpts, Libbpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Functions = dict[str, int]  # names, and the ids of their FUNC_PROTO types

_LIMIT_S = 10
_END = 1  # behind each prototype; never in one


def prototypes(libbpf: Libbpf, jobs: Iterable[tuple[ctypes.c_void_p, Functions]]) -> dict[str, str]:
    """`jobs`: BTF, and what to write of it. Without what libbpf cannot write."""
    jobs = list(jobs)
    output, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        libbpf.libc.alarm(_LIMIT_S)  # a type that contains itself has no end
        try:
            for btf, functions in jobs:
                _write(libbpf, btf, functions, write_end)
        finally:
            os._exit(0)
    os.close(write_end)
    with open(output, encoding="utf-8", errors="replace") as file:
        texts = file.read().split(chr(_END))
    os.waitpid(child, 0)
    names = [name for _, functions in jobs for name in functions]
    return {name: text for name, text in zip(names, texts[:-1], strict=False) if text}


def _write(libbpf: Libbpf, btf: ctypes.c_void_p, functions: Functions, output: int) -> None:
    """One text for each function, empty where there is none."""
    c, libc = libbpf.c, libbpf.libc
    stream = ctypes.c_void_p(libc.fdopen(output, b"w"))
    writer = ctypes.c_void_p(c.btf_dump__new(btf, ctypes.cast(libc.vfprintf, ctypes.c_void_p), stream, None))
    for name, proto_id in functions.items() if writer else ():
        opts = DeclOpts(sz=ctypes.sizeof(DeclOpts), field_name=name.encode())
        c.btf_dump__emit_type_decl(writer, ctypes.c_uint32(proto_id), ctypes.byref(opts))
        libc.fputc(_END, stream)
    libc.fflush(stream)
