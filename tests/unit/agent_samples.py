# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Real answers of real kernels, and the real claims, for tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from runner.engine.transcript import Transcript
from runner.model import Cell, CellResult, Facts, Outcome, Row
from runner.model.version import KernelVersion
from runner.probes import KINDS, Expectations, ProbeFile
from runner.probes.census.judge import CensusNames
from runner.probes.claims import ClaimFile
from runner.probes.files import NO_KFUNCS, KfuncList
from tests import samples
from tests.samples import DATA, ROOT


def load_claims(root: Path, *names: str) -> tuple[ClaimFile, ...]:
    found: tuple[ClaimFile, ...] = Expectations.load(root, names).known["claims"]
    return found


def expecting(files: tuple[ClaimFile, ...], known: KfuncList = NO_KFUNCS) -> Expectations:
    """What these files say, with these kfuncs instead of the project's list."""
    probes = tuple(ProbeFile(file.name, file) for file in files)
    return Expectations(
        ROOT, probes, {"claims": files, "census": CensusNames(known, {file.name: file for file in files})}
    )


@cache
def claims() -> tuple[ClaimFile, ...]:
    return load_claims(ROOT, "conntrack", "traffic")


def expectations(known: KfuncList = NO_KFUNCS) -> Expectations:
    return expecting(claims(), known)


def verdicts(seen: CellResult) -> dict[str, Row]:
    """What the real claims say of it, by probe."""
    return {row.probe: row for row in KINDS["claims"].judge(seen, claims(), ())}


def states(seen: CellResult) -> tuple[Row, ...]:
    """The states of the kfuncs that the real claims are about."""
    return tuple(row for row in expectations().rows(seen) if row.state)


def cell(version: str, arch: str = "x86_64", release: str = "") -> Cell:
    return samples.cell(samples.pin(version, arch, release=release), probes=("conntrack", "traffic"))


@cache
def transcript(version: str, variant: str = "x86_64") -> Transcript:
    """What the agent said in a guest with this kernel; `variant` is the architecture and what was done to the guest."""
    said = Transcript(expectations().asks(KernelVersion.parse(version)))
    for line in (DATA / f"agent-{version}-{variant}.jsonl").read_text().splitlines():
        said.feed(line)
    return said


def result(version: str, variant: str = "x86_64") -> CellResult:
    said = transcript(version, variant)
    return CellResult(
        cell=cell(version, variant.partition("-")[0]),
        outcome=Outcome.RAN,
        facts=said.facts,
        answers=tuple(said.answers.values()),
        unasked=tuple(ask.probe for ask in said.unanswered(said.asks)),
    )


GOOD_FACTS = Facts(
    btf=("nf_conntrack", "nf_nat", "vmlinux"), modules={"nf_conntrack": "", "nf_nat": ""}, jit="1", release="r"
)
