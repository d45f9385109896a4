# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A deviation that is understood is shown apart, in every report, and excuses nothing else."""

from __future__ import annotations

import json

from runner.cli.options import exit_status
from runner.model import KnownIssue, Verdict
from runner.reports.cell import cell_report
from runner.reports.export import export, to_json
from runner.reports.markdown import availability_markdown
from runner.reports.summary import summary
from runner.results.model import JudgedRun
from tests.unit import results_samples as samples
from tests.unit.rendering import render

ISSUE = KnownIssue(id="btf-twice", what="Two \x1b[31mtypes.", reason="The build.", link="docs/findings.md#x")


def with_known_issue(issue: KnownIssue = ISSUE) -> JudgedRun:
    judged = samples.clean_run()
    if not issue.gone:
        judged = samples.with_claim(
            judged, "6.18.15-x86_64", 7, verdict=Verdict.BROKEN, observed="error 0", known_issue=issue.id
        )
    return judged.model_copy(update={"known_issues": (issue,)})


def test_known_issue_is_shown_apart_and_does_not_fail_the_run() -> None:
    judged = with_known_issue()
    assert exit_status(judged) == 0
    shown = render(summary(judged))
    assert "Broken claims" not in shown
    assert "Known issue\n  ! btf-twice  6.18.15 (x86_64)" in shown
    assert "docs/findings.md#x" in shown
    assert "1 broken; 1 of the broken ones by known issues" in shown
    text = availability_markdown(judged)
    assert (
        "Nothing: everything else has an answer, and it is as expected.\n\n## Known issues\n\n- **known issue**: btf"
        in text
    )
    document = json.loads(to_json(export(judged)))
    assert document["known_issues"] == [{**ISSUE.model_dump(), "what": "Two \x1b[31mtypes."}]
    marked = [claim for cell in document["cells"] for claim in cell["claims"] if claim["known_issue"]]
    assert [(claim["verdict"], claim["known_issue"]) for claim in marked] == [("broken", "btf-twice")]
    assert "known issue" in render(cell_report(judged.cell("6.18.15-x86_64")))


def test_known_issue_excuses_nothing_else() -> None:
    judged = with_known_issue()
    assert exit_status(samples.with_claim(judged, "6.18.15-x86_64", 8, verdict=Verdict.BROKEN)) == 1
    assert exit_status(samples.with_claim(judged, "6.18.15-x86_64", 8, verdict=Verdict.NO_ANSWER)) == 2
    assert exit_status(samples.with_claim(judged, "6.18.15-x86_64", 7, crashed=True)) == 1


def test_known_issue_that_is_gone_is_reported_so_that_it_gets_deleted() -> None:
    judged = with_known_issue(ISSUE.model_copy(update={"gone": True}))
    assert exit_status(judged) == 0
    shown = render(summary(judged))
    assert "Known issue that is gone" in shown
    assert "delete its entry in bpf/known-issues.yaml" in shown
    assert "delete its entry" in availability_markdown(judged)
