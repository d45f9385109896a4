"""Verdicts about one kfunc over many nights: those that each night by itself has, and each answer judged once."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from unittest.mock import patch

import pytest

from runner.model import CellResult, ClaimVerdict, Crash, Verdict
from runner.model.version import KernelVersion
from runner.probes import judge, judge_one, questions
from runner.probes.old import OldJudge, of
from runner.results import verdicts
from runner.results.series import measurements
from runner.results.store import ResultStore
from runner.results.verdicts import VerdictsAbout
from tests.unit import agent_samples
from tests.unit import results_samples as samples

CLAIMS = agent_samples.claims()
KNOWLEDGE = OldJudge(of(CLAIMS))
KFUNCS = ("bpf_skb_ct_alloc", "bpf_ct_set_timeout", "bpf_ct_release")


def keep(path: Path, *nights: CellResult) -> Path:
    with ResultStore(path / "results.db") as store:
        for night, result in enumerate(nights):
            run = samples.run(run_id=f"night-{night}", cells=(result.cell,))
            store.begin(run)
            store.add(run.id, result)
    return path / "results.db"


def with_fields(result: CellResult, by: int) -> CellResult:
    """Every program counted another number."""
    seen = [
        each.model_copy(update={"fields": {name: value + by for name, value in each.fields.items()}})
        for each in result.observations
    ]
    return result.model_copy(update={"observations": tuple(seen)})


def without_module(result: CellResult) -> CellResult:
    facts = result.facts.model_copy(update={"modules": {"nf_conntrack": "no such file"}})
    seen = tuple(each.model_copy(update={"failed": "no entry"}) for each in result.observations)
    return result.model_copy(update={"facts": facts, "observations": seen})


def crashed(result: CellResult) -> CellResult:
    gone = tuple(each for each in result.observations if not each.probe.startswith("alloc-tcp"))
    return result.model_copy(update={"observations": gone, "crashes": (Crash(probe="alloc-tcp:tc", cause="Oops"),)})


def of_version(result: CellResult, version: str) -> CellResult:
    return result.model_copy(update={"cell": agent_samples.cell(version)})


@pytest.mark.parametrize("kfunc", KFUNCS)
def test_each_night_has_the_verdicts_that_it_has_by_itself(tmp_path: Path, kfunc: str) -> None:
    real, old = agent_samples.result("6.12.117"), agent_samples.result("6.1.192")
    path = keep(
        tmp_path,
        real,
        with_fields(real, 1),
        real,
        without_module(real),
        crashed(real),
        *(of_version(real, version) for version in ("6.12.1", "6.12.90", "6.12.130")),
        old,
        of_version(old, "6.1.1"),
        agent_samples.result("7.3.4"),
    )
    with ResultStore(path, read_only=True) as store:
        about = VerdictsAbout(kfunc, store, CLAIMS)
        for each in measurements(store, KNOWLEDGE):
            alone = judge(store.result(each.final), CLAIMS)
            assert about(each) == tuple(verdict for verdict in alone if verdict.kfunc == kfunc)


def test_a_call_that_another_prototype_leaves_out_is_no_answer(tmp_path: Path) -> None:
    """It takes the census to know so."""
    real = agent_samples.result("6.12.117", "x86_64-with-other-prototype")
    with ResultStore(keep(tmp_path, real), read_only=True) as store:
        (night,) = measurements(store, KNOWLEDGE)
        told = VerdictsAbout("bpf_ct_set_timeout", store, CLAIMS)(night)
    assert any(it.verdict is Verdict.NO_ANSWER and it.cause.startswith("signature differs: ") for it in told)


def test_each_different_answer_is_judged_once(tmp_path: Path) -> None:
    real = agent_samples.result("6.12.117")
    with ResultStore(keep(tmp_path, real, real, of_version(real, "6.12.118")), read_only=True) as store:
        about = VerdictsAbout("bpf_skb_ct_alloc", store, CLAIMS)
        with patch.object(verdicts, "judge_one", side_effect=judge_one) as judged:
            told = [about(each) for each in measurements(store, KNOWLEDGE)]
    assert judged.call_count == len(told[0])
    assert all(mine is first for night in told for mine, first in zip(night, told[0], strict=True))


def test_versions_of_one_essence_have_equal_verdicts() -> None:
    """At each point from which on another answer is expected, and on both sides of it."""
    real = agent_samples.result("7.3.4")
    for question in questions(CLAIMS):
        spans = (question.claim.interval, *(it.interval for it in question.claim.expect))
        points = {point for span in spans for point in (*span.since, *span.until)}
        versions = {KernelVersion(it.major, it.minor, patch) for it in points for patch in (0, it.patch, it.patch + 1)}
        seen = next((it for it in real.observations if it.probe == question.probe), None)
        told: dict[Hashable, ClaimVerdict] = {}
        for version in versions:
            verdict = judge_one(of_version(real, str(version)), question, seen)
            assert told.setdefault(question.essence(version), verdict) == verdict
