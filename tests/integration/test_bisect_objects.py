# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner bisect` about a user's own program, from its command line to what it prints; nothing is booted."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner import cli
from runner.bisect import boots, commits, releases
from runner.cli import bisect as command
from runner.cli import booting
from runner.engine import plan
from runner.engine.plan import CellOrder, Plan, RunEnd
from runner.model import Answer, Ask, CellResult, Outcome
from runner.project import Project
from tests.integration.test_bisect_commits import Kernels, history
from tests.integration.test_object_files import build
from tests.samples import ROOT
from tests.unit.bisect_samples import Rounds, kernels, since

SOURCE = """
int ingress(void *c) __attribute__((section("tc"), used)); int ingress(void *c) { return 0; }
int egress(void *c) __attribute__((section("tc"), used)); int egress(void *c) { return 0; }
"""
CHANGELOG = """\
linux (6.12.14-1) trixie; urgency=medium

  * New upstream stable update:
    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.12.14
    - bpf: one of many
    - bpf: Relax scalar id equivalence for state pruning
    - bpf: Fix accesses to uninit stack slots

 -- A Maintainer <a@example.org>  Thu, 15 Oct 2026 15:02:11 +0200
"""
LOADED = {"errno": 0, "type": "sched_cls", "log": "processed %d insns (limit 1000000) max_states_per_insn 0 "
          "total_states 2 peak_states 1 mark_read 0\n"}  # fmt: skip
OBJECTS = ROOT / "tests" / "data" / "objects"
# what 6.1.190 and 6.12.57 answered
REFUSED: dict[str, dict[str, Any]] = {
    "calls": {"errno": 22, "words": "libbpf: map 'calls': failed to initialize slot [1] to prog 'tail' fd=7: -22\n"},
    "opts": {
        "errno": 13,
        "type": "sched_cls",
        "words": "libbpf: prog 'unwritten': BPF program load failed: Permission denied\n",
        "log": "12: (85) call bpf_skb_ct_lookup#101250\ninvalid indirect read from stack R4 off -56+0 size 12\n"
        "arg#3 arg#4 memory, len pair leads to invalid memory access\nprocessed 13 insns (limit 1000000)\n",
    },
    "lb": {"errno": 13, "type": "sched_cls", "log": "R1 invalid mem access 'scalar'\n"},
    "edge": {"errno": 13, "type": "sched_cls", "log": "R1 invalid mem access 'scalar'\n"},
}


@dataclass
class ObjectRounds(Rounds):
    """Each kernel answers an object: where `says` is 0, its programs load, after 100 instructions a version."""

    asks: list[Ask] = field(default_factory=list)
    pushed: set[str] = field(default_factory=set)

    def __call__(self, plan: Plan, sinks: Any) -> RunEnd:
        self.pushed |= {name for files in plan.payload.values() for name in files}
        return super().__call__(plan, sinks)

    def _result(self, order: CellOrder) -> CellResult:
        kernel = order.cell.kernel
        build = kernel.package_version if kernel.packages else kernel.release
        self.asked.append(build)
        (ask,) = order.asks
        self.asks.append(ask)
        insns = 100 * kernel.upstream.patch
        loaded = {**LOADED, "log": str(LOADED["log"]) % insns}
        body: dict[str, Any] = REFUSED[ask.probe] if self.says(build) else loaded
        items = (ask.only,) if ask.only else ("@together", *ask.programs)
        answers = [Answer(kind=ask.kind, probe=ask.probe, item=item, body=body) for item in items]
        whole = Answer(kind=ask.kind, probe=ask.probe)
        return CellResult(cell=order.cell, outcome=Outcome.RAN, attempts=order.attempt, answers=(*answers, whole))


