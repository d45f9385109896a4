"""A hunt on the disk."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from runner.errors import InfraError
from runner.hunt.journal import Journal
from runner.hunt.search import Board, Tell, Want, search
from runner.model import Outcome, ProgType
from runner.results.hunts import Question, Reply, Why, load_hunts
from tests.unit.hunt_samples import kernels

QUESTION = Question(target="c:tc", kfunc="k", prog_type=ProgType.TC)
CANDIDATES = [it.candidate for it in kernels(100)]


def journal(reports: Path, **more: bool) -> Journal:
    return Journal.open(reports, QUESTION, CANDIDATES, slots=3, samples=2, **more)


def go_on(kept: Journal, asked: list[int], *, die_after: int = 1000) -> Board:
    def ask(batch: Sequence[Want], tell: Tell) -> None:
        for want in batch:
            if len(asked) == die_after:
                os.kill(os.getpid(), signal.SIGKILL)
            asked.append(want.at)
            tell(Reply(candidate=CANDIDATES[want.at].key, why=want.why, answer="new" if want.at >= 42 else "old"))

    keys = [candidate.key for candidate in CANDIDATES]
    return search(keys, kept.replies, ask, slots=3, samples=2, kept=kept.keep)


def test_killed_in_the_middle_it_goes_on(tmp_path: Path) -> None:
    whole: list[int] = []
    go_on(journal(tmp_path / "whole"), whole)
    child = os.fork()
    if child == 0:
        try:
            go_on(journal(tmp_path), [], die_after=7)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    kept = journal(tmp_path)
    assert kept.resumed
    assert len(kept.replies) == 7
    asked: list[int] = []
    board = go_on(kept, asked)
    assert [(gap.low, gap.high) for gap in board.edges] == [(41, 42)]
    assert 7 + len(asked) <= len(whole) + 2  # but for the round that was cut short
    assert [hunt.id for hunt in load_hunts(tmp_path)] == [kept.hunt.id]


def test_a_finished_hunt_is_not_gone_on_with(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.finish(first.hunt)
    assert journal(tmp_path).hunt.id != first.hunt.id


def test_another_question_is_another_hunt(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.keep()
    assert journal(tmp_path).hunt.id == first.hunt.id
    assert journal(tmp_path, every=True).hunt.id != first.hunt.id


def test_the_machines_fault_is_forgotten(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.replies += [
        Reply(candidate=CANDIDATES[0].key, why=Why.ENDS, cause="no space", outcome=Outcome.INFRA_FAILED),
        Reply(candidate=CANDIDATES[1].key, why=Why.ENDS, cause="panic", outcome=Outcome.BOOT_FAILED),
    ]
    first.keep()
    assert [reply.cause for reply in journal(tmp_path).replies] == ["panic"]


def test_a_file_that_is_no_hunt_is_said(tmp_path: Path) -> None:
    (tmp_path / "hunts").mkdir()
    (tmp_path / "hunts" / "hunt-x.json").write_text("{}")
    with pytest.raises(InfraError, match="is no hunt"):
        journal(tmp_path)
