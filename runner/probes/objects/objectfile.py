# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A user's object file, as it was read. `elf.py` reads one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

COMPILE = "build it with clang -target bpf -g -O2 -c"


@dataclass(frozen=True)
class ObjectFile:
    """An object that libbpf can open. `externs` are what it needs from the kernel, by name."""

    path: str
    content: bytes
    byte_order: str  # little, big
    programs: tuple[str, ...]
    maps: tuple[str, ...]  # that it declares
    externs: tuple[str, ...]
    license: str

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def name(self) -> str:
        """The file's, without its ending."""
        return name_of(Path(self.path))

    def with_constants(self, values: Mapping[str, int]) -> ObjectFile:
        """A copy in which variables have these values. Raises UserError when one cannot be set."""
        if not values:
            return self
        from runner.probes.objects.variables import with_values  # noqa: PLC0415  late: it brings elftools

        return replace(self, content=with_values(self.path, self.content, values))

    def weak(self) -> bytes:
        """A copy in which every undefined symbol is weak: what the kernel lacks then fails the programs that reach it.

        libbpf takes an extern for weak by its symbol's binding alone (libbpf.c, bpf_object__collect_externs).
        """
        from runner.probes.objects.elf import weakened  # noqa: PLC0415  late: it brings elftools

        return weakened(self.content)


def name_of(path: Path) -> str:
    """`lb` of build/lb.bpf.o, and of the lb.bpf.c that it is compiled from."""
    return path.name.removesuffix(".o").removesuffix(".c").removesuffix(".bpf")
