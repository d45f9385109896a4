# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner load` in a project of its own: an object of two programs, and fakes in place of guests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner import cli
from runner.cli.running import Engine
from runner.engine.plan import CellOrder, Ended, OpenGuests, Plan, RunEnd, Sink
from runner.model import Answer, CellResult, Facts, Outcome
from runner.results.store import ResultStore
from tests import fakes
from tests.integration.test_object_files import build

SOURCE = """
int good(void *c) __attribute__((section("xdp"), used)); int good(void *c) { return 2; }
int bad(void *c) __attribute__((section("tc"), used)); int bad(void *c) { return 0; }
char _license[] __attribute__((section("license"), used)) = "GPL";
"""
STATS = "processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"
LOADS: dict[str, Any] = {"errno": 0, "log": STATS}
REFUSED = {"errno": 22, "words": "libbpf: prog 'bad': BPF program load failed", "log": "R1 invalid mem access\n"}
CELL = "6.12.117-x86_64"
Items = dict[str, dict[str, Any]]


def everything_loads(_: CellOrder) -> Items:
    return {"@together": LOADS, "good": {**LOADS, "type": "xdp"}, "bad": {**LOADS, "type": "sched_cls"}}


def one_is_refused(order: CellOrder) -> Items:
    return everything_loads(order) | {
        "@together": {**REFUSED, "culprit": "bad"},
        "bad": {**REFUSED, "type": "sched_cls"},
    }


def no_answer(_: CellOrder) -> Items:
    return {}


def out_of_memory(order: CellOrder) -> Items:
    return everything_loads(order) | {"bad": {"errno": 12, "words": "", "log": ""}}


@dataclass
class Guests:
    """In place of guests. `items` answers, `old` does of an earlier build; an execution ends after `results` cells."""

    items: Callable[[CellOrder], Items] = one_is_refused
    old: Callable[[CellOrder], Items] = everything_loads
    results: int = 100
    orders: list[CellOrder] = field(default_factory=list)

    def engine(self) -> Engine:
        return Engine(payloads=payloads, execute=self)

    def __call__(self, plan: Plan, sinks: Sequence[Sink], *, guests: OpenGuests | None = None) -> RunEnd:
        orders = plan.orders[: self.results]
        ended = Ended.COMPLETE if len(orders) == len(plan.orders) else Ended.INTERRUPTED
        return fakes.told(plan, sinks, map(self._result, orders), ended)

    def _result(self, order: CellOrder) -> CellResult:
        self.orders.append(order)
        answers: list[Answer] = []
        for ask in order.asks:
            body: dict[str, Any] = {"programs": {"good": "xdp", "bad": "sched_cls"}, "maps": []}
            of_old = ask.probe.endswith("@old")
            items = [(name, it) for name, it in (self.old if of_old else self.items)(order).items()]
            answers += [
                Answer(kind="objects", probe=ask.probe, item=name, body=it)
                for name, it in items
                if ask.only in ("", name)
            ]
            answers.append(Answer(kind="objects", probe=ask.probe, body=body))
        facts = Facts(btf=("vmlinux",))
        return CellResult(cell=order.cell, outcome=Outcome.RAN, facts=facts, answers=tuple(answers))


def payloads(cells: Iterable[Any], expectations: Any, **_: object) -> dict[str, dict[str, bytes]]:
    return {"little": dict(expectations.pushed("x86_64"))}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an object; the matrix is the built-in one, whose store lies in the state folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "160")
    folder = tmp_path / "empty"
    folder.mkdir()
    build(SOURCE, tmp_path / "lb.bpf.o").rename(folder / "lb.bpf.o")
    monkeypatch.chdir(folder)
    return folder


def load(guests: Guests, *words: str) -> int:
    return cli.run(["load", *words, "--offline", "-n", "1"], guests.engine())


def run_id(project: Path, at: int = 0) -> str:
    with ResultStore(project.parent / "state/kfunc-runner/reports/results.db", read_only=True, busy_s=5) as store:
        return store.runs()[at].id
