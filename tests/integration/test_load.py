"""`runner load` and what shows its runs, in a project of its own; guests are fakes."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner import cli
from runner.cli.running import Engine
from runner.engine import repeat
from runner.engine.plan import CellOrder, Ended, OpenGuests, Plan, RunEnd, Sink
from runner.errors import InfraError
from runner.model import Answer, CellResult, Facts, Outcome
from runner.results.store import ResultStore
from tests import fakes
from tests.integration.test_object_files import build
from tests.samples import ROOT

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


@dataclass
class Guests:
    """In place of guests. `items` answers, `old` does of an earlier build; an execution ends after `results` cells."""

    items: Callable[[CellOrder], Items] = one_is_refused
    old: Callable[[CellOrder], Items] = everything_loads
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


def test_nothing_is_written_where_one_stands(project: Path) -> None:
    assert load(Guests(everything_loads), "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64") == 0
    assert [path.name for path in project.iterdir()] == ["lb.bpf.o"]
    assert run_id(project).startswith("load-")
    assert not list((project.parent / "state").rglob("*.md"))  # the table is of the matrix


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
    assert load(Guests(), "lb.bpf.o", "--attach", "--resume", run_id(project)) == 64
    assert "FILE, --attach cannot change it" in capsys.readouterr().err
    assert load(Guests(), "--resume", "20261128-101010-abcd") == 64
    assert "no run '20261128-101010-abcd' in" in capsys.readouterr().err


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


def test_numbers_are_shown_in_the_grid_and_printed_for_veristat(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("lb.bpf.o", "--kernel", "6.12", "--kernel", "6.1", "--arch", "x86_64", "--stats", "insns")
    assert load(Guests(), *words) == 1
    assert re.search(r"^good +xdp +│ 2 +│ 2$", capsys.readouterr().out, re.MULTILINE)
    run = run_id(project)
    assert cli.run(["report", "show", run, "--stats", "states"]) == 1
    assert re.search(r"^good +xdp +│ 0 +│ 0$", capsys.readouterr().out, re.MULTILINE)
    assert cli.run(["report", "veristat", run, "--kernel", "6.12"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(it["file_name"], it["prog_name"], it["verdict"], it["total_insns"]) for it in lines] == [
        ("lb.bpf.o", "bad", "failure", "0"),
        ("lb.bpf.o", "good", "success", "2"),
    ]
    assert cli.run(["report", "veristat", run, "--kernel", "6"]) == 64
    assert "several cells of --kernel 6" in capsys.readouterr().err
    assert cli.run(["report", "veristat", run, "--kernel", "7.3"]) == 64
    assert "no cell of --kernel 7.3" in capsys.readouterr().err


def test_growth_is_held_against_the_last_answer_of_the_kernel(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock, matrix = (ROOT / "matrix.lock").read_text(), yaml.safe_load((ROOT / "matrix.yaml").read_text())
    matrix["probes"] = [{"object": "lb.bpf.o", "limits": {"growth": "25%"}}]
    (project / "matrix.lock").write_text(lock)
    (project / "matrix.yaml").write_text(yaml.safe_dump(matrix))
    (project / "bpf").symlink_to(ROOT / "bpf")

    def run(insns: int) -> int:
        def items(order: CellOrder) -> Items:
            (ask,) = order.asks
            earlier: Any = ask.body.get("earlier", {})
            good = {**LOADS, "log": STATS.replace("processed 2", f"processed {insns}"), "type": "xdp"}
            if "good" in earlier:  # the agent hands it back
                good["earlier"] = earlier["good"]
            return everything_loads(order) | {"good": good}

        words = ["matrix", "run", "--only", "kernel=6.12,arch=x86_64", "--offline", "-n", "1"]
        return cli.run(words, Guests(items).engine())

    assert [run(100), run(120), run(160)] == [0, 0, 1]
    assert "insns 160, 33% more than the 120 of the last answer, and the limit is 25%" in capsys.readouterr().out
    assert run(160) == 0


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
    assert cli.run(["cell", "show", CELL]) == 0  # a cell is named, so that any run will do
    assert cli.run(["report", "export"]) == 64
    assert cli.run(["matrix", "run", "--resume"], Guests().engine()) == 64


def test_events_for_scripts(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(Guests(), "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64", "--format", "json") == 1
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [it["event"] for it in events] == ["cells", "result", "finished"]
    assert events[-1]["run"] == run_id(project)
    assert events[-1]["exit"] == 1


def no_answer(_: CellOrder) -> Items:
    return {}


def out_of_memory(order: CellOrder) -> Items:
    return everything_loads(order) | {"bad": {"errno": 12, "words": "", "log": ""}}


@pytest.mark.parametrize(
    ("items", "status"), [(everything_loads, 0), (one_is_refused, 1), (out_of_memory, 125), (no_answer, 125)]
)
def test_git_bisect_is_told_what_it_knows(project: Path, items: Callable[[CellOrder], Items], status: int) -> None:
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


AGAINST = ("lb.bpf.o", "--against", "old.bpf.o", "--kernel", "6.12", "--arch", "x86_64")


def slower(order: CellOrder) -> Items:
    """Other numbers, and a program that the earlier build does not have."""
    log = STATS.replace("2 insns", "3 insns")
    return everything_loads(order) | {"good": {**LOADS, "type": "xdp", "log": log}, "new": {**LOADS, "type": "xdp"}}


@pytest.mark.parametrize(
    ("guests", "status", "told"),
    [
        (Guests(one_is_refused, everything_loads), 1, ["loads", "refused: R1 invalid mem access", "2 worse"]),
        (Guests(everything_loads, one_is_refused), 0, ["2 better"]),
        (Guests(one_is_refused, one_is_refused), 0, ["nothing changed"]),
        (
            Guests(slower, everything_loads),
            0,
            ["loads, insns 2", "loads, insns 3", "not in this build", "2 other numbers"],
        ),
        (Guests(out_of_memory, everything_loads), 2, ["no answer"]),
    ],
)
def test_two_builds_are_compared_in_one_boot(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    guests: Guests,
    status: int,
    told: list[str],
) -> None:
    (project / "old.bpf.o").write_bytes((project / "lb.bpf.o").read_bytes())
    assert load(guests, *AGAINST) == status
    assert len(guests.orders) == 1
    out = capsys.readouterr().out
    part = out[out.index("Against the earlier build") :]
    assert [text for text in told if text not in part] == []
    assert cli.run(["report", "show", run_id(project)]) == status


def test_one_file_is_compared_with_one(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(Guests(), "lb.bpf.o", "other.bpf.o", "--against", "old.bpf.o") == 64
    assert load(Guests(), "lb.bpf.o", "--against", "none.bpf.o", "--kernel", "6.12", "--arch", "x86_64") == 64
    assert "none.bpf.o" in capsys.readouterr().err


def test_what_deviates_is_learned_from_a_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(Guests(), "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64")
    capsys.readouterr()
    entry = f"{{programs: [bad], answer: {{cause: refused}}, why: learned from {run_id(project)}}}"
    assert cli.run(["probes", "learn", run_id(project)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "objects:", "  - id: lb", "    file: lb.bpf.o", "    expect:", f"      - {entry}",
    ]  # fmt: skip
    Path("mine.yaml").write_text("objects:\n  - file: lb.bpf.o  # ours\n")
    assert cli.run(["probes", "learn", run_id(project), "--write", "mine.yaml"]) == 0
    assert Path("mine.yaml").read_text() == f"objects:\n  - file: lb.bpf.o  # ours\n    expect:\n      - {entry}\n"
    assert cli.run(["probes", "learn", run_id(project), "--write", "new.yaml"]) == 0
    assert entry in Path("new.yaml").read_text()


def test_every_report_of_a_run_shows_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(Guests(), "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64")
    for name in ("csv", "junit", "ktap", "kcidb", "markdown", "github"):
        capsys.readouterr()
        assert cli.run(["report", "export", run_id(project), "--format", name]) == 0
        assert "lb/bad" in capsys.readouterr().out, name
    assert cli.run(["report", "html", run_id(project), "--output", "site"]) == 0
    assert "lb/bad" in (project / "site/index.html").read_text()


@pytest.mark.parametrize("name", ["q[1].bpf.o", "{arch}.bpf.o", "a*b.bpf.o", "two words.bpf.o"])
def test_a_file_is_meant_by_its_name_whatever_is_in_it(project: Path, name: str) -> None:
    (project / "lb.bpf.o").rename(project / name)
    (project / "another.bpf.o").write_text("no object")
    assert load(Guests(everything_loads), name, "--kernel", "6.12", "--arch", "x86_64") == 0


def test_a_link_is_known_by_its_own_name(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Build systems put a file's content elsewhere, with another name."""
    for at, name in enumerate(("new", "old")):
        (project / f"store{at}.o").write_bytes((project / "lb.bpf.o").read_bytes())
        (project / f"{name}.bpf.o").symlink_to(f"store{at}.o")
    words = ("new.bpf.o", "--against", "old.bpf.o", "--kernel", "6.12", "--arch", "x86_64")
    assert load(Guests(everything_loads), *words) == 0
    assert "object new (" in capsys.readouterr().out


