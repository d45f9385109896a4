# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a prototype in BTF says of each parameter: by its type, and by its name (Documentation/bpf/kfuncs.rst)."""

from __future__ import annotations

from .btf import ENUM, ENUM64, FWD, INT, PTR, STRUCT, UNION, Btf

CONTEXTS = ("__sk_buff", "xdp_md", "sk_buff", "xdp_buff")
_OWN = (
    "list_head", "list_node", "rb_root", "rb_node", "spin_lock", "res_spin_lock", "wq", "timer", "task_work",
    "arena",
)  # fmt: skip
_SHAPES = (
    ("string", ("__str", "__const_str"), ()),
    ("map", ("__map",), ("bpf_map",)),
    ("context", (), CONTEXTS),
    ("dynptr", (), ("bpf_dynptr", "bpf_dynptr_kern")),
)
_ENDS = ("__ign", "__prog", "__aux")  # not looked at, or passed by the verifier itself
_LARGE = 256  # bytes of a structure that is not looked into


class Parameter:
    """`shape` is one of scalar, buffer, size, context, object, dynptr, iterator, string, map, none, own."""

    __slots__ = ("fields", "name", "shape", "size", "struct")

    def __init__(self, name: str, shape: str, struct: str = "", size: int = 0) -> None:
        self.name, self.shape, self.struct, self.size = name, shape, struct, size
        self.fields: list[tuple[int, int]] = []  # offset and size in bytes, of a structure's numbers


def parameters(btf: Btf, proto: int) -> list[Parameter]:
    """Of a FUNC_PROTO. Raises BtfError."""
    return [_parameter(btf, name, type_id) for name, type_id in btf.named_parameters(proto)]


def returned(btf: Btf, proto: int) -> Parameter:
    """Its `shape` is `nothing` where it returns nothing, else that of a parameter."""
    target = btf.target(proto)
    return _parameter(btf, "", target) if target else Parameter("", "nothing")


def _parameter(btf: Btf, name: str, type_id: int) -> Parameter:
    type_id = btf.plain(type_id)
    if name.endswith(_ENDS):
        return Parameter(name, "none")
    kind = btf.kind(type_id)
    if kind in (INT, ENUM, ENUM64):
        return Parameter(name, "size" if name.endswith(("__sz", "__szk")) else "scalar")
    return _pointer(btf, name, btf.plain(btf.target(type_id))) if kind == PTR else Parameter(name, "own")


def _pointer(btf: Btf, name: str, target: int) -> Parameter:
    """`target`: the type that it points to, 0 for void."""
    kind = btf.kind(target)
    struct = btf.name(target) if kind in (STRUCT, UNION, FWD) else ""
    for shape, ends, structs in _SHAPES:
        if (ends and name.endswith(ends)) or struct in structs:
            return Parameter(name, shape, struct)
    if struct.startswith("bpf_iter_"):
        return Parameter(name, "iterator", struct, btf.target(target))
    if struct.removeprefix("bpf_").startswith(_OWN) or kind not in (0, INT, STRUCT, UNION, FWD):
        return Parameter(name, "own", struct)
    found = Parameter(name, "object" if struct else "buffer", struct, btf.target(target) if kind != FWD and kind else 0)
    if kind in (STRUCT, UNION) and found.size <= _LARGE:
        found.fields = [(bits // 8, btf.size(at)) for _, at, bits, width in btf.members(target) if not width]
    return found
