# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""bpf/kfuncs.yaml: the kfuncs that some kernel has or had, by the object that holds them.

Kernels whose BTF has no `bpf_kfunc` tags (before v6.10, or an older pahole) are asked by these names. And a name that
one kernel has is absent on another only if it is known. Names that a run has seen are known to all its cells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from runner import yamlfile
from runner.model import Plain, SafeName
from runner.probes.files import KFUNCS, own_or_shipped
from runner.probes.kind import VMLINUX

_Kfunc = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
_Option = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_]*$")]


class Holder(Plain):
    """What holds kfuncs."""

    config: _Option = ""
    kfuncs: tuple[_Kfunc, ...]


class KfuncList(Plain):
    """The document."""

    objects: dict[SafeName, Holder] = Field(default_factory=dict)

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(name for holder in self.objects.values() for name in holder.kfuncs)

    @property
    def modules(self) -> tuple[str, ...]:
        return tuple(name for name in self.objects if name != VMLINUX)

    @cached_property
    def homes(self) -> Mapping[str, tuple[str, ...]]:
        """For each kfunc the objects that hold it on some kernel."""
        homes: dict[str, tuple[str, ...]] = defaultdict(tuple)
        for name, holder in self.objects.items():
            for kfunc in holder.kfuncs:
                homes[kfunc] += (name,)
        return dict(homes)

    def grown(self, seen: Iterable[tuple[str, str]]) -> KfuncList:
        """With these kfuncs, each with what holds it; nothing is taken away."""
        kfuncs = {name: set(holder.kfuncs) for name, holder in self.objects.items()}
        for kfunc, holder in seen:
            kfuncs.setdefault(holder, set()).add(kfunc)
        order = sorted(kfuncs, key=lambda name: (name != VMLINUX, name))
        configs = {name: holder.config for name, holder in self.objects.items()}
        holders = {name: Holder(config=configs.get(name, ""), kfuncs=tuple(sorted(kfuncs[name]))) for name in order}
        return KfuncList(objects=holders)


NO_KFUNCS = KfuncList()


def load_kfuncs(root: Path) -> KfuncList:
    """The list below `root`, else the shipped one. Raises UserError with FILE:LINE when it is wrong."""
    path = own_or_shipped(root, KFUNCS)
    return yamlfile.validate(yamlfile.load(path), KfuncList) if path.exists() else KfuncList()
