"""How a structure is laid out, in lines, and where two kernels differ."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import ndiff

from runner.model import StructLayout
from runner.results.bisections import LayoutDifference
from runner.text import plain


def layout_lines(layout: StructLayout) -> Iterator[str]:
    """`struct bpf_ct_opts: 12 bytes`, then a line for each member: where, how many bytes, what."""
    constants = "".join(f"; {plain(it.name)} = {it.value}" for it in layout.constants)
    yield f"struct {plain(layout.name)}: {layout.size} bytes{constants}"
    for it in layout.members:
        width = f": {it.bits}" if it.bits else ""
        yield f"  {it.offset:>4} {it.size:>4}  {plain(it.type)} {plain(it.name)}{width}".rstrip()


def layout_difference(it: LayoutDifference) -> list[str]:
    """Every line, with `- ` before what only the first kernel has, and `+ ` before what only the second one has."""
    old, new = (list(layout_lines(side)) if side else [] for side in (it.before, it.after))
    return [line for line in ndiff(old, new) if not line.startswith("?")]
