"""A hunt on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.bisect.journal import Journal
from runner.errors import InfraError
from runner.model import Outcome, ProgType
from runner.results.hunts import Question, Reply, Why
from tests.unit.hunt_samples import kernels

QUESTION = Question(target="c:tc", kfunc="k", prog_type=ProgType.TC)
CANDIDATES = [it.candidate for it in kernels(100)]


def journal(reports: Path, **more: bool) -> Journal:
    return Journal.open(reports, QUESTION, CANDIDATES, slots=3, samples=2, **more)


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
