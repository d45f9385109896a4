# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner load`: what it begins, resumes and refuses, and how it ends; guests are fakes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from runner import cli
from runner.cli.running import Engine
from runner.engine.plan import CellOrder, RunEnd
from runner.errors import InfraError
from tests.integration.load_fixture import (
    Guests,
    Items,
    everything_loads,
    load,
    no_answer,
    one_is_refused,
    out_of_memory,
    payloads,
    project,
    run_id,
)

__all__ = ["project"]  # a fixture


def test_nothing_is_written_where_one_stands(project: Path) -> None:
    assert load(Guests(everything_loads), "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64") == 0
    assert [path.name for path in project.iterdir()] == ["lb.bpf.o"]
    assert run_id(project).startswith("load-")
    assert not list((project.parent / "state").rglob("*.md"))  # the table is of the matrix


@pytest.mark.parametrize(("words", "snapshot"), [((), True), (("--no-snapshot",), False)])
def test_guests_start_from_snapshots_unless_told_otherwise(
    project: Path, words: tuple[str, ...], snapshot: bool
) -> None:
    guests = Guests(everything_loads)
    assert load(guests, "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64", *words) == 0
    assert [order.snapshot for order in guests.orders] == [snapshot]


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


def test_events_for_scripts(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(Guests(), "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64", "--format", "json") == 1
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [it["event"] for it in events] == ["cells", "result", "finished"]
    assert events[-1]["run"] == run_id(project)
    assert events[-1]["exit"] == 1


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
        ("lb.bpf.o", "--kernel", "six"),
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

    engine = Engine(payloads=payloads, execute=fail)
    words = ["load", "--bisect", "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64", "--offline", "-n", "1"]
    assert cli.run(words, engine) == status


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
    (["lb.bpf.o", "--arch", "amd64"], "unknown architecture 'amd64'\n  did you mean 'x86_64'?"),
    (["--resume", "nope"], "no run 'nope' in"),
    (["lb.bpf.o", "--program", ""], "--program '' cannot be a program's name\n  like 'tail_*'"),
    (["l b.bpf.o", "--against", "lb.bpf.o"], "'l b@old' cannot be an object's id\n  rename the file"),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES)
def test_a_mistake_is_told_with_what_to_do(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    (project / "text.bpf.o").write_text("no object")
    (project / "l b.bpf.o").write_text("no object")
    assert load(Guests(), "lb.bpf.o", "--kernel", "6.12", "--arch", "x86_64") == 1
    capsys.readouterr()
    assert load(Guests(), *words) == 64
    assert said in capsys.readouterr().err