MISTAKES = [
    (["x\udcff.o"], "x.o: the path has characters that do not print\n  rename it"),
    (["none.bpf.o"], "none.bpf.o: no such file"),
    (["text.bpf.o", "--kernel", "9.99"], "text.bpf.o is not an ELF file"),  # the file is read before an archive
    (["lb.bpf.o", "--kernel", "9.99", "--arch", "s390x"], "not built for s390x, which is big-endian"),
    (["lb.bpf.o", "--kernel", ""], "--kernel : '' is neither a series"),
    (["lb.bpf.o", "--arch", "amd64"], "unknown architecture 'amd64'; did you mean 'x86_64'?"),
    (["--resume", "nope"], "no run 'nope' in"),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES)
def test_a_mistake_is_told_with_what_to_do(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    (project / "text.bpf.o").write_text("no object")
    assert load(Guests(), "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64") == 1
    capsys.readouterr()
    assert load(Guests(), *words) == 64
    assert said in capsys.readouterr().err


def test_a_program_that_was_not_asked_is_told_before_a_boot(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(Guests(), "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64") == 1
    assert cli.run(["cell", "repro", CELL, "--run", run_id(project), "--probe", "lb/none", "--offline"]) == 64
    assert cli.run(["cell", "show", CELL, "--run", run_id(project), "--probe", "zzz"]) == 64
    assert cli.run(["cell", "show", CELL, "--run", run_id(project), "--probe", "good"]) == 64
    err = capsys.readouterr().err
    assert f"has no probe 'lb/none'\n  `runner cell show {CELL} --run {run_id(project)} --all` lists them" in err
    assert f"has no probe 'zzz'\n  `runner cell show {CELL} --run {run_id(project)} --all` lists them" in err
    assert "did you mean 'lb/good'?" in err


def test_only_runs_of_other_commands_are_no_run_of_the_matrix(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load(Guests(everything_loads), "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64") == 0
    assert cli.run(["report", "show"]) == 64
    assert f"name another: {run_id(project)}" in capsys.readouterr().err
    assert cli.run(["probes", "learn", run_id(project)]) == 0
    assert "nothing to learn" in capsys.readouterr().out
