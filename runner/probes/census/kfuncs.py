"""bpf/kfuncs.yaml: the kfuncs that some kernel has or had, by the object that holds them.

Kernels whose BTF has no `bpf_kfunc` tags (before v6.10, or an older pahole) are asked by these names. And a name that
one kernel has is absent on another only if it is known. `runner kernels census --update-names` adds what it saw.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, StringConstraints

from runner import yamlfile
from runner.model import Plain, SafeName
from runner.probes.kind import FOLDER

NAME = "kfuncs.yaml"
VMLINUX = "vmlinux"

_Kfunc = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
_Option = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_]*$")]

_HEAD = """\
# The kfuncs that some kernel has or had, by what holds them: vmlinux, or a module, which is loaded before anything is
# asked. `config` is the option, without CONFIG_, that builds the module. Old kernels, whose BTF does not say what a
# kfunc is, are asked by these names. `runner kernels census --update-names` adds what newer kernels have.
"""


class Holder(Plain):
    """What holds kfuncs."""

    config: _Option = ""
    kfuncs: tuple[_Kfunc, ...]


class KfuncList(Plain):
    """The document."""

    objects: dict[SafeName, Holder] = Field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for holder in self.objects.values() for name in holder.kfuncs)

    @property
    def modules(self) -> tuple[str, ...]:
        return tuple(name for name in self.objects if name != VMLINUX)

    def homes(self) -> dict[str, tuple[str, ...]]:
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

    def text(self) -> str:
        """As the file has it. Equal lists are equal texts."""
        lines = [_HEAD + "objects:"]
        for name, holder in self.objects.items():
            lines.append(f"  {name}:")
            lines += [f"    config: {holder.config}"] if holder.config else []
            lines.append("    kfuncs:")
            lines += [f"      - {_scalar(kfunc)}" for kfunc in holder.kfuncs]
        return "\n".join(lines) + "\n"


@cache
def _scalar(name: str) -> str:
    """In quotes where YAML would read something else than text, such as `on`."""
    return name if yaml.safe_load(name) == name else f'"{name}"'


NO_KFUNCS = KfuncList()


def kfuncs_path(root: Path) -> Path:
    return root / FOLDER / NAME


def load_kfuncs(root: Path) -> KfuncList:
    """The list below `root`; an empty one when there is none. UserError, FILE:LINE, when it is wrong."""
    path = kfuncs_path(root)
    return yamlfile.validate(yamlfile.load(path), KfuncList) if path.exists() else KfuncList()
