# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A project with one stored cell, and fakes in place of the guests that are booted again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from runner import cli
from runner.engine import repeat
from runner.engine.plan import CellOrder, OpenGuests, Plan, RunEnd, Sink
from runner.engine.storing import asked_of
from runner.model import Asked, Cell, CellResult, Trace
from runner.probes import Expectations
from runner.results.store import ResultStore
from tests import fakes
from tests.answers import seen_of, with_answers
from tests.samples import ROOT
from tests.unit import agent_samples
from tests.unit import results_samples as samples

VERSION = "6.12.117"
ID = f"{VERSION}-x86_64"
PROBE = "insert-then-found:tc"
RUN = "night"
OBJECT = b"\x7fELF of no use"
TRACE = Trace(probe=PROBE, log="0: R1=ctx()\n", kernel=("eth0: \x1b[31mup",))


@cache
def expectations() -> Expectations:
    """The real ones; reading them takes longer than all that is tested here."""
    return Expectations.load(ROOT, ["conntrack", "traffic"])


def asked(cell: Cell) -> Asked:
    """What the real claims ask this kernel, with a program that could not run."""
    order = CellOrder(cell=cell, asks=agent_samples.transcript(VERSION).asks, modules=("nf_conntrack",))
    return asked_of([order], {"little": {"conntrack.bpf.o": OBJECT}})


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    shutil.copytree(ROOT / "bpf", root / "bpf")
    for name in ("matrix.yaml", "matrix.lock"):
        shutil.copy(ROOT / name, root / name)
    result = agent_samples.result(VERSION)
    with ResultStore(root / "reports" / "results.db") as store:
        store.begin(samples.run(cells=(result.cell,), run_id=RUN))
        store.add(RUN, result)
        store.finish(RUN, samples.STARTED)
        store.write_asked(RUN, asked(result.cell))
    return root


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "160")
    known = expectations()
    monkeypatch.setattr(Expectations, "load", lambda *_: known)
    shutil.copytree(template, tmp_path / "project")
    return tmp_path / "project"


@dataclass
class Guests:
    """In place of a boot: answers as `change` makes of what the store has."""

    change: Callable[[CellResult], CellResult]
    orders: list[CellOrder] = field(default_factory=list)

    def __call__(self, plan: Plan, sinks: Sequence[Sink], *, guests: OpenGuests | None = None) -> RunEnd:
        assert guests is None
        return fakes.told(plan, sinks, map(self._result, plan.orders))

    def _result(self, order: CellOrder) -> CellResult:
        self.orders.append(order)
        asked_for = {ask.probe for ask in order.asks}
        result = agent_samples.result(VERSION)
        seen = tuple(one for one in seen_of(result) if one.probe in asked_for)
        traces = (TRACE,) if order.trace else ()
        return self.change(with_answers(result, claims=seen).model_copy(update={"cell": order.cell, "traces": traces}))


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Guests]:
    def install(change: Callable[[CellResult], CellResult] = lambda result: result) -> Guests:
        made = Guests(change)
        monkeypatch.setattr(repeat, "execute", made)
        monkeypatch.setattr(repeat, "payload", lambda cell, objects, *_, **__: objects)
        return made

    return install


def runner(project: Path, *words: str) -> int:
    return cli.run(["cell", *words, "--matrix", str(project / "matrix.yaml")])
