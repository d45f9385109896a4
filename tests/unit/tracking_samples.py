# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Builds of kernels with made-up answers, for what looks at many runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from runner.model import Build, Outcome, Row, State
from runner.results.availability import Topic
from runner.results.series import Measured
from tests.unit import results_samples as samples

KFUNC = "bpf_ct_release"
TC, XDP = Topic(KFUNC, "tc", "census"), Topic(KFUNC, "xdp", "census")
U, R, N, A, Q = State.USABLE, State.REGISTERED, State.NOT_ALLOWED, State.ABSENT, State.NO_ANSWER


def state(topic: Topic, of: State, cause: str = "", **details: object) -> Row:
    owner = "" if of in (State.ABSENT, State.NO_ANSWER) else "nf_conntrack"
    details = {"object": owner, "prototype": "", "layouts": [], "flags": [], "level": "none", **details}
    return Row(topic.kind, f"census:{topic.type}", topic.subject, topic.type, of, cause=cause, details=details)


def measured(
    version: str,
    states: Mapping[Topic, Row],
    *,
    arch: str = "x86_64",
    night: int = 0,
    outcome: Outcome = Outcome.RAN,
    name: str = "k",
    sha: str = "",
    verdicts: tuple[Row, ...] = (),
) -> Measured:
    like = samples.CELLS[0]
    kernel = like.kernel.model_copy(update={"version": version, "arch": arch, "release": version})
    cell = like.model_copy(update={"id": f"{version}-{arch}", "name": name, "kernel": kernel})
    started = when(night)
    return Measured(
        run=f"night-{night}",
        started=started,
        cell=cell,
        build=Build(version=version, release=kernel.release, sha256=sha or version, arch=arch),
        outcome=outcome,
        states=states if outcome is Outcome.RAN else {},
        verdicts=verdicts,
    )


def simple(version: str, of: State, **where: object) -> Measured:
    """One kfunc, one program type."""
    return measured(version, {TC: state(TC, of, "" if of is U else f"because {of}")}, **where)  # type: ignore[arg-type]


def when(night: int) -> datetime:
    return samples.STARTED + timedelta(days=night)
