# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Generated runs that look like real ones: eight cells, eleven kfuncs, two program types, about a hundred claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Self, cast

from runner.model import (
    NETWORK_TYPES,
    Build,
    Cell,
    CellResult,
    Facts,
    ImagePin,
    JudgedSplat,
    KnownIssue,
    Outcome,
    Package,
    Pin,
    ProgType,
    Row,
    State,
    Timings,
    Verdict,
)
from runner.probes.census.answers import CensusObservation
from runner.probes.claims.answers import Observation
from runner.results.model import JudgedCell, JudgedRun, Run, judge_run
from tests.answers import answers_of, seen_of

KERNELS = {"6.1": "6.1.192", "6.12": "6.12.117", "6.18": "6.18.15", "7": "7.3.4"}
ARCHES = ("x86_64", "arm64")
KFUNCS = (
    "bpf_skb_ct_lookup",
    "bpf_xdp_ct_lookup",
    "bpf_ct_release",
    "bpf_skb_ct_alloc",
    "bpf_xdp_ct_alloc",
    "bpf_ct_insert_entry",
    "bpf_ct_set_timeout",
    "bpf_ct_change_timeout",
    "bpf_ct_set_status",
    "bpf_ct_change_status",
    "bpf_ct_set_nat_info",
)
OTHER = {ProgType.TC: "xdp", ProgType.XDP: "skb"}
STARTED = datetime(2026, 11, 3, 10, 15, 1, tzinfo=UTC)
FORBIDDEN = "calling kernel function bpf_dynptr_from_skb is not allowed"


def cell(name: str, arch: str) -> Cell:
    version = KERNELS[name]
    package = Package(
        name=f"linux-image-{version}-{arch.replace('_', '-')}",
        version=f"{version}-1",
        architecture="amd64" if arch == "x86_64" else arch,
        suite="trixie-backports",
        sha256="a" * 64,
        size_bytes=70_000_000,
    )
    return Cell(
        id=f"{version}-{arch}",
        name=name,
        kernel=Pin(
            source=f"debian:trixie-backports/{name}",
            arch=arch,
            version=version,
            release=f"{version}+deb13-{package.architecture}",
            packages=(package,),
        ),
        image=ImagePin(suite="trixie", arch=arch, packages=(package,)),
        probes=("conntrack",),
    )


CELLS = tuple(cell(name, arch) for name in KERNELS for arch in ARCHES)


def probes() -> Iterable[tuple[str, str, ProgType]]:
    """(claim, kfunc, program type): about a hundred."""
    for at in range(51):
        for prog_type in NETWORK_TYPES:
            kfunc = KFUNCS[at % len(KFUNCS)]
            yield f"{kfunc.removeprefix('bpf_').replace('_', '-')}-{at}", kfunc, prog_type


@cache  # frozen: tests may share them
def result(of: Cell, outcome: Outcome = Outcome.RAN, cause: str = "", seed: int = 0) -> CellResult:
    """A cell that ran holds an observation per probe, with a log of some 2 KiB, and a small census."""
    if outcome is not Outcome.RAN:
        return CellResult(cell=of, outcome=outcome, cause=cause, host="host-a", timings=Timings(total_s=20.0))
    return CellResult(
        cell=of,
        outcome=outcome,
        build=Build(sha256="b" * 64),
        image_sha256="c" * 64,
        host="host-a",
        accel="tcg",
        timings=Timings(prepare_s=0.2, boot_s=6.5, probe_s=5.25, total_s=12.25),
        facts=Facts(release=of.kernel.release, machine="x86_64", btf=("vmlinux", "nf_conntrack", "nf_nat")),
        answers=answers_of(
            claims=tuple(
                Observation(
                    probe=f"{claim}:{prog_type}",
                    load_errno=0,
                    log=f"func#0 @0\n{kfunc} {of.kernel.version}\n" + "0: R1=ctx() R10=fp0\n" * 100,
                    run_errno=0,
                    retval=0,
                    fields={"error": -22, "timeout": seed},
                )
                for claim, kfunc, prog_type in probes()
            ),
            census=tuple(
                CensusObservation(kfunc=kfunc, prog_type=prog_type, object="nf_conntrack", load_errno=22, log="R1 bad")
                for kfunc in KFUNCS
                for prog_type in NETWORK_TYPES
            ),
        ),
        console="[    0.000000] Linux version\r\n\x1b[32m[  OK  ]\x1b[0m reached\r\n",
    )


def verdicts(of: CellResult) -> tuple[Row, ...]:
    """Every claim holds in a cell that ran; none has an answer in any other."""
    ran, seen = of.outcome is Outcome.RAN, {one.probe: (one.load_errno, one.log) for one in seen_of(of)}
    return tuple(
        Row(
            kind="claims",
            probe=f"{claim}:{prog_type}",
            subject=kfunc,
            type=prog_type,
            verdict=Verdict.HOLDS if ran else Verdict.NO_ANSWER,
            cause="" if ran else f"{of.outcome}: {of.cause}",
            expected="error -EINVAL",
            observed="error -EINVAL" if ran else "",
            errno=seen.get(f"{claim}:{prog_type}", (None, ""))[0],
            log=seen.get(f"{claim}:{prog_type}", (None, ""))[1],
        )
        for claim, kfunc, prog_type in probes()
    )


