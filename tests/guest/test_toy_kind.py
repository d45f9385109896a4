# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kind of probe is added by one folder and one module of the agent, and nothing else.

A copy of the package gets a kind `toy`: what does a file below /proc/sys say? Everything that works on probes then
works on it, with real guests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.samples import ROOT

KIND = """
from runner.model import NO_ANSWER, Ask, Mark, Plain, Row, StateWord, Verdict
from runner.probes.kind import CRASHED, Kind, not_asked


class Toy(Plain):
    id: str
    file: str
    begins: str


class Keys(Plain):
    toys: tuple[Toy, ...]


class Entry(Plain):
    toy: str
    begins: str


class ToyKind(Kind[tuple[Toy, ...]]):
    name = "toy"
    noun = "toy"
    subject = "file"
    states = (StateWord("other", 0, Mark("x", "x", "red")), StateWord("as it begins", 1, Mark("=", "=", "green")))
    keys = Keys
    entry = Entry

    def load(self, root, files):
        toys = []
        for written in (file.written for file in files):
            if isinstance(written, Keys):
                toys += written.toys
            elif isinstance(written, Entry):
                toys.append(Toy(id=written.toy.rpartition("/")[2], file=written.toy, begins=written.begins))
        return tuple(toys)

    def asks(self, known, version, types):
        return [Ask(kind=self.name, probe=f"toy-{toy.id}", body={"file": toy.file}) for toy in known]

    def judge(self, result, known, earlier):
        answers = {answer.probe: answer for answer in result.answers if answer.kind == self.name}
        return [self._row(result, toy, answers.get(f"toy-{toy.id}")) for toy in known]

    def _row(self, result, toy, answer):
        probe, text = f"toy-{toy.id}", str(answer.body.get("text")) if answer else ""
        if probe in result.crashed:
            state, verdict, cause = NO_ANSWER, Verdict.BROKEN, CRASHED
        elif answer is None or answer.failed:
            state, verdict = NO_ANSWER, Verdict.NO_ANSWER
            cause = answer.failed if answer else not_asked(result, probe)
        else:
            good, cause = text.startswith(toy.begins), ""
            state, verdict = ("as it begins", Verdict.HOLDS) if good else ("other", Verdict.BROKEN)
        return Row(
            kind=self.name, probe=probe, subject=toy.file, state=state, verdict=verdict, cause=cause,
            expected=f"begins with {toy.begins}", observed=text, answer=state if cause == "" else "",
        )

    def shown(self, result, row):
        yield "the file says", row.observed


KIND = ToyKind()
"""

AGENT = """
class Prober:
    def __init__(self, libbpf, folder):
        pass

    def ask(self, body):
        with open("/proc/sys/" + body["file"]) as file:
            return {"text": file.read().strip()}
"""

MATRIX = """\
kernels:
  - {debian: bookworm, series: "6.1"}
  - {debian: trixie, series: "6.12"}
architectures: [x86_64]
probes: [toys, {toy: kernel/ostype, begins: Linux}]
limits: {probe_s: 15}
"""
TOYS = """\
toys:
  - {id: release, file: kernel/osrelease, begins: "6.1."}
"""


@dataclass(frozen=True)
class Installed:
    """A project, and a copy of the package that has the toy."""

    root: Path
    package: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.package.parent), "COLUMNS": "160"}

    def __call__(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "runner", *words],
            cwd=self.root, capture_output=True, text=True, timeout=900, check=False,
            env=self.environment,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def json(self, *words: str, status: int = 0) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self(*words, "--format", "json", status=status))
        return document


@pytest.fixture
def runner(tmp_path: Path) -> Installed:
    package, root = tmp_path / "installed" / "runner", tmp_path / "project"
    shutil.copytree(ROOT / "runner", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "probes" / "toy").mkdir()
    (package / "probes" / "toy" / "__init__.py").write_text(KIND)
    (package / "agent" / "toy.py").write_text(AGENT)
    (root / "bpf").mkdir(parents=True)
    shutil.copy(ROOT / "matrix.lock", root)
    (root / "matrix.yaml").write_text(MATRIX)
    (root / "bpf" / "toys.yaml").write_text(TOYS)
    return Installed(root, package)


def test_nothing_else_names_the_kind(runner: Installed) -> None:
    naming = {
        path.relative_to(runner.package).as_posix()
        for path in runner.package.rglob("*.py")
        if "toy" in path.read_text().lower() or "toy" in path.name
    }
    assert naming == {"probes/toy/__init__.py", "agent/toy.py"}


RUN = "toy-run"


def interrupt(runner: Installed) -> None:
    """Start a run of both kernels, one after the other, and stop it when the first has its result."""
    argv = [sys.executable, "-m", "runner", "matrix", "run", "--slots", "1", "--run-id", RUN, "--format", "json"]
    with subprocess.Popen(argv, cwd=runner.root, env=runner.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        events = map(json.loads, process.stdout)
        next(event for event in events if event["event"] == "result")
        process.send_signal(signal.SIGINT)
        for _ in events:
            pass
    assert process.returncode == 130


def test_everything_that_works_on_probes_works_on_it(runner: Installed) -> None:
    interrupt(runner)
    resumed = runner("matrix", "run", "--resume", RUN, status=1)
    assert re.search(r"kernel/osrelease +│ = +│ x", resumed), resumed
    assert re.search(r"kernel/ostype +│ = +│ =", resumed), resumed
    assert "toy-release  6.12.117 (x86_64)" in resumed
    assert "4 toys: 3 hold, 1 broken" in resumed

    document = runner.json("report", "export", RUN)
    cells = {cell["id"]: {toy["probe"]: toy for toy in cell["toy"]} for cell in document["cells"]}
    old, new = cells
    assert cells[old]["toy-release"]["state"] == "as it begins"
    assert cells[new]["toy-release"]["verdict"] == "broken"
    assert cells[new]["toy-release"]["observed"].startswith("6.12.")
    assert cells[new]["toy-ostype"]["verdict"] == "holds"
    assert "the file says  6.12." in runner("cell", "show", new, "--probe", "toy-release")
    assert re.search(r",toy,toy-release,.*,broken,", runner("report", "export", "--format", "csv"))

    suites = ET.fromstring(runner("report", "export", "--format", "junit")).iter("testcase")  # noqa: S314  our own
    failed = {case.get("name") for case in suites if case.find("failure") is not None}
    assert any("toy-release" in str(name) for name in failed)

    diff = runner.json("report", "diff", old, new, status=1)
    assert "toy-release" in {change["probe"] for change in diff["changes"]}, diff
    assert "as it begins" in runner("kfunc", "kernel/osrelease", "--history")
    runner("report", "html", "--output", "site")
    assert "kernel/osrelease" in (runner.root / "site" / "index.html").read_text()

    found = runner("bisect", "toy-release", "--arch", "x86_64", "--from", "6.1.192", "--to", "6.12.117")
    assert re.search(r"last good +6\.1\.192", found), found
    assert re.search(r"first bad +6\.12\.", found), found
