"""What a worker sends is believed only when it is about the cell that the worker was given."""

from __future__ import annotations

import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.engine import orders
from runner.engine.controller import _Round, unanswered
from runner.engine.orders import DELIVERY_KEY, Delivery, Phase, Progress
from runner.model import Outcome
from tests import fakes

ORDER = fakes.cell_order()


class Seen:
    """A round whose session only notes whom it does not believe."""

    def __init__(self, folder: Path) -> None:
        self.told = fakes.Told()
        self.distrusted: list[object] = []
        self.round = _Round(fakes.plan(folder, ORDER), [self.told])
        self.round.session = SimpleNamespace(  # type: ignore[assignment]
            distrust=self.distrusted.append,
            cell_answered=lambda *_: None,
            cell_failed=lambda *_: None,
            watchdog=SimpleNamespace(entered=lambda *_: None, done=lambda *_: None),
        )

    def take(self, data: bytes, nodeid: str = ORDER.cell.id) -> None:
        report = pytest.TestReport(
            nodeid, ("", None, ""), {}, "passed", None, "call", user_properties=[(DELIVERY_KEY, data)]
        )
        report.node = "amber-0"  # type: ignore[attr-defined]
        self.round.pytest_runtest_logreport(report)


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


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"not packed",
        zlib.compress(b"{}"),
        zlib.compress(b"not json"),
        zlib.compress(b'{"result": {"cell": "../../etc/passwd"}}'),
        zlib.compress(b'{"progress": {"cell_id": "another", "phase": "done"}}'),
        result_of()[:-9],
        result_of(number=7),
        result_of("another-name"),
    ],
)
def test_anything_else_is_not(tmp_path: Path, data: bytes) -> None:
    seen = Seen(tmp_path)
    seen.take(data)
    assert seen.distrusted == ["amber-0"]
    assert not seen.told.results
    assert not seen.told.phases


def test_what_unpacks_to_more_than_fits_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "MAX_BYTES", 100)
    seen = Seen(tmp_path)
    seen.take(result_of())
    assert (seen.told.results, seen.distrusted) == ([], ["amber-0"])