def state_row(kfunc: str, prog_type: ProgType, state: State, cause: str = "", owner: str = "", **more: Any) -> Row:
    """Of a census. `owner`: vmlinux or a module; empty: in none."""
    details = {"object": owner, "prototype": "", "layouts": [], "flags": [], "level": "none"}
    return Row("census", f"census:{prog_type}", kfunc, prog_type, state, cause=cause, details=details, **more)


def states(of: CellResult) -> tuple[Row, ...]:
    """Nothing for a cell that did not run. XDP cannot use the skb functions nor TC the xdp ones; 6.1 lacks NAT on
    arm64; and one kfunc that no claim is about is not allowed for XDP.
    """
    if of.outcome is not Outcome.RAN:
        return ()
    known = [
        _state(of, kfunc, prog_type, "nf_nat" if "nat" in kfunc else "nf_conntrack")
        for kfunc in KFUNCS
        for prog_type in NETWORK_TYPES
    ]
    for prog_type, state, cause in ((ProgType.TC, State.USABLE, ""), (ProgType.XDP, State.NOT_ALLOWED, FORBIDDEN)):
        known.append(state_row("bpf_dynptr_from_skb", prog_type, state, cause, "vmlinux"))
    return tuple(known)


def _state(of: CellResult, kfunc: str, prog_type: ProgType, owner: str) -> Row:
    state, cause, errno = State.USABLE, "", None
    if OTHER[prog_type] in kfunc:
        state, errno = State.REGISTERED, 22
        cause = "wrong context: R1 is ctx expected STRUCT __sk_buff"
    if kfunc == "bpf_ct_set_nat_info" and of.cell.id == "6.1.192-arm64":
        state, owner = State.ABSENT, ""
        cause = "not in the BTF of vmlinux nor of nf_nat, which is loaded"
    return state_row(kfunc, prog_type, state, cause, owner, errno=errno)


def run(*results: CellResult, cells: tuple[Cell, ...] = CELLS, run_id: str = "20261103-101501-3fa9") -> Run:
    return Run(
        id=run_id,
        started=STARTED,
        finished=STARTED + timedelta(seconds=52),
        matrix_sha256="d" * 64,
        runner_version="0.1.0",
        slots=2,
        cells=cells,
        results=results,
    )


def judged(*results: CellResult, cells: tuple[Cell, ...] = CELLS) -> JudgedRun:
    return judge_run(run(*results, cells=cells), Judge())


@dataclass(frozen=True)
class Judge:
    """Gives what `verdicts` and `states` make of a result."""

    verdicts: Callable[[CellResult], Sequence[Row]] = verdicts
    states: Callable[[CellResult], Sequence[Row]] = states

    def grown(self, results: Iterable[CellResult]) -> Self:
        return self

    def rows(self, result: CellResult) -> tuple[Row, ...]:
        return (*self.verdicts(result), *self.states(result))

    def splats(self, result: CellResult) -> tuple[JudgedSplat, ...]:
        return tuple(JudgedSplat(**dict(splat)) for splat in result.splats)

    def known_issues(self, cells: Sequence[tuple[CellResult, Sequence[Row]]]) -> tuple[KnownIssue, ...]:
        return ()


def nothing(_: CellResult) -> tuple[()]:
    return ()


@cache
def clean_run() -> JudgedRun:
    return judged(*(result(each) for each in CELLS))


def with_claim(of: JudgedRun, cell_id: str, at: int, **changes: object) -> JudgedRun:
    """`of` with one verdict changed."""
    cells = []
    for each in of.cells:
        rows = list(each.rows)
        if each.id == cell_id:
            rows[at] = replace(rows[at], **cast("Any", changes))  # the verdicts come first
        cells.append(each.model_copy(update={"rows": tuple(rows)}))
    return of.model_copy(update={"cells": tuple(cells)})


def with_rows(of: JudgedRun, rows: Sequence[tuple[Row, ...]]) -> JudgedRun:
    """`of` with these rows, a tuple for each cell."""
    cells = [cell.model_copy(update={"rows": these}) for cell, these in zip(of.cells, rows, strict=True)]
    return of.model_copy(update={"cells": tuple(cells)})


def with_states(of: JudgedCell, change: Callable[[Row], Row]) -> JudgedCell:
    """`of` with every state changed."""
    return of.model_copy(update={"rows": tuple(change(row) if row.state else row for row in of.rows)})


def with_state(of: JudgedCell, **changes: object) -> JudgedCell:
    """`of` with its first state changed."""
    first = next(row for row in of.rows if row.state)
    return with_states(of, lambda row: replace(row, **cast("Any", changes)) if row is first else row)


@cache
def mixed_run() -> JudgedRun:
    """One kernel did not boot, one cell never finished, one claim is broken on two cells, one crashed, one is open."""
    boot = result(CELLS[7], Outcome.BOOT_FAILED, "kernel panicked: VFS: Unable to mount root fs on unknown-block(0,0)")
    of = judged(*(result(each) for each in CELLS[:6]), boot)
    for cell_id in ("6.12.117-x86_64", "6.12.117-arm64"):
        of = with_claim(of, cell_id, 3, verdict=Verdict.BROKEN, observed="error 0")
    of = with_claim(of, "6.18.15-arm64", 5, verdict=Verdict.BROKEN, crashed=True, observed="crashed the kernel")
    no_module = "module nf_nat did not load: modprobe: FATAL: Module nf_nat not found"
    for at in (20, 21):
        of = with_claim(of, "6.1.192-arm64", at, verdict=Verdict.NO_ANSWER, observed="", cause=no_module)
    return of
