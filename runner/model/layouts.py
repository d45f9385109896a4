"""How a kernel lays out a structure that programs share with it, from its BTF."""

from __future__ import annotations

from collections.abc import Iterator

from runner.model.words import Plain


class StructMember(Plain):
    """`offset` and `size` in bytes; `bits` is the width of a bit field, 0 of anything else."""

    name: str  # empty: a structure or union without a name, whose members count as ours
    type: str  # near to C: `u8`, `struct bpf_map *`, `u8[3]`, `union {...}`
    offset: int
    size: int
    bits: int = 0


class StructConstant(Plain):
    """An enumerator, such as NF_BPF_CT_OPTS_SZ."""

    name: str
    value: int


class StructLayout(Plain):
    """`constants` are those that are named for its size: NF_BPF_CT_OPTS_SZ for bpf_ct_opts."""

    name: str
    size: int  # bytes
    members: tuple[StructMember, ...]
    constants: tuple[StructConstant, ...] = ()


def layout_lines(layout: StructLayout) -> Iterator[str]:
    """`struct bpf_ct_opts: 12 bytes`, then a line for each member: where, how many bytes, what. Names are a guest's."""
    constants = "".join(f"; {it.name} = {it.value}" for it in layout.constants)
    yield f"struct {layout.name}: {layout.size} bytes{constants}"
    for it in layout.members:
        width = f": {it.bits}" if it.bits else ""
        yield f"  {it.offset:>4} {it.size:>4}  {it.type} {it.name}{width}".rstrip()
