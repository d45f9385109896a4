# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A bisection on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.bisect.boots import Journal, begun
from runner.bisect.releases import candidate_of
from runner.model import Outcome
from runner.results.bisections import BisectionQuestion, Reply, Why
from runner.results.store import ResultStore
from tests.unit.bisect_samples import kernels

QUESTION = BisectionQuestion(target="c:tc", subject="k", type="tc")
CANDIDATES = tuple(map(candidate_of, kernels(100)))


def journal(store: ResultStore, key: str = "k") -> Journal:
    new = begun(key, QUESTION, CANDIDATES).model_copy(update={"slots": 3, "samples": 2})
    return Journal(store, new, "0" * 64)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResultStore]:
    with ResultStore(tmp_path / "results.db") as opened:
        yield opened


def test_a_finished_bisection_is_not_resumed(store: ResultStore) -> None:
    first = journal(store)
    first.finish()
    assert journal(store).bisection.id != first.bisection.id


def test_another_question_is_another_bisection(store: ResultStore) -> None:
    first = journal(store)
    first.keep()
    assert journal(store).bisection.id == first.bisection.id
    assert journal(store, "other").bisection.id != first.bisection.id


def test_the_machines_fault_is_forgotten(store: ResultStore) -> None:
    first = journal(store)
    first.replies += [
        Reply(candidate=CANDIDATES[0].key, why=Why.ENDS, cause="no space", outcome=Outcome.INFRA_FAILED),
        Reply(candidate=CANDIDATES[1].key, why=Why.ENDS, cause="panic", outcome=Outcome.BOOT_FAILED),
    ]
    first.keep()
    assert [reply.cause for reply in journal(store).replies] == ["panic"]