class ObjectBisecter:
    def __init__(self, root: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._patch, self._capsys = root, patch, capsys

    @property
    def file(self) -> Path:
        return self.root / "build" / "lb.bpf.o"

    def __call__(self, rounds: Rounds, target: str, *words: str) -> tuple[int, str, str]:
        self._patch.setattr(boots, "execute", rounds)
        matrix = ("--matrix", str(self.root / "matrix.yaml"), "--arch", "x86_64")
        series = () if "--git" in words else ("--series", "6.12")
        status = cli.run(["bisect", target, *series, *words, *matrix])
        said = self._capsys.readouterr()
        return status, said.out, said.err

    def change(self, rounds: Rounds, target: str) -> dict[str, Any]:
        """The only change that was found."""
        status, out, err = self(rounds, target, "--format", "json")
        assert status == 0, err
        (change,) = json.loads(out)["found"]["changes"]
        found: dict[str, Any] = change
        return found


@pytest.fixture
def bisecter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> ObjectBisecter:
    shutil.copytree(ROOT / "bpf", tmp_path / "bpf")
    for name in ("matrix.yaml", "matrix.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(os, "fsync", lambda _file: None)  # nobody pulls the plug here
    monkeypatch.setattr(plan, "payload", lambda _image, objects, _cache, **_more: dict(objects))
    monkeypatch.setattr(booting, "default_slots", lambda _cells: 2)
    monkeypatch.setattr(releases, "changelog_of", lambda *_args, **_more: CHANGELOG)
    monkeypatch.setattr(command, "every_kernel", lambda *_args, **_more: kernels(20))
    made = ObjectBisecter(tmp_path, monkeypatch, capsys)
    made.file.parent.mkdir()
    build(SOURCE, made.file)
    return made


def test_a_program_of_a_file_that_no_project_names(bisecter: ObjectBisecter) -> None:
    rounds, file = ObjectRounds(since(14)), build(OBJECTS / "opts.bpf.c", bisecter.root / "opts.bpf.o")
    change = bisecter.change(rounds, f"{file}/unwritten")
    good, bad = change["last_good"], change["first_bad"]
    assert [(it["version"], it["answer"], it["probe"]) for it in (good, bad)] == [
        ("6.12.13", "loads", "opts/unwritten"),
        ("6.12.14", "refused", "opts/unwritten"),
    ]
    assert bad["reason"].startswith("arg#3 arg#4 memory")
    assert [line["text"] for line in change["changelog"]] == ["bpf: Fix accesses to uninit stack slots"]
    assert {(ask.probe, ask.only, ask.careful) for ask in rounds.asks} == {("opts", "unwritten", True)}
    # the run has the very bytes, and shows them without the file
    file.unlink()
    project = Project.at(bisecter.root / "matrix.yaml").of_run(bad["run"])
    (known,) = project.expectations.known["objects"]
    assert {f"{digest}.bpf.o" for digest in known.digests.values()} <= rounds.pushed
    shown = cli.run(["cell", "show", bad["cell"], "--run", bad["run"], "--matrix", str(bisecter.root / "matrix.yaml")])
    assert shown == 0


def test_a_program_of_an_object_of_the_project(bisecter: ObjectBisecter) -> None:
    (bisecter.root / "bpf" / "mine.yaml").write_text("objects:\n  - {id: edge, file: build/lb.bpf.o}\n")
    matrix = bisecter.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("conntrack, traffic", "mine, conntrack, traffic"))
    rounds = ObjectRounds(since(14))
    assert bisecter.change(rounds, "edge/egress")["first_bad"]["version"] == "6.12.14"
    assert {(ask.probe, ask.only) for ask in rounds.asks} == {("edge", "egress")}
    assert not [name for name in rounds.pushed if name.startswith("conntrack")]


def test_over_the_commits_of_the_kernel(bisecter: ObjectBisecter, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Kernels()
    monkeypatch.setenv("RUNNER_CACHE", str(bisecter.root / "cache"))
    monkeypatch.setattr(commits, "build_kernel", made.build)
    monkeypatch.setattr(commits, "lock_kernels", made.lock)
    ids = history(bisecter.root / "linux", "good 1", "good 2", "bad 3", "bad 4")
    rounds = ObjectRounds(lambda kernel: 0 if kernel == "good" else -22)
    words = ("--git", str(bisecter.root / "linux"), "--good", ids[0], "--bad", ids[3], "--format", "json")
    status, out, err = bisecter(rounds, f"{bisecter.file}/ingress", *words)
    assert status == 0, err
    (change,) = json.loads(out)["found"]["changes"]
    assert (change["first_bad"]["commit"], change["first_bad"]["answer"]) == (ids[2], "refused")
    assert {(ask.probe, ask.only) for ask in rounds.asks} == {("lb", "ingress")}


def test_a_whole_file_is_asked_together_and_by_its_parts(bisecter: ObjectBisecter) -> None:
    rounds, file = ObjectRounds(since(14)), build(OBJECTS / "calls.bpf.c", bisecter.root / "calls.bpf.o")
    bad = bisecter.change(rounds, str(file))["first_bad"]
    assert (bad["probe"], bad["answer"]) == ("calls/@together", "refused tail-call calls")
    assert {(ask.only, ask.careful) for ask in rounds.asks} == {("", False)}


def test_a_number_of_a_program(bisecter: ObjectBisecter) -> None:
    change = bisecter.change(ObjectRounds(since(99)), f"{bisecter.file}/ingress:insns > 1_350")
    assert [(change[end]["version"], change[end]["answer"]) for end in ("last_good", "first_bad")] == [
        ("6.12.13", "insns<=1350"),
        ("6.12.14", "insns>1350"),
    ]
    assert change["first_bad"]["evidence"]["insns"] == "1400"
    assert [line["text"] for line in change["changelog"]] == ["bpf: Relax scalar id equivalence for state pruning"]


def test_what_was_not_counted_is_no_answer(bisecter: ObjectBisecter) -> None:
    status, _, err = bisecter(ObjectRounds(since(99)), f"{bisecter.file}/ingress:jited_bytes>1")
    assert status == 2
    assert "bytes was not counted; there are insns" in err


def test_answers_in_the_store_are_those_of_the_same_bytes(bisecter: ObjectBisecter) -> None:
    target = f"{bisecter.file}/ingress"
    bisecter.change(ObjectRounds(since(14)), target)
    same, other = ObjectRounds(since(14)), ObjectRounds(since(5))
    assert "known from the store" in bisecter(same, target)[1]
    build(SOURCE.replace("return 0", "return 1"), bisecter.file)
    assert "known from the store" not in bisecter(other, target)[1]
    assert len(same.asked) < len(other.asked)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("{file}/ingres", "lb/ingress"),
        ("{file}/ingress:tc", "lb/ingress"),
        ("{root}/none.bpf.o/ingress", "no object file matches"),
        ("{root}/build/l*.bpf.o/ingress", "names several objects: lb, lb2"),
        ("{root}/build[1]/lb.bpf.o/ingres", "lb/ingress"),
        ("nat-manip-2:insns>5", "counts nothing"),
        ("{file}/ingress:inns>5", "did you mean 'insns'?"),
    ],
)
def test_what_is_wrong_is_said(bisecter: ObjectBisecter, target: str, says: str) -> None:
    shutil.copytree(bisecter.root / "build", bisecter.root / "build[1]")
    shutil.copy(bisecter.file, bisecter.file.with_name("lb2.bpf.o"))
    status, _, err = bisecter(ObjectRounds(since(14)), target.format(file=bisecter.file, root=bisecter.root))
    assert status == 64
    assert says in err
