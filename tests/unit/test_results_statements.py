# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is said, held against what real kernels answered."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import pytest

from runner.model import CellResult, Crash, Outcome
from runner.probes import Expectations
from runner.probes.claims.answers import Observation
from runner.reports.documented import statements_report
from runner.results.model import JudgedRun, Run, judge_run
from runner.results.statements import Standing, Statement, statements
from tests.answers import seen_of, with_answers
from tests.samples import ROOT
from tests.unit.agent_samples import cell, result
from tests.unit.rendering import render

REAL = (("6.1.192", "x86_64"), ("6.12.117", "x86_64"), ("6.18.15", "arm64"), ("6.18.15", "x86_64"), ("7.3.4", "x86_64"))
EXPECTATIONS = Expectations.load(ROOT, ["conntrack", "traffic"])
SAID = EXPECTATIONS.said()


def judged(*results: CellResult) -> JudgedRun:
    run = Run(
        id="one",
        started=datetime(2026, 11, 3, tzinfo=UTC),
        matrix_sha256="d" * 64,
        runner_version="0.1.0",
        cells=tuple(one.cell for one in results),
        results=results,
    )
    return judge_run(run, EXPECTATIONS)


@cache
def real() -> JudgedRun:
    return judged(*(result(*each) for each in REAL))


def statement(of: JudgedRun, probe: str, ref: str = "") -> Statement:
    found = [one for one in statements(of, SAID) if probe in one.probes and ref in one.ref]
    assert len(found) == 1, [one.ref for one in found]
    return found[0]


@pytest.mark.parametrize(
    ("probe", "ref", "standing", "turn"),
    [
        ("alloc-tcp:tc", "Allocate a new CT entry", Standing.TRUE, None),
        ("alloc-enoent:tc", "", Standing.FALSE, None),
        ("alloc-in-xdp:xdp", "", Standing.FALSE, None),
        ("alloc-opts-size-must-be-12:tc", "-EINVAL", Standing.OUT_OF_DATE, ("6.1.192", "6.12.117")),
        ("alloc-opts-size-must-be-12:tc", "must be 12", Standing.OUT_OF_DATE, ("6.1.192", "6.12.117")),
        ("alloc-null-tuple:tc", "", Standing.OUT_OF_DATE, ("6.18.15", "7.3.4")),
        ("lookup-opts-size-16:tc", "must be 12", Standing.OUT_OF_DATE, ("6.1.192", "6.12.117")),
        ("nat-port-0:tc", "random", Standing.FALSE, None),  # where the program is refused, nothing follows
        ("change-status-adds:xdp", "is the new value", Standing.FALSE, None),
        ("lookup-unchecked:xdp", "KF_RET_NULL", Standing.TRUE, None),
        ("alloc-reserved:tc", "-EINVAL", Standing.TRUE, None),
        ("zone-found:tc", "", Standing.SINCE, ("6.1.192", "6.12.117")),
        ("alloc-opts-size-4:tc", "", Standing.DEPENDS, None),  # 6.18 never got the fix
        ("mark-write:tc", "", Standing.TRUE, None),  # where it is false, a known issue is why
    ],
)
def test_standings_of_real_statements(probe: str, ref: str, standing: Standing, turn: tuple[str, str] | None) -> None:
    found = statement(real(), probe, ref)
    assert (found.standing, found.turn) == (standing, turn)


def test_a_page_is_about_its_own_kfunc() -> None:
    """What bpf_xdp_ct_alloc answers says nothing about the page of bpf_skb_ct_alloc."""
    found = [one for one in statements(real(), SAID, "ebpf-docs") if one.ref.startswith("bpf_skb_ct_alloc:")]
    assert {one.source for one in found} == {"ebpf-docs"}
    probes = {probe for one in found for probe in one.probes}
    assert {probe for probe in probes if not probe.endswith(":tc")} == {"alloc-in-xdp:xdp"}


def test_every_sentence_of_the_page_is_covered() -> None:
    found = (one.ref for one in statements(real(), SAID, "ebpf-docs"))
    refs = "\n".join(ref for ref in found if ref.startswith("bpf_skb_ct_alloc:"))
    for sentence in (
        "v6.0", "Allocate a new", "prototype",
        "bpf_tuple cannot be NULL", "opts cannot be NULL", "tuple__sz is the size",
        "netns_id -1", "netns_id 0 to S32_MAX", "-EINVAL, bpf_tuple is NULL", "-EINVAL, opts->reserved",
        "-EINVAL, netns_id", "-EINVAL, opts__sz", "-EPROTO", "-ENONET", "-ENOENT", "-EAFNOSUPPORT", "opts.l4proto is",
        "opts.reserved must be 0", "opts__sz must be 12", "KF_ACQUIRE", "KF_RET_NULL", "BPF_PROG_TYPE_SCHED_CLS",
        "BPF_PROG_TYPE_XDP",
    ):  # fmt: skip
        assert sentence in refs


def test_one_false_claim_makes_a_sentence_false_and_says_which() -> None:
    found = statement(real(), "alloc-opts-size-8:tc")
    wrong = [decided for decided in found.decided if not decided.true]
    assert len(wrong) == 1
    assert wrong[0].why == "alloc-opts-size-must-be-12:tc: error not written, acquired 1"
    assert set(wrong[0].cells) == {cell_id for cell_id in (f"{v}-{a}" for v, a in REAL) if cell_id != "6.1.192-x86_64"}


def test_where_nothing_was_answered_nothing_is_decided() -> None:
    for nothing in (
        judged(CellResult(cell=cell("6.12.117"), outcome=Outcome.BOOT_FAILED, cause="panic")),
        judged(result("6.12.117", "x86_64-without-jit")),
        judged(CellResult(cell=cell("6.12.117"), outcome=Outcome.RAN)),
    ):
        found = statements(nothing, SAID)
        assert len(found) > 90
        assert {one.standing for one in found} == {Standing.OPEN}
        assert all(one.decided == () and one.open[0].cause for one in found)
    assert "not decided by these kernels" in render(statements_report(nothing, found))


def test_an_unanswered_part_leaves_a_sentence_open() -> None:
    seen = result("6.1.192")
    part = tuple(
        Observation(probe=one.probe, failed="bug") if one.probe == "alloc-opts-size-8:tc" else one
        for one in seen_of(seen)
    )
    found = statement(judged(with_answers(seen, claims=part)), "alloc-opts-size-8:tc")
    assert (found.standing, found.open[0].cause) == (Standing.OPEN, "bug")


def test_a_crash_makes_a_statement_false() -> None:
    seen = result("6.12.117").model_copy(update={"crashes": (Crash(probe="alloc-udp:tc"),)})
    found = statement(judged(seen), "alloc-udp:tc")
    assert found.standing is Standing.FALSE
    assert found.decided[0].why == "alloc-udp:tc: crashed the kernel"


def test_statements_are_shown() -> None:
    found = statements(real(), SAID, "ebpf-docs")
    shown = render(statements_report(real(), found))
    assert "out of date: true up to 6.1.192, false from 6.12.117 on  opts__sz must be 12" in shown
    assert "false on every kernel: alloc-enoent:tc: error not written, acquired 1" in shown
    assert f"{len(found)} statements: " in shown
