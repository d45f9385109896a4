# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a worker sends is believed only when it is about the cell that the worker was given."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import zstandard

from runner.engine import plan
from runner.engine.controller import Controller, unanswered
from runner.engine.plan import DELIVERY_KEY, Delivery, Phase, Progress
from runner.engine.scheduling import Job, Running
from runner.engine.xdist import FleetSession
from runner.model import Answer, Outcome
from runner.results.packed import answer_line
from tests import fakes

ORDER = fakes.cell_order()


class Node:
    """xdist's controller of a worker of the host amber."""

    gateway = SimpleNamespace(spec=SimpleNamespace(host=SimpleNamespace(name="amber")))


NODE = Node()


class Seen:
    """A controller whose session only notes whom it does not believe."""

    def __init__(self, folder: Path) -> None:
        self.told = fakes.Told()
        self.distrusted: list[object] = []
        self.controller = Controller(fakes.plan(folder, ORDER), [self.told])
        self.controller.pool.join(NODE, "here")
        self.give(1)
        self.controller.session = cast(
            FleetSession,
            SimpleNamespace(
                distrust=self.distrusted.append,
                came=lambda *_: None,
                why_gone=lambda _: "",
                heartbeats=SimpleNamespace(entered=lambda *_: None),
            ),
        )

    def give(self, attempt: int) -> None:
        """The worker is given this attempt at the cell."""
        pool = self.controller.pool
        pool.waiting.pop(ORDER.cell.id, None)
        pool._running[NODE] = Running(Job(ORDER.cell.id, ORDER.cell.arch, attempt=attempt), 0.0)

    def take(self, data: bytes, nodeid: str = f"{ORDER.cell.id}/1") -> None:
        report = pytest.TestReport(
            nodeid, ("", None, ""), {}, "passed", None, "call", user_properties=[(DELIVERY_KEY, data)]
        )
        report.node = NODE  # type: ignore[attr-defined]
        self.controller.pytest_runtest_logreport(report)


def result_of(behaviour: str = "fine", *, number: int = 0) -> bytes:
    order = fakes.cell_order(behaviour, number=number)
    return Delivery(result=unanswered(order, Outcome.LOST, "gone")).packed()


def test_a_result_of_the_cell_is_taken(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    seen.take(Delivery(progress=Progress(cell_id=ORDER.cell.id, phase=Phase.BOOTING)).packed())
    seen.take(result_of())
    assert [result.cell.id for result in seen.told.results] == [ORDER.cell.id]
    assert seen.told.phases[0].phase is Phase.BOOTING
    assert not seen.distrusted


ANSWERS = (
    Answer(kind="claims", probe="claim-0:tc", body={"x": [1, 2.5, None], "log": "a\nb"}),
    Answer(kind="claims", probe="claim-1:tc", failed="no memory"),
    Answer(kind="claims", probe="claim-2:tc", body={"log": "long" * 1000}),
)


def test_answers_come_as_they_were_sent_also_those_that_came_before(tmp_path: Path) -> None:
    result = unanswered(ORDER, Outcome.LOST, "gone", host="amber").model_copy(update={"answers": ANSWERS})
    for _ in range(2):
        seen = Seen(tmp_path)
        seen.take(Delivery(result=result).packed())
        assert seen.told.results == [result]


@pytest.mark.parametrize(
    "answer", [b"", b"{}", b"[1]", b'{"kind": 1, "probe": "x"}', b'{"kind": "x", "probe": "x", "y": 1}']
)
def test_each_answer_is_validated(tmp_path: Path, answer: bytes) -> None:
    seen = Seen(tmp_path)
    lines = b"\n".join((zstandard.decompress(result_of()), answer_line(ANSWERS[0]), answer, b""))
    seen.take(zstandard.compress(lines))
    assert (seen.told.results, seen.distrusted) == ([], [NODE])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"not packed",
        zstandard.compress(b"{}"),
        zstandard.compress(b"not json"),
        zstandard.compress(b'{"result": {"cell": "../../etc/passwd"}}'),
        zstandard.compress(b'{"progress": {"cell_id": "another", "phase": "done"}}'),
        result_of()[:-9],
        result_of(number=7),
        result_of("another-name"),
    ],
)
def test_anything_else_is_not(tmp_path: Path, data: bytes) -> None:
    seen = Seen(tmp_path)
    seen.take(data)
    assert seen.distrusted == [NODE]
    assert not seen.told.results
    assert not seen.told.phases


def test_what_unpacks_to_more_than_fits_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MAX_BYTES", 100)
    seen = Seen(tmp_path)
    seen.take(result_of())
    assert (seen.told.results, seen.distrusted) == ([], [NODE])


def test_nothing_is_taken_twice_and_what_was_lost_waits_once_more(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    seen.take(result_of())
    assert [job.attempt for job in seen.controller.pool.waiting.values()] == [2]
    seen.take(result_of())
    assert len(seen.told.results) == 1
    assert seen.distrusted == [NODE]
    seen.give(2)
    seen.take(result_of(), f"{ORDER.cell.id}/2")
    assert len(seen.told.results) == 2


def test_nothing_is_taken_about_a_cell_that_another_worker_has(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    seen.controller.pool.done(NODE)
    seen.take(Delivery(progress=Progress(cell_id=ORDER.cell.id, phase=Phase.BOOTING)).packed())
    seen.take(result_of())
    assert seen.distrusted == [NODE, NODE]
    assert (seen.told.phases, seen.told.results) == ([], [])


def test_where_a_cell_ran_is_known_by_the_worker_that_sent_it(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    elsewhere = unanswered(ORDER, Outcome.LOST, "gone", host="birch")
    seen.take(Delivery(result=elsewhere).packed())
    assert [result.host for result in seen.told.results] == ["amber"]


def test_an_unexpected_exception_in_a_worker_is_no_answer(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    words = "Traceback (most recent call last):\n  ...\nZeroDivisionError: division by zero"
    report = pytest.TestReport(f"{ORDER.cell.id}/1", ("", None, ""), {}, "failed", words, "call")
    report.node = NODE  # type: ignore[attr-defined]
    seen.controller.pytest_runtest_logreport(report)
    (result,) = seen.told.results
    assert result.outcome is Outcome.INFRA_FAILED
    assert result.cause == "an unexpected exception in a worker: ZeroDivisionError: division by zero"
