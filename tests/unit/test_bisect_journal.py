"""A bisection on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.bisect.candidates import candidate_of
from runner.bisect.journal import Journal, begun
from runner.errors import InfraError
from runner.model import Outcome
from runner.results.bisections import BisectionQuestion, Reply, Why
from tests.unit.bisect_samples import kernels

QUESTION = BisectionQuestion(target="c:tc", subject="k", type="tc")
CANDIDATES = tuple(map(candidate_of, kernels(100)))


def journal(reports: Path, key: str = "k") -> Journal:
    return Journal.open(reports, begun(key, QUESTION, CANDIDATES).model_copy(update={"slots": 3, "samples": 2}))


def test_a_finished_bisection_is_not_resumed(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.finish()
    assert journal(tmp_path).bisection.id != first.bisection.id


def test_another_question_is_another_bisection(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.keep()
    assert journal(tmp_path).bisection.id == first.bisection.id
    assert journal(tmp_path, "other").bisection.id != first.bisection.id


def test_the_machines_fault_is_forgotten(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.replies += [
        Reply(candidate=CANDIDATES[0].key, why=Why.ENDS, cause="no space", outcome=Outcome.INFRA_FAILED),
        Reply(candidate=CANDIDATES[1].key, why=Why.ENDS, cause="panic", outcome=Outcome.BOOT_FAILED),
    ]
    first.keep()
    assert [reply.cause for reply in journal(tmp_path).replies] == ["panic"]


def test_a_file_that_is_not_a_bisection_is_named(tmp_path: Path) -> None:
    (tmp_path / "bisections").mkdir()
    (tmp_path / "bisections" / "bisect-x.json").write_text("{}")
    with pytest.raises(InfraError, match="is not a bisection"):
        journal(tmp_path)
