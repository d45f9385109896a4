"""Where two kernels lay out a structure differently."""

from __future__ import annotations

from difflib import ndiff

from runner.model.layouts import layout_lines
from runner.results.bisections import LayoutDifference
from runner.text import printable


def layout_difference(it: LayoutDifference) -> list[str]:
    """Every line, with `- ` before what only the first kernel has, and `+ ` before what only the second one has."""
    old, new = (list(map(printable, layout_lines(side))) if side else [] for side in (it.before, it.after))
    return [line for line in ndiff(old, new) if not line.startswith("?")]
