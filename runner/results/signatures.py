"""What kernels' BTF says about a kfunc: its prototype, its flags, and the structures that it shares with programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from runner.model import Build, StructLayout
from runner.results.series import Known


@dataclass(frozen=True, slots=True)
class Signature:
    """Consecutive kernels of one architecture that say the same. An empty `prototype` was not recorded."""

    prototype: str
    flags: tuple[str, ...]
    layouts: tuple[StructLayout, ...]
    owner: str  # vmlinux or a module
    arch: str
    builds: tuple[Build, ...]


def signatures(known: Iterable[Known], kfunc: str) -> tuple[Signature, ...]:
    """`known` by architecture and version. Kernels whose BTF does not have the kfunc are left out."""
    said = []
    for it in known:
        # it is a property of the kernel: what one program type's answer lacks, another's may have
        states = [state for row, state in it.states.items() if row.kfunc == kfunc and state.object]
        if states:
            best = max(states, key=lambda state: (bool(state.prototype), len(state.flags), len(state.layouts)))
            said.append(((it.build.arch, best.prototype, best.flags, best.layouts, best.object), it.build))
    return tuple(
        Signature(prototype, flags, layouts, owner, arch, tuple(build for _, build in group))
        for (arch, prototype, flags, layouts, owner), group in groupby(said, key=lambda it: it[0])
    )
