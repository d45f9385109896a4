# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner load` of a source, and `--watch`: what a save begins, what ends it; guests are fakes, clang is real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from runner import cli
from runner.engine.plan import CellOrder
from tests.integration.load_fixture import SOURCE, Guests, Items, everything_loads, load, one_is_refused, project

__all__ = ["project"]  # a fixture

WORDS = ("--kernel", "6.12", "--arch", "x86_64", "--offline", "-n", "1")
LIMIT_S = 60
WAITING = "waiting for a save"
HEADER = f'#include "part.h"\n{SOURCE}'


def as_the_folder_says(order: CellOrder) -> Items:
    if Path("hangs").exists():
        print("hanging")  # noqa: T201
        time.sleep(LIMIT_S)
    return one_is_refused(order) if Path("refuses").exists() else everything_loads(order)


def save(path: Path, content: str) -> None:
    """As editors do."""
    path.with_name(f".{path.name}.tmp").write_text(content)
    path.with_name(f".{path.name}.tmp").rename(path)


Until = Callable[[str], str]


@contextmanager
def watching(*words: str) -> Iterator[tuple[subprocess.Popen[str], Until]]:
    """A function that reads what is printed until it contains some words."""
    argv = [sys.executable, "-m", "tests.integration.test_load_watch", "load", "--watch", *words, *WORDS]
    root = str(Path(__file__).parents[2])
    pipe = subprocess.PIPE
    env = {**os.environ, "PYTHONPATH": root, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(argv, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=env) as process:
        try:
            yield process, lambda wanted: read(process.stdout, wanted)
        finally:
            process.kill()


def read(stream: IO[str] | None, wanted: str) -> str:
    assert stream is not None
    seen = ""
    for line in stream:
        seen += line
        if wanted in line:
            return seen
    raise AssertionError(f"{wanted!r} was not printed:\n{seen}")


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(LIMIT_S) == 130


@pytest.fixture
def source(project: Path) -> Path:
    (project / "part.h").write_text("")
    (project / "prog.bpf.c").write_text(HEADER)
    return project / "prog.bpf.c"


def test_a_source_is_compiled_and_loaded(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guests = Guests(everything_loads)
    assert load(guests, "prog.bpf.c", "--kernel", "6.12", "--arch", "x86_64", "--arch", "arm64") == 0
    assert [it.cell.arch for it in guests.orders] == ["x86_64", "arm64"]
    assert "object prog (" in capsys.readouterr().out
    assert {path.name for path in source.parent.iterdir()} == {"lb.bpf.o", "part.h", "prog.bpf.c"}


def test_a_source_is_compared_with_an_earlier_one(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source.parent / "old.bpf.c").write_text(HEADER)
    words = ("prog.bpf.c", "--against", "old.bpf.c", "--kernel", "6.12", "--arch", "x86_64")
    assert load(Guests(one_is_refused), *words) == 1
    assert "Against the earlier build: 3 answers compared; 2 worse" in capsys.readouterr().out


def test_a_source_that_does_not_compile(source: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source.write_text('#include "vmlinux.h"\n')
    assert load(Guests(everything_loads), "prog.bpf.c") == 64
    said = capfd.readouterr().err
    assert "prog.bpf.c:1:10: fatal error: 'vmlinux.h' file not found" in said
    assert "prog.bpf.c does not compile for x86_64\n  bpftool btf dump" in said


def test_each_save_begins_a_round(source: Path) -> None:
    with watching("prog.bpf.c") as (process, until):
        assert "object prog (" in until(WAITING)
        (source.parent / "refuses").touch()
        save(source.parent / "part.h", "/* another */")
        said = until(WAITING)
        assert "part.h was saved" in said
        assert "Against the earlier build: 3 answers compared; 2 worse" in said
        assert "prog/bad" in said[said.index("Against") :]
        save(source, "int broken(\n")
        said = until(WAITING)
        assert "prog.bpf.c:1:12: error: expected" in said
        assert "prog.bpf.c does not compile" in said
        (source.parent / "refuses").unlink()
        save(source, HEADER)
        assert "3 answers compared; 2 better" in until(WAITING)
        end(process)


def test_the_newest_save_wins(source: Path) -> None:
    (source.parent / "hangs").touch()
    with watching("prog.bpf.c") as (process, until):
        until("hanging")
        (source.parent / "hangs").unlink()
        save(source, HEADER + " ")
        assert "interrupting the run" in until("was saved")
        assert "object prog (" in until(WAITING)
        end(process)


def test_ctrl_c_ends_a_round(source: Path) -> None:
    (source.parent / "hangs").touch()
    with watching("prog.bpf.c") as (process, until):
        until("hanging")
        end(process)


def test_a_build_command(source: Path) -> None:
    """What it writes beside the sources is no save."""
    command = "cp lb.bpf.o made.bpf.o; cat part.h; grep -q right part.h"
    (source.parent / "part.h").write_text("wrong\n")
    with watching("made.bpf.o", "--build", command) as (process, until):
        said = until(WAITING)
        assert "wrong" in said
        assert "failed with exit status 1" in said
        save(source.parent / "part.h", "right\n")
        assert "object made (" in until(WAITING)
        assert process.stdout
        os.set_blocking(process.stdout.fileno(), False)
        time.sleep(1)
        assert not process.stdout.buffer.read()  # type: ignore[attr-defined]
        end(process)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--build", "make"], "--build is for --watch"),
        (["--watch", "--bisect"], "--watch does not end"),
        (["--watch", "--resume", "load-x"], "--watch cannot change it"),
        (["--watch", "prog.bpf.c", "--kernel", "./none"], "there is no such file or folder"),
        (["--watch", "none.bpf.c"], "none.bpf.c: no such file"),
    ],
)
def test_a_mistake_ends_it(source: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert load(Guests(everything_loads), *words) in {64, 128}
    assert said in capsys.readouterr().err


if __name__ == "__main__":
    sys.exit(cli.run(sys.argv[1:], Guests(as_the_folder_says).engine()))
