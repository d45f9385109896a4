"""Builds of kernels with made-up answers, for what looks at many runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from runner.model import Build, KfuncState, Outcome, ProgType, State
from runner.results.series import Measured, Row
from runner.results.store import Final
from tests.unit import results_samples as samples

KFUNC = "bpf_ct_release"
TC, XDP = Row(KFUNC, ProgType.TC), Row(KFUNC, ProgType.XDP)
U, R, N, A, Q = State.USABLE, State.REGISTERED, State.NOT_ALLOWED, State.ABSENT, State.NO_ANSWER


def state(row: Row, of: State, cause: str = "", **more: object) -> KfuncState:
    owner = "" if of in (State.ABSENT, State.NO_ANSWER) else "nf_conntrack"
    values = {"kfunc": row.kfunc, "object": owner, "prog_type": row.prog_type, "state": of, "cause": cause}
    return KfuncState.model_validate(values | more)


def measured(
    version: str,
    states: Mapping[Row, KfuncState],
    *,
    arch: str = "x86_64",
    night: int = 0,
    outcome: Outcome = Outcome.RAN,
    name: str = "k",
    sha: str = "",
) -> Measured:
    like = samples.CELLS[0]
    kernel = like.kernel.model_copy(update={"version": version, "arch": arch, "release": f"{version}-{arch}"})
    cell = like.model_copy(update={"id": f"{version}-{arch}", "name": name, "kernel": kernel})
    started = when(night)
    return Measured(
        run=f"night-{night}",
        started=started,
        cell=cell,
        build=Build(version=version, release=kernel.release, sha256=sha or version, arch=arch),
        outcome=outcome,
        cause="",
        states=states if outcome is Outcome.RAN else {},
        final=Final(f"night-{night}", started, cell, outcome, 0, "", 0, 0, None),
    )


def simple(version: str, of: State, **where: object) -> Measured:
    """One kfunc, one program type."""
    return measured(version, {TC: state(TC, of, "" if of is U else f"because {of}")}, **where)  # type: ignore[arg-type]


def when(night: int) -> datetime:
    return samples.STARTED + timedelta(days=night)
