# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a bisection makes of its evidence: declarations, known issues, builds of one version; and how it is said."""

from __future__ import annotations

from functools import cache

import pytest

from runner.bisect.conclude import BisectEvidence
from runner.bisect.releases import candidate_of, chosen, ordered
from runner.bisect.target import find
from runner.model import CellResult
from runner.reports.bisection import commands, declared_difference, issue_words, labels, remarks, summary, what_differs
from runner.results.bisections import AnswerChange, Bisection, Candidate, ChangeEnd, Conclusion, Reply, Why
from tests.unit import agent_samples as samples
from tests.unit import results_samples
from tests.unit.bisect_samples import kernel
from tests.unit.test_bisect_target import expectations


def change(old: tuple[str, ...], new: tuple[str, ...]) -> AnswerChange:
    good, bad = (
        ChangeEnd(
            arch="x86_64",
            version="6.12.1",
            release=name,
            answer="usable",
            boots=2,
            agree=2,
            confirmed=True,
            run="bisect-1",
            cell="c",
            declared=lines,
        )
        for name, lines in (("old", old), ("new", new))
    )
    return AnswerChange(last_good=good, first_bad=bad, differs="version")


def test_a_structure_that_grew_is_shown_with_its_sizes_and_members() -> None:
    old = ("int f(void);", "", "struct opts: 12 bytes", "   0  4  s32 netns_id")
    assert declared_difference(change(old, (*old[:2], "struct opts: 16 bytes", old[3], "  12  2  u16 zone"))) == [
        "  int f(void);",
        "",
        "- struct opts: 12 bytes",
        "+ struct opts: 16 bytes",
        "     0  4  s32 netns_id",
        "+   12  2  u16 zone",
    ]


def test_what_is_the_same_or_was_not_told_is_no_difference() -> None:
    same = ("int f(void);", "struct opts: 12 bytes")
    assert declared_difference(change(same, same)) == ["int f(void);", "(the same on both)"]
    assert declared_difference(change((), ())) == []
    assert not any(line[0] in "-+" for line in declared_difference(change(same, ())))


REAL = {
    "6.12.117": samples.result("6.12.117"),
    "6.18.15": samples.result("6.18.15"),
    "6.18.15-arm64": samples.result("6.18.15", "arm64"),
}


@cache
def bisected(target: str, *names: str) -> Bisection:
    """As if these real kernels had been asked twice each."""
    asked = find(target, expectations())
    results = {name: REAL[name] for name in names}
    replies = [
        Reply(candidate=name, why=Why.CONFIRM, answer=asked.read(result).answer, run="bisect-1", cell=result.cell.id)
        for name, result in results.items()
        for _ in range(2)
    ]
    bisection = Bisection(
        id="bisect-1",
        key="k",
        question=asked.question,
        started=results_samples.STARTED,
        candidates=tuple(_candidate(name, result) for name, result in results.items()),
        replies=tuple(replies),
    )
    evidence = BisectEvidence(bisection, asked, {name: [it] for name, it in results.items()})
    return bisection.model_copy(update={"found": evidence.conclusion()})


def found(target: str, *names: str) -> Conclusion:
    end = bisected(target, *names).found
    assert end
    return end


def _candidate(name: str, result: CellResult) -> Candidate:
    locked = result.cell.kernel
    return Candidate(
        key=name, version=locked.version, release=locked.release, arch=locked.arch, source=locked.source, build="1"
    )


@pytest.mark.parametrize("target", ["nat-source", "bpf_ct_set_nat_info"])
def test_a_change_that_a_known_issue_explains_is_called_so(target: str) -> None:
    bisection = bisected(target, "6.12.117", "6.18.15")
    (change,) = found(target, "6.12.117", "6.18.15").changes
    assert (change.last_good.known_issue, change.first_bad.known_issue) == ("", "debian-amd64-module-btf")
    assert issue_words(change) == "6.18.15 (1) x86_64 shows the known issue debian-amd64-module-btf"
    assert ": known issue debian-amd64-module-btf" in summary(bisection)
    assert any("was not deduplicated against vmlinux" in line for line in remarks(bisection))


def test_no_change_may_be_a_known_issue_as_well() -> None:
    assert "known issue debian-amd64-module-btf" in summary(bisected("nat-source", "6.18.15"))
    assert not found("lookup-not-gpl", "6.18.15").known_issues


def test_what_another_change_is_goes_before_a_known_issue() -> None:
    """The issue comes last here, and is still not what the bisection is about."""
    end = found("nat-source", "6.12.117", "6.18.15")
    (issue,) = end.changes
    own = issue.model_copy(update={"first_bad": issue.last_good})
    assert end.model_copy(update={"changes": (own, issue)}).main == own
    assert end.main == issue


def test_one_version_is_a_difference_of_builds() -> None:
    (change,) = found("nat-source", "6.18.15", "6.18.15-arm64").changes
    assert what_differs(change) == (
        "same version, different answers: a difference of builds (another architecture), not of versions"
    )
    assert labels(change) == ("one build", "another")
    assert change.git_range == ""


def test_a_range_is_of_one_configuration_and_a_version_of_all() -> None:
    plain, rt, newer = kernel(90), kernel(90, variant="rt"), kernel(91)
    assert len({candidate_of(it).key for it in (plain, rt, newer)}) == 3
    some = ordered([newer, rt, plain])
    assert chosen(some, series="6.12") == (plain, newer)
    assert chosen(some, version="6.12.90") == (plain, rt)
    assert chosen(some, first=rt.release) == (rt,)
    arm, arm_rt = kernel(90, arch="arm64"), kernel(90, arch="arm64", variant="rt")
    both = ordered([*some, arm, arm_rt])
    assert chosen(both, version="6.12.90") == (arm_rt, arm, plain, rt)  # neighbours differ in one thing


def test_the_commands_ask_the_same_cell() -> None:
    (change,) = found("nat-source", "6.12.117", "6.18.15").changes
    cell = REAL["6.12.117"].cell.id
    shown = [line for line in commands(change) if f" {cell} " in line]
    assert shown == [f"runner cell {word} {cell} --run bisect-1 --probe nat-source:tc" for word in ("show", "repro")]
    (of_state,) = found("bpf_ct_set_nat_info", "6.12.117", "6.18.15").changes
    assert of_state.last_good.show == f"runner cell show {cell} --run bisect-1 --all"
    assert of_state.last_good.repeat == f"runner cell repro {cell} --run bisect-1"
