# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Every change of a kfunc's answers, from run to run."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

from runner.model import Outcome, Row, Verdict
from runner.reports.over_time import history_document, history_report
from runner.results.history import Turn, history, signatures
from runner.results.series import Measured, builds
from tests.unit.tracking_samples import KFUNC, TC, XDP, A, Q, R, U, measured, simple, state


def turns(*kept: Measured) -> tuple[Turn, ...]:
    return history(kept, KFUNC, ["tc"])


def printed(what: RenderableType) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200, color_system=None).print(what)
    return stream.getvalue()


def test_only_changes_are_told() -> None:
    found = turns(*(simple("6.12.117", of, night=night) for night, of in enumerate([U, U, R, R, U])))
    assert [(turn.before, turn.after, turn.new.run) for turn in found] == [
        (None, "usable", "night-0"),
        ("usable", "registered: because registered", "night-2"),
        ("registered: because registered", "usable", "night-4"),
    ]


def test_missing_answers_are_no_change_and_are_counted() -> None:
    found = turns(
        simple("6.12.117", U, night=0),
        simple("6.12.117", Q, night=1),
        simple("6.12.117", U, night=2, outcome=Outcome.LOST),
        simple("6.12.118", A, night=3),
    )
    assert [(turn.after, turn.unanswered) for turn in found] == [("usable", 0), ("absent: because absent", 2)]
    assert found[1].old is not None
    assert (str(found[1].old.build), str(found[1].new.build)) == ("6.12.117", "6.12.118")


def test_kernels_of_the_matrix_and_architectures_have_histories_of_their_own() -> None:
    found = turns(
        simple("6.12.117", U, name="6.12"),
        simple("6.18.15", R, name="6.18"),
        simple("6.12.117", R, name="6.12", arch="arm64"),
        simple("6.12.117", U, name="6.12", night=1),
    )
    assert [turn.before for turn in found] == [None, None, None]


def claim(verdict: Verdict, observed: str) -> Row:
    return Row("claims", "c:tc", KFUNC, "tc", verdict=verdict, observed=observed)


def test_claims_turn_with_their_verdicts_and_not_with_counters() -> None:
    said = [
        claim(Verdict.HOLDS, "timeout 119"),
        claim(Verdict.HOLDS, "timeout 120"),
        claim(Verdict.BROKEN, "r2 = 0xADDRESS"),
        claim(Verdict.BROKEN, "r2 = 0xADDRESS"),
        claim(Verdict.BROKEN, "error 0"),
    ]
    kept = [
        measured("6.12.117", {TC: state(TC, U)}, night=night, verdicts=(verdict,)) for night, verdict in enumerate(said)
    ]
    found = history(kept, KFUNC, ["tc"])
    assert [(turn.probe, turn.new.run) for turn in found] == [("", "night-0"), ("c:tc", "night-2"), ("c:tc", "night-4")]


def test_report_has_dates_kernels_and_the_evidence_of_both_sides() -> None:
    found = turns(simple("6.12.117", U, night=0), simple("6.12.118", R, night=1))
    text = printed(history_report(KFUNC, found, (), 2))
    assert "bpf_ct_release: 1 change in 2 runs" in text
    assert "2026-11-04 10:15  6.12.117 -> 6.12.118 x86_64  state (tc)" in text
    assert "runner cell show 6.12.117-x86_64 --run night-0" in text
    assert "runner cell show 6.12.118-x86_64 --run night-1" in text
    document = history_document(KFUNC, found, (), 2)
    assert isinstance(document["turns"], list)
    assert document["turns"][1]["kernel"] == {"before": "6.12.117", "after": "6.12.118"}


def test_signatures_are_told_once_for_the_kernels_that_share_them() -> None:
    old = {
        TC: state(TC, R),
        XDP: state(XDP, R, prototype="int bpf_ct_release(struct nf_conn *)", flags=("KF_RELEASE",)),
    }
    new = {TC: state(TC, R, prototype="void bpf_ct_release(struct nf_conn *)")}
    gone = {TC: state(TC, A)}
    known = builds(
        [measured("6.1.192", old), measured("6.12.117", old), measured("6.18.15", new), measured("7.3.4", gone)]
    )
    found = signatures(known, KFUNC)
    assert [(it.prototype[:4], it.flags, [str(build) for build in it.builds]) for it in found] == [
        ("int ", ("KF_RELEASE",), ["6.1.192", "6.12.117"]),
        ("void", (), ["6.18.15"]),
    ]
    first = turns(simple("6.1.192", R))
    text = printed(history_report(KFUNC, first, found, 1))
    assert "6.1.192 to 6.12.117 (x86_64)  in nf_conntrack" in text
    assert "none shown" in text
    document = history_document(KFUNC, first, found, 1)
    assert isinstance(document["signatures"], list)
    assert document["signatures"][0]["kernels"] == ["6.1.192", "6.12.117"]


def test_what_was_not_recorded_is_said() -> None:
    seen = simple("6.12.117", U)
    text = printed(history_report(KFUNC, turns(seen), signatures(builds([seen]), KFUNC), 1))
    assert text.count("not recorded") == 2
