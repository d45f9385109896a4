# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A generated census: hundreds of kfuncs on dozens of kernels, as large as a night's run becomes."""

from __future__ import annotations

from runner.model import (
    NETWORK_TYPES,
    Cell,
    CellResult,
    Outcome,
    Pin,
    ProgType,
    Row,
    State,
    Timings,
    Verdict,
)
from runner.probes.claims.answers import Observation
from runner.results.model import JudgedRun, Run, judge_run
from tests.answers import answers_of
from tests.unit import results_samples as samples

LOG = "func#0 @0\n0: R1=ctx() R10=fp0\ncalling kernel function {} is not allowed\nprocessed 1 insns (limit 1000000)"


def census_run(kfuncs: int = 400, kernels: int = 24, arches: tuple[str, ...] = samples.ARCHES) -> JudgedRun:
    """Kfuncs appear one after the other over the kernels; a few are for one program type alone; one cell is lost."""
    cells = tuple(_cell(at, arch) for at in range(kernels) for arch in arches)
    results = tuple(_result(cell, lost=at == 5) for at, cell in enumerate(cells))
    run = Run(**dict(samples.run(cells=cells)) | {"results": results})

    def states(of: CellResult) -> tuple[Row, ...]:
        at = next(place for place, cell in enumerate(cells) if cell.id == of.cell.id) // len(arches)
        if of.outcome is not Outcome.RAN:
            return ()
        return tuple(_state(number, at, prog_type) for number in range(kfuncs) for prog_type in NETWORK_TYPES)

    return judge_run(run, samples.Judge(_claims, states))


def _cell(at: int, arch: str) -> Cell:
    base = samples.cell("6.12", arch)
    version = f"6.{at}.10" if at < 20 else f"7.{at - 20}.3"
    kernel = Pin(**base.kernel.model_dump() | {"version": version, "release": f"{version}-{arch}"})
    return base.model_copy(update={"id": f"{version}-{arch}", "name": f"k{at}", "kernel": kernel})


def _result(cell: Cell, *, lost: bool) -> CellResult:
    if lost:
        return CellResult(cell=cell, outcome=Outcome.LOST, cause="ssh: connection reset", host="host-b")
    seen = Observation(probe="works:tc", load_errno=0, run_errno=0, retval=0, fields={"error": -22}, log=LOG)
    return CellResult(
        cell=cell,
        outcome=Outcome.RAN,
        host="host-a",
        accel="tcg",
        timings=Timings(prepare_s=0.1, boot_s=5.0, probe_s=8.0, total_s=14.0),
        answers=answers_of((seen,)),
        console="[    0.0] Linux version\n" * 50,
    )


def _claims(of: CellResult) -> tuple[Row, ...]:
    verdict = Verdict.HOLDS if of.outcome is Outcome.RAN else Verdict.NO_ANSWER
    said = "error -EINVAL"
    return (Row("claims", "works:tc", name(1), ProgType.TC, verdict=verdict, expected=said, observed=said),)


def name(number: int) -> str:
    families = ("dynptr", "ct", "task", "cgroup", "iter_num", "xdp_metadata", "cpumask", "rbtree")
    return f"bpf_{families[number % len(families)]}_op_{number:03}"


def _state(number: int, kernel: int, prog_type: ProgType) -> Row:
    kfunc = name(number)
    state, cause, log = State.USABLE, "", ""
    if number % 24 > kernel:
        state, cause = State.ABSENT, "in no BTF of this kernel"
    elif (number + (prog_type is ProgType.XDP)) % 3 == 0:
        state, cause = State.NOT_ALLOWED, f"calling kernel function {kfunc} is not allowed"
        log = LOG.format(kfunc)
    elif number % 5 == 0:
        state, cause = State.REGISTERED, "R1 is ctx, expected a pointer to struct bpf_dynptr"
    owner = "vmlinux" if state is not State.ABSENT else ""
    return samples.state_row(kfunc, prog_type, state, cause, owner, log=log)
