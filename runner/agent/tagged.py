"""Maps that hold one tagged pointer to a kernel structure: `kptr` and its like.

clang writes BTF type tags from version 15 on only, so that an object of an older one could not ask for such a map.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from .btf import INT, PTR, STRUCT, TYPE_TAG
from .libbpf import Libbpf

PREFIX = "tagged_"  # the map tagged_TAG of an object
_TARGET = b"nf_conn"
_MAGIC, _ARRAY = 0xEB9F, 2  # BPF_MAP_TYPE_ARRAY


class MapOpts(ctypes.Structure):
    """struct bpf_map_create_opts, its beginning."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("btf_fd", ctypes.c_uint32),
        ("btf_key_type_id", ctypes.c_uint32),
        ("btf_value_type_id", ctypes.c_uint32),
    )


def btf(tag: str) -> bytes:
    """A key (type 1), and a structure (type 5) with a tagged pointer to a struct nf_conn."""
    strings, at = b"\0", {}
    for name in (b"u32", _TARGET, tag.encode(), b"kept", b"entry"):
        at[name] = len(strings)
        strings += name + b"\0"

    def head(name: bytes, kind: int, size_or_type: int, members: int = 0) -> bytes:
        return struct.pack("=III", at.get(name, 0), kind << 24 | members, size_or_type)

    types = head(b"u32", INT, 4) + struct.pack("=I", 32)
    types += head(_TARGET, STRUCT, 8)
    types += head(tag.encode(), TYPE_TAG, 2)
    types += head(b"", PTR, 3)
    types += head(b"kept", STRUCT, 8, 1) + struct.pack("=III", at[b"entry"], 4, 0)
    header = struct.pack("=HBBIIIII", _MAGIC, 1, 0, 24, 0, len(types), len(types), len(strings))
    return header + types + strings


def make(libbpf: Libbpf, tag: str) -> tuple[int, str]:
    """A map of one such pointer: its file descriptor, and what the kernel did not take. Raises LibbpfError.

    A kernel may refuse the whole BTF for a pointer that no map may hold; then, as libbpf does, the map is made without.
    """
    raw, words = btf(tag), ""
    opts = MapOpts(sz=ctypes.sizeof(MapOpts), btf_key_type_id=1, btf_value_type_id=5)
    btf_fd = int(libbpf.c.bpf_btf_load(raw, ctypes.c_size_t(len(raw)), None))
    if btf_fd == -errno.ENOENT:
        words = f"no BTF with the type tag {tag}: ENOENT\n"
        opts = MapOpts(sz=ctypes.sizeof(MapOpts))
    elif btf_fd < 0:
        raise libbpf.error(f"BTF with the type tag {tag}")
    else:
        opts.btf_fd = btf_fd
    fd = int(libbpf.c.bpf_map_create(_ARRAY, (PREFIX + tag)[:15].encode(), 4, 8, 1, ctypes.byref(opts)))
    if fd < 0:
        raise libbpf.error(f"a map with the type tag {tag}")
    return fd, words
