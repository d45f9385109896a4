"""What a bisection makes of its evidence: structures, known issues, builds of one version; and how it is said."""

from __future__ import annotations

from functools import cache

import pytest

from runner.bisect.candidates import Range, ordered
from runner.bisect.conclude import conclude, finished, layout_differences
from runner.bisect.questions import Asked, find
from runner.bisect.search import Board
from runner.model import CellResult, StructConstant, StructLayout, StructMember
from runner.probes import load_issues, load_kfuncs
from runner.reports.bisection import issue_words, labels, remarks, summary, what_differs
from runner.reports.layouts import layout_difference
from runner.results.bisections import Answered, Bisection, Candidate, Reply, Why
from tests.unit import agent_samples as samples
from tests.unit import results_samples
from tests.unit.bisect_samples import kernel

KNOWN = load_kfuncs(samples.ROOT)
ISSUES = load_issues(samples.ROOT)
ZONE = StructMember(name="ct_zone_id", type="u16", offset=12, size=2)
SHORT = StructLayout(
    name="bpf_ct_opts",
    size=12,
    members=(StructMember(name="netns_id", type="s32", offset=0, size=4),),
    constants=(StructConstant(name="NF_BPF_CT_OPTS_SZ", value=12),),
)
LONG = SHORT.model_copy(
    update={
        "size": 16,
        "members": (*SHORT.members, ZONE),
        "constants": (StructConstant(name="NF_BPF_CT_OPTS_SZ", value=16),),
    }
)


def side(*layouts: StructLayout, prototype: str = "int f(void)") -> Answered:
    return Answered(
        version="6.12.1",
        release="6.12.1+deb13-amd64",
        arch="x86_64",
        source="debian:trixie/6.12.1",
        suite="trixie",
        answer="usable",
        boots=2,
        agree=2,
        confirmed=True,
        run="bisect-1",
        cell="6.12.1-x86_64",
        prototype=prototype,
        layouts=layouts,
    )


def test_a_structure_that_grew_is_shown_with_its_sizes_and_members() -> None:
    (grown,) = layout_differences(side(SHORT), side(LONG))
    assert layout_difference(grown) == [
        "- struct bpf_ct_opts: 12 bytes; NF_BPF_CT_OPTS_SZ = 12",
        "+ struct bpf_ct_opts: 16 bytes; NF_BPF_CT_OPTS_SZ = 16",
        "       0    4  s32 netns_id",
        "+     12    2  u16 ct_zone_id",
    ]


def test_what_is_the_same_or_was_not_told_is_no_difference() -> None:
    assert layout_differences(side(SHORT), side(SHORT)) == ()
    assert layout_differences(side(SHORT), side(prototype="")) == ()
    (gone,) = layout_differences(side(SHORT), side())
    assert all(line.startswith("- ") for line in layout_difference(gone))


REAL = {
    "6.12.117": samples.result("6.12.117"),
    "6.18.15": samples.result("6.18.15"),
    "6.18.15-arm64": samples.result("6.18.15", "arm64"),
}


@cache
def bisectioned(target: str, *names: str) -> Bisection:
    """As if these real kernels had been asked twice each."""
    asked: Asked = find(target, samples.claims(), KNOWN)
    results = {name: REAL[name] for name in names}
    candidates = tuple(_candidate(name, result) for name, result in results.items())
    replies = [
        Reply(
            candidate=name,
            why=Why.CONFIRM,
            answer=asked.read(result).answer,
            run="bisect-1",
            cell=result.cell.id,
        )
        for name, result in results.items()
        for _ in range(2)
    ]
    bisection = Bisection(
        id="bisect-1",
        key="k",
        question=asked.question,
        started=results_samples.STARTED,
        slots=2,
        samples=0,
        candidates=candidates,
        replies=tuple(replies),
    )
    found = conclude(bisection, Board(names, replies), asked, {name: [it] for name, it in results.items()}, ISSUES)
    return finished(bisection, found)


def _candidate(name: str, result: CellResult) -> Candidate:
    locked = result.cell.kernel
    return Candidate(
        key=name, version=locked.version, release=locked.release, arch=locked.arch, source=locked.source, build="1"
    )


@pytest.mark.parametrize("target", ["nat-source", "bpf_ct_set_nat_info"])
def test_a_change_that_a_known_issue_explains_is_called_so(target: str) -> None:
    bisection = bisectioned(target, "6.12.117", "6.18.15")
    assert bisection.found
    (change,) = bisection.found.changes
    assert (change.last_good.known_issue, change.first_bad.known_issue) == ("", "debian-amd64-module-btf")
    assert issue_words(change) == "6.18.15 (1) x86_64 shows the known issue debian-amd64-module-btf"
    assert ": known issue debian-amd64-module-btf" in summary(bisection)
    assert any("was not deduplicated against vmlinux" in line for line in remarks(bisection))


def test_no_change_may_be_a_known_issue_as_well() -> None:
    assert "known issue debian-amd64-module-btf" in summary(bisectioned("nat-source", "6.18.15"))
    assert not bisectioned("lookup-not-gpl", "6.18.15").found.known_issues  # type: ignore[union-attr]


def test_what_another_change_is_goes_before_a_known_issue() -> None:
    """The issue comes last here, and is still not what the bisection is about."""
    bisection = bisectioned("nat-source", "6.12.117", "6.18.15")
    assert bisection.found
    (issue,) = bisection.found.changes
    own = issue.model_copy(update={"first_bad": issue.last_good})
    assert bisection.found.model_copy(update={"changes": (own, issue)}).main == own
    assert bisection.found.main == issue


def test_one_version_is_a_difference_of_builds() -> None:
    bisection = bisectioned("nat-source", "6.18.15", "6.18.15-arm64")
    assert bisection.found
    (change,) = bisection.found.changes
    assert what_differs(change) == (
        "same version, different answers: a difference of builds (another architecture), not of versions"
    )
    assert labels(change) == ("one build", "another")
    assert change.stable_range == ""


def test_a_range_is_of_one_configuration_and_a_version_of_all() -> None:
    plain, rt, newer = kernel(90), kernel(90, variant="rt"), kernel(91)
    assert len({it.candidate.key for it in (plain, rt, newer)}) == 3
    some = ordered([newer, rt, plain])
    assert Range(series="6.12").select(some) == (plain, newer)
    assert Range(version="6.12.90").select(some) == (plain, rt)
    assert Range(first=rt.candidate.release).select(some) == (rt,)
    arm, arm_rt = kernel(90, arch="arm64"), kernel(90, arch="arm64", variant="rt")
    both = ordered([*some, arm, arm_rt])
    assert Range(version="6.12.90").select(both) == (arm_rt, arm, plain, rt)  # neighbours differ in one thing


def test_the_commands_ask_the_same_cell() -> None:
    bisection = bisectioned("nat-source", "6.12.117", "6.18.15")
    assert bisection.last_good
    cell = REAL["6.12.117"].cell.id
    assert bisection.last_good.show == f"runner cell show {cell} --run bisect-1 --probe nat-source:tc"
    assert bisection.last_good.again == f"runner cell repro {cell} --run bisect-1 --probe nat-source:tc"
    whole = bisectioned("bpf_ct_set_nat_info", "6.12.117", "6.18.15")
    assert whole.last_good
    assert whole.last_good.again.endswith("--probe nat-source:tc")  # a claim that shows the kfunc at work
    assert (whole.last_good.probe, whole.last_good.errno) == ("nat-source:tc", 0)
