# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Every kfunc that a TC or XDP program may call has a claim that calls it, on every kernel whose census is stored.

tests/data/census is what kernels answered: `python -m tests.record` writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from runner.matrix import load_matrix
from runner.model import ProgType
from runner.model.version import KernelVersion
from runner.probes.claims import ClaimFile
from tests.samples import DATA, ROOT
from tests.unit.agent_samples import load_claims

CENSUS = sorted((DATA / "census").iterdir())


def known() -> tuple[ClaimFile, ...]:
    probes = load_matrix(ROOT / "matrix.yaml").file.probes
    return load_claims(ROOT, *(probe for probe in probes if isinstance(probe, str)))


def called(files: Iterable[ClaimFile], version: KernelVersion) -> set[tuple[str, str]]:
    """By a claim about that kernel that shows it at work, or why it cannot be."""
    return {
        (name, prog_type)
        for file in files
        for claim in file.claims
        if (claim.usable or claim.unusable) and version in claim.interval
        for prog_type in claim.types
        for name in file.kfuncs[claim.kfunc][prog_type]
    }


def uncalled(path: Path, files: Iterable[ClaimFile]) -> dict[str, list[ProgType]]:
    """The kfuncs of a stored census, with the types of which no claim calls them."""
    there = called(files, KernelVersion.parse(path.name.partition("-")[0]))
    lines = [line.split() for line in path.read_text().splitlines()]
    left = {kfunc: [ProgType(it) for it in types if (kfunc, it) not in there] for kfunc, *types in lines}
    return {kfunc: types for kfunc, types in left.items() if types}


@pytest.mark.parametrize("path", CENSUS, ids=lambda path: path.name)
def test_every_kfunc_is_called(path: Path) -> None:
    left = uncalled(path, known())
    lines = [
        f"{kfunc.removeprefix('bpf_')}: {{{', '.join(f'{it}: {kfunc}' for it in types)}}}"
        for kfunc, types in left.items()
    ]
    assert not lines, "no claim calls these; add each to `kfuncs` of a bpf/NAME.yaml, and a claim that is usable:\n" + (
        "\n".join(lines)
    )
