"""Function prototypes as C has them, written by libbpf.

libbpf hands what it writes to a function of the signature of vfprintf. That is what it gets: the C library's own, so
that no text comes by way of Python until all of it is there.
"""

from __future__ import annotations

import ctypes

from .libbpf import DeclOpts, Libbpf

_END = 1  # behind each prototype; never in one


def prototypes(libbpf: Libbpf, btf: ctypes.c_void_p, functions: dict[str, int]) -> dict[str, str]:
    """`functions`: names and the ids of their FUNC_PROTO types. Without those that libbpf cannot write."""
    if not functions:
        return {}
    c, libc = libbpf.c, libbpf.libc
    buffer, size = ctypes.c_void_p(), ctypes.c_size_t()
    stream = ctypes.c_void_p(libc.open_memstream(ctypes.byref(buffer), ctypes.byref(size)))
    if not stream:
        return {}
    writer = ctypes.c_void_p(c.btf_dump__new(btf, ctypes.cast(libc.vfprintf, ctypes.c_void_p), stream, None))
    written = []
    for name, proto_id in functions.items() if writer else ():
        opts = DeclOpts(sz=ctypes.sizeof(DeclOpts), field_name=name.encode())
        if c.btf_dump__emit_type_decl(writer, ctypes.c_uint32(proto_id), ctypes.byref(opts)) == 0:
            written.append(name)
        libc.fputc(_END, stream)
    c.btf_dump__free(writer)
    libc.fclose(stream)
    texts = ctypes.string_at(buffer, size.value).decode("utf-8", "replace").split(chr(_END))
    libc.free(buffer)
    return {name: text for name, text in zip(functions, texts, strict=False) if name in set(written)}
