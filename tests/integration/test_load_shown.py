# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What shows, compares and asks again the runs of `runner load`; guests are fakes."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner import cli
from runner.engine import repeat
from runner.engine.plan import CellOrder
from tests.integration.load_fixture import (
    CELL,
    LOADS,
    STATS,
    Guests,
    Items,
    everything_loads,
    load,
    one_is_refused,
    out_of_memory,
    project,
    run_id,
)
from tests.samples import ROOT

__all__ = ["project"]  # a fixture


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
    table = project / "6.12.csv"
    assert cli.run(["report", "veristat", run, "--kernel", "6.12", "--output", str(table)]) == 0
    lines = list(csv.DictReader(io.StringIO(table.read_text())))
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
            ["loads, insns 2", "loads, insns 3", "not in this build", "1 other numbers, 1 new"],
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


@pytest.mark.parametrize(
    ("guests", "status"),
    [
        (Guests(one_is_refused, one_is_refused), 0),
        (Guests(one_is_refused, everything_loads), 1),
        (Guests(out_of_memory, everything_loads), 125),
    ],
)
def test_git_bisect_is_told_whether_it_got_worse(project: Path, guests: Guests, status: int) -> None:
    (project / "old.bpf.o").write_bytes((project / "lb.bpf.o").read_bytes())
    assert load(guests, *AGAINST, "--bisect") == status


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
    Path("latin.yaml").write_bytes(b"# caf\xe9\n")
    assert cli.run(["probes", "learn", run_id(project), "--write", "latin.yaml"]) == 64
    assert "latin.yaml:1: not UTF-8" in capsys.readouterr().err


def test_what_has_no_answer_teaches_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(Guests(out_of_memory), "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64")
    capsys.readouterr()
    assert cli.run(["probes", "learn", run_id(project)]) == 0
    assert capsys.readouterr().out == "# nothing is learned from 1 row without an answer\n"


def test_every_report_of_a_run_shows_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(Guests(), "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64")
    for name in ("csv", "junit", "ktap", "kcidb", "markdown", "github"):
        capsys.readouterr()
        assert cli.run(["report", "export", run_id(project), "--format", name]) == 0
        assert "lb/bad" in capsys.readouterr().out, name
    assert cli.run(["report", "html", run_id(project), "--output", "site"]) == 0
    assert "lb/bad" in (project / "site/index.html").read_text()


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
