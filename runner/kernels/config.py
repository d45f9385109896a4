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


# Where a kernel's own .config says what it was built for: the options that are set, and the architecture that means.
_ARCHITECTURES = {
    "X86_64": "x86_64",
    "ARM64": "arm64",
    "S390": "s390x",
    "PPC64": "ppc64le",
    "RISCV": "riscv64",
}
_HEADER = re.compile(r"^# Linux/\S+ (\S+) Kernel Configuration$", re.MULTILINE)


def built_for(path: Path) -> str:
    """The architecture that the kernel of this .config runs on; empty when it is none of ours, or cannot be read."""
    found = read_config(path, _ARCHITECTURES)
    return next((arch for option, arch in _ARCHITECTURES.items() if found.get(option) == "y"), "")


def upstream_version(path: Path, release: str) -> str:
    """The version in the .config's own title, else what the release begins with; empty when neither tells.

    Debian's release 6.1.0-56 is upstream's 6.1.192: only the title says so.
    """
    try:
        title = _HEADER.search(path.read_text(errors="replace")[:4096])
    except OSError:
        title = None
    for text in (title[1] if title else "", release):
        if found := re.match(r"\d+\.\d+(?:\.\d+)?(?:-rc\d+)?", text):
            return found[0]
    return ""
