"""`runner load` and what shows its runs, in a project of its own; guests are fakes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner import cli
from runner.cli.running import Engine
from runner.engine import repeat
from runner.engine.plan import CellOrder, Ended, OpenGuests, Plan, RunEnd, Sink
from runner.errors import InfraError
from runner.model import Answer, CellResult, Facts, Outcome
from runner.results.store import ResultStore
from tests import fakes
from tests.integration.test_object_files import build

SOURCE = """
int good(void *c) __attribute__((section("xdp"), used)); int good(void *c) { return 2; }
int bad(void *c) __attribute__((section("tc"), used)); int bad(void *c) { return 0; }
char _license[] __attribute__((section("license"), used)) = "GPL";
"""
LOADS: dict[str, Any] = {"errno": 0, "log": "processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 "}
REFUSED = {"errno": 22, "words": "libbpf: prog 'bad': BPF program load failed", "log": "R1 invalid mem access\n"}
CELL = "6.12.117-x86_64"


def everything_loads(_: CellOrder) -> dict[str, dict[str, Any]]:
    return {"@together": LOADS, "good": {**LOADS, "type": "xdp"}, "bad": {**LOADS, "type": "sched_cls"}}


def one_is_refused(order: CellOrder) -> dict[str, dict[str, Any]]:
    return everything_loads(order) | {
        "@together": {**REFUSED, "culprit": "bad"},
        "bad": {**REFUSED, "type": "sched_cls"},
    }


@dataclass
class Guests:
    """In place of guests. `items` answers, `ended` is how each execution ends after `results` cells."""

    items: Callable[[CellOrder], dict[str, dict[str, Any]]] = one_is_refused
    results: int = 100
    orders: list[CellOrder] = field(default_factory=list)

    def engine(self) -> Engine:
        return Engine(payloads=_payloads, execute=self)

    def __call__(self, plan: Plan, sinks: Sequence[Sink], *, guests: OpenGuests | None = None) -> RunEnd:
        orders = plan.orders[: self.results]
        ended = Ended.COMPLETE if len(orders) == len(plan.orders) else Ended.INTERRUPTED
        return fakes.told(plan, sinks, map(self._result, orders), ended)

    def _result(self, order: CellOrder) -> CellResult:
        self.orders.append(order)
        (ask,) = order.asks
        body: dict[str, Any] = {"programs": {"good": "xdp", "bad": "sched_cls"}, "maps": []}
        items = [(name, it) for name, it in self.items(order).items() if ask.only in ("", name)]
        answers = [Answer(kind="objects", probe=ask.probe, item=name, body=it) for name, it in items]
        return CellResult(
            cell=order.cell, outcome=Outcome.RAN, facts=Facts(btf=("vmlinux",)),
            answers=(*answers, Answer(kind="objects", probe=ask.probe, body=body)),
        )  # fmt: skip


def _payloads(cells: Iterable[Any], expectations: Any, **_: object) -> dict[str, dict[str, bytes]]:
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


def test_nothing_is_written_where_one_stands(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(Guests(everything_loads), "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64") == 0
    assert [path.name for path in project.iterdir()] == ["lb.bpf.o"]
    assert run_id(project).startswith("load-")
    assert "every" not in capsys.readouterr().err


def test_a_stopped_run_is_resumed_without_the_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("lb.bpf.o", "--kernel", "6.12", "--kernel", "6.1", "--arch", "x86_64")
    assert load(Guests(results=1), *words) == 130
    assert f"`runner load --resume {run_id(project)}` runs only those" in capsys.readouterr().out
    (project / "lb.bpf.o").unlink()
    again = Guests()
    assert load(again, "--resume", run_id(project)) == 1
    assert len(again.orders) == 1
    assert load(again, "--resume", run_id(project)) == 1
    assert len(again.orders) == 1


def test_a_run_is_resumed_by_the_command_that_began_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(Guests(), "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64") == 1
    assert cli.run(["matrix", "run", "--resume", run_id(project)], Guests().engine()) == 64
    assert f"`runner load --resume {run_id(project)}`" in capsys.readouterr().err
    assert load(Guests(), "--resume", "20261128-101010-abcd") == 64
    assert "`runner matrix run --resume 20261128-101010-abcd`" in capsys.readouterr().err


def test_a_program_is_shown_and_asked_again_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guests = Guests()
    assert load(guests, "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64") == 1
    which = ["--run", run_id(project), "--probe", "lb/bad"]
    capsys.readouterr()
    assert cli.run(["cell", "show", CELL, *which]) == 0
    assert "R1 invalid mem access" in capsys.readouterr().out
    assert cli.run(["cell", "show", CELL, *which, "--format", "json"]) == 0
    assert [it["item"] for it in json.loads(capsys.readouterr().out)["answers"]] == ["bad"]
    monkeypatch.setattr(repeat, "execute", guests)
    monkeypatch.setattr(repeat, "payload", lambda image, objects, *_, **__: objects)
    assert cli.run(["cell", "repro", CELL, *which]) == 0
    assert [(ask.probe, ask.only) for ask in guests.orders[-1].asks] == [("lb", "bad")]
    guests.items = everything_loads
    assert cli.run(["cell", "repro", CELL, *which]) == 1
    assert "lb, bad" in capsys.readouterr().out
    assert cli.run(["cell", "repro", CELL, "--run", run_id(project), "--probe", "lb/good"]) == 0


def test_an_export_has_what_a_cell_needs_to_be_asked_again(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guests = Guests()
    load(guests, "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64")
    assert cli.run(["report", "export", run_id(project), "--output", "export.json"]) == 0
    (cell,) = json.loads((project / "export.json").read_text())["cells"]
    found = {it["name"]: it for it in cell["objects"]}
    assert set(found) == {"good", "bad", "@together"}
    refused = found["bad"]
    assert (refused["id"], refused["file"], refused["what"], refused["prog_type"]) == (
        "lb/bad",
        "lb.bpf.o",
        "program",
        "tc",
    )
    assert (refused["answer"], refused["verdict"], refused["cause_word"], refused["up_to"], refused["reached"]) == (
        "refused", "broken", "refused", "load", None,
    )  # fmt: skip
    assert found["good"]["reached"] == "load"
    assert len(refused["sha256"]) == 64
    monkeypatch.setattr(repeat, "execute", guests)
    monkeypatch.setattr(repeat, "payload", lambda image, objects, *_, **__: objects)
    assert cli.run(["cell", "repro", CELL, "--from", "export.json", "--probe", "lb/bad"]) == 0
    assert "The answer is the same" in capsys.readouterr().out


def test_two_runs_are_compared(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64")
    load(Guests(everything_loads), *words)
    load(Guests(), *words)
    new, old = run_id(project), run_id(project, 1)
    capsys.readouterr()
    assert cli.run(["report", "diff", old, new, "--format", "json"]) == 1
    changes = json.loads(capsys.readouterr().out)["changes"]
    assert {(it["kind"], it["probe"]) for it in changes} == {("worse", "lb/bad"), ("worse", "lb/@together")}


def test_a_load_run_is_no_run_of_the_matrix(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(Guests(), "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64")
    assert cli.run(["report", "show"]) == 64
    assert cli.run(["report", "show", run_id(project)]) == 1
    assert cli.run(["cell", "show", CELL]) == 64
    assert cli.run(["report", "export"]) == 64
    assert cli.run(["matrix", "run", "--resume"], Guests().engine()) == 64


def test_events_for_scripts(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(Guests(), "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64", "--format", "json") == 1
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [it["event"] for it in events] == ["cells", "result", "finished"]
    assert events[-1]["run"] == run_id(project)
    assert events[-1]["exit"] == 1


def no_answer(_: CellOrder) -> dict[str, dict[str, Any]]:
    return {}


def out_of_memory(order: CellOrder) -> dict[str, dict[str, Any]]:
    return everything_loads(order) | {"bad": {"errno": 12, "words": "", "log": ""}}


@pytest.mark.parametrize(
    ("items", "status"), [(everything_loads, 0), (one_is_refused, 1), (out_of_memory, 125), (no_answer, 125)]
)
def test_git_bisect_is_told_what_it_knows(
    project: Path, items: Callable[[CellOrder], dict[str, dict[str, Any]]], status: int
) -> None:
    assert load(Guests(items), "--bisect", "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64") == status


@pytest.mark.parametrize(
    "words",
    [
        ("none.bpf.o",),
        ("lb.bpf.o", "--program", "nothing*"),
        ("lb.bpf.o", "--kernel", "9.99"),
        ("--no-such-option",),
        (),
    ],
)
def test_git_bisect_stops_where_nothing_was_asked(project: Path, words: Sequence[str]) -> None:
    assert load(Guests(), *words) == 64
    assert load(Guests(), "--bisect", *words) == 128


@pytest.mark.parametrize(
    ("fault", "status"), [(InfraError("x"), 128), (ValueError("x"), 128), (KeyboardInterrupt(), 130)]
)
def test_git_bisect_stops_for_a_fault_of_ours(project: Path, fault: BaseException, status: int) -> None:
    def fail(*_: object, **__: object) -> RunEnd:
        raise fault

    engine = Engine(payloads=_payloads, execute=fail)
    words = ["load", "--bisect", "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64", "--offline", "-n", "1"]
    assert cli.run(words, engine) == status
