"""Reads a kernel's own .config."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_LINE = re.compile(r"^(?:CONFIG_(\w+)=(.*)|# CONFIG_(\w+) is not set)$", re.MULTILINE)


def read_config(path: Path, names: Iterable[str]) -> dict[str, str]:
    """The values of options named without CONFIG_: `y`, `m`, or another value; `n` for what the file does not set.

    Empty when the file cannot be read: then nothing is known, which is not the same as `n`.
    """
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return {}
    found = {name: value for name, value, _ in _LINE.findall(text) if name}
    if not found:
        return {}
    return {name: found.get(name, "n") for name in names}
