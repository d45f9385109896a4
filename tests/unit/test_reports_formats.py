# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""CSV, JUnit, KTAP, KCIDB and GitHub say what the run says, to readers that others wrote."""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped
from tap.parser import Parser

from runner.cli.options import exit_status
from runner.errors import UserError
from runner.model import Crash, Outcome, State, Verdict
from runner.reports.cases import Status, suites
from runner.reports.export import COLUMNS, csv_table
from runner.reports.markdown import job_summary, workflow_commands
from runner.reports.testsystems import junit, kcidb, kcidb_problem, ktap
from runner.results.model import JudgedRun
from tests.unit import results_samples as samples
from tests.unit.hostile_samples import hostile_run

RUNS: dict[str, Callable[[], JudgedRun]] = {
    "clean": samples.clean_run,
    "mixed": samples.mixed_run,
    "empty cell": lambda: samples.judged(cells=samples.CELLS[:1]),
}


RUNS["hostile"] = hostile_run
every_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())


def tally(judged: JudgedRun) -> Counter[Status]:
    return Counter(case.status for suite in suites(judged) for case in suite.cases)


# --- cases ----------------------------------------------------------------------------------------------------------


@every_run
def test_cases_agree_with_the_exit_status(run: Callable[[], JudgedRun]) -> None:
    count = tally(run())
    expected = 1 if count[Status.FAIL] else 2 if count[Status.ERROR] else 0
    assert exit_status(run()) == expected


@given(
    st.dictionaries(
        st.tuples(st.integers(0, 7), st.integers(0, 101)),
        st.tuples(st.sampled_from(Verdict), st.booleans()),
        max_size=4,
    ),
    st.sets(st.integers(0, 7), max_size=2),
)
@settings(max_examples=25)
def test_cases_agree_with_the_exit_status_of_any_run(
    changes: dict[tuple[int, int], tuple[Verdict, bool]], unfinished: set[int]
) -> None:
    run = samples.judged(*(samples.result(cell) for at, cell in enumerate(samples.CELLS) if at not in unfinished))
    for (cell, at), (verdict, crashed) in changes.items():
        run = samples.with_claim(run, samples.CELLS[cell].id, at, verdict=verdict, crashed=crashed)
    count = tally(run)
    assert exit_status(run) == (1 if count[Status.FAIL] else 2 if count[Status.ERROR] else 0)


def test_open_kfunc_and_unasked_probe_are_errors() -> None:
    run = samples.clean_run()
    cell = run.cells[0]
    result = cell.result.model_copy(update={"unasked": ("census:tc",), "crashes": (Crash(probe="census:xdp"),)})
    changed = samples.with_state(cell, state=State.NO_ANSWER).model_copy(update={"result": result})
    named = {case.name: case for case in suites(run.model_copy(update={"cells": (changed, *run.cells[1:])}))[0].cases}
    assert named["census"].status is Status.ERROR
    assert next(row.subject for row in changed.rows if row.state) in named["census"].why
    assert named["census:tc"].status is Status.ERROR
    assert named["census:xdp"].status is Status.FAIL


# --- JUnit ----------------------------------------------------------------------------------------------------------


@every_run
def test_junitparser_reads_the_same_cells_and_counts(run: Callable[[], JudgedRun]) -> None:
    judged = run()
    document = JUnitXml.fromstring(junit(judged).encode())
    assert [suite.name for suite in document] == [
        f"{cell.result.cell.name}-{cell.result.cell.arch}" for cell in judged.cells
    ]
    count = tally(judged)
    assert (document.failures, document.errors, document.skipped) == (
        count[Status.FAIL],
        count[Status.ERROR],
        count[Status.SKIP],
    )
    kinds = Counter(type(result) for suite in document for case in suite for result in case.result)
    assert (kinds[Failure], kinds[Error], kinds[Skipped]) == (document.failures, document.errors, document.skipped)
    assert sum(1 for suite in document for _ in suite) == document.tests == count.total()


def test_junit_names_stay_when_a_new_build_of_a_kernel_comes() -> None:
    """GitLab and Jenkins follow a test by its name: the build is a property."""
    first = samples.CELLS[0]
    newer = first.kernel.model_copy(update={"version": "6.12.118", "release": "6.12.118+deb13-amd64"})
    second = first.model_copy(update={"id": "6.12.118-x86_64", "kernel": newer})
    nights = [samples.judged(samples.result(it), cells=(it,)) for it in (first, second)]
    texts = [junit(night) for night in nights]
    (one,), (two,) = (list(JUnitXml.fromstring(text.encode())) for text in texts)
    assert [(it.classname, it.name) for it in one] == [(it.classname, it.name) for it in two]
    assert one.name == two.name
    versions = (first.kernel.version, "6.12.118")
    assert [f'name="kernel.version" value="{it}"' in text for it, text in zip(versions, texts, strict=True)] == [
        True
    ] * 2


def test_junit_tells_what_was_expected_and_how_to_see_it() -> None:
    document = JUnitXml.fromstring(junit(samples.mixed_run()).encode())
    cases = {case.name: case for suite in document for case in suite if suite.name == "6.12-x86_64"}
    broken = [result for case in cases.values() for result in case.result]
    assert [result.message for result in broken] == ["expected error -EINVAL, observed error 0"]
    assert "--run 20261103-101501-3fa9" in (broken[0].text or "")
    boot = next(case for suite in document for case in suite if suite.name == "7-arm64" and case.name == "boot")
    assert "boot failed: kernel panicked" in boot.result[0].message


# --- KTAP -----------------------------------------------------------------------------------------------------------


@every_run
def test_tap_reader_reads_the_same_cells_and_probes(run: Callable[[], JudgedRun]) -> None:
    judged = run()
    text = ktap(judged)
    outer = [line for line in Parser().parse_text(text) if line.category == "test"]
    expected = suites(judged)
    assert [(line.number, line.ok) for line in outer] == [
        (at, suite.passed) for at, suite in enumerate(expected, start=1)
    ]
    assert [line.description.strip() for line in outer] == [suite.name for suite in expected]
    blocks = re.findall(r"(?:^  .*\n)+", text, re.MULTILINE)
    for block, suite in zip(blocks, expected, strict=True):
        inner = list(Parser().parse_text(textwrap.dedent(block)))
        plan = [line.expected_tests for line in inner if line.category == "plan"]
        tests = [line for line in inner if line.category == "test"]
        assert plan == [len(tests)] == [len(suite.cases)]
        assert [line.description.strip() for line in tests] == [case.name.replace("#", "_") for case in suite.cases]
        assert [line.ok for line in tests] == [case.status in (Status.PASS, Status.SKIP) for case in suite.cases]
        assert [line.skip for line in tests] == [case.status is Status.SKIP for case in suite.cases]
        assert [line.category for line in inner if line.category == "unknown"] == ["unknown"]  # "KTAP version 1"


# --- KCIDB ----------------------------------------------------------------------------------------------------------


@every_run
def test_kcidb_io_takes_the_document(run: Callable[[], JudgedRun]) -> None:
    judged = run()
    text = kcidb(judged)
    assert kcidb_problem(text) == ""
    document = json.loads(text)
    builds = {build["id"] for build in document["builds"]}
    checkouts = {checkout["id"] for checkout in document["checkouts"]}
    assert {test["build_id"] for test in document["tests"]} == builds
    assert {build["checkout_id"] for build in document["builds"]} == checkouts
    ids = [test["id"] for test in document["tests"]]
    assert len(set(ids)) == len(ids) == tally(judged).total()
    words = {Status.PASS: "PASS", Status.FAIL: "FAIL", Status.SKIP: "SKIP", Status.ERROR: "MISS"}
    assert Counter(test["status"] for test in document["tests"]) == {
        words[status]: count for status, count in tally(judged).items()
    }


def test_kcidb_problem_sees_one() -> None:
    document = json.loads(kcidb(samples.clean_run()))
    document["tests"][0]["status"] = "MAYBE"
    assert "MAYBE" in kcidb_problem(json.dumps(document))


def test_kcidb_architectures_share_the_source() -> None:
    document = json.loads(kcidb(samples.clean_run(), "myci"))
    assert len(document["checkouts"]) == 4
    assert len(document["builds"]) == 8
    assert document["tests"][0]["id"].startswith("myci:20261103-101501-3fa9:6.1.192-x86_64:")


@pytest.mark.parametrize("origin", ["", "My CI", "a:b", "ä"])
def test_kcidb_origin_is_checked(origin: str) -> None:
    with pytest.raises(UserError, match="origin"):
        kcidb(samples.clean_run(), origin)


# --- CSV ------------------------------------------------------------------------------------------------------------


@every_run
def test_csv_has_a_line_for_everything(run: Callable[[], JudgedRun]) -> None:
    judged = run()
    rows = list(csv.DictReader(io.StringIO(csv_table(judged), newline="")))
    assert list(rows[0]) == list(COLUMNS)
    assert Counter(row["about"] for row in rows) == Counter(
        {
            "cell": len(judged.cells),
            "claim": sum(row.verdict is not None for cell in judged.cells for row in cell.rows),
            "kfunc": sum(row.verdict is None for cell in judged.cells for row in cell.rows),
        }
    )
    verdicts = Counter(row["answer"] for row in rows if row["about"] == "claim")
    assert verdicts == Counter(str(row.verdict) for cell in judged.cells for row in cell.rows if row.verdict)
    assert {row["cell"] for row in rows} == {cell.id for cell in judged.cells}


def test_csv_holds_no_formulas() -> None:
    run = samples.with_claim(samples.clean_run(), samples.CELLS[0].id, 0, observed="\x1b[1m=cmd|'/c calc'!A0")
    rows = list(csv.DictReader(io.StringIO(csv_table(run), newline="")))
    assert next(row for row in rows if row["about"] == "claim")["observed"] == "'=cmd|'/c calc'!A0"
    assert not [value for row in rows for value in row.values() if value.startswith(("=", "+", "@"))]


# --- GitHub ---------------------------------------------------------------------------------------------------------


def test_clean_run_has_no_annotations() -> None:
    assert workflow_commands(samples.clean_run(), {}) == ""


def test_annotation_stands_beside_its_claim() -> None:
    run = samples.with_claim(samples.clean_run(), "6.1.192-x86_64", 3, verdict=Verdict.BROKEN, observed="a, b: 5%\n::")
    claim_id = run.cells[0].rows[3].probe.partition(":")[0]
    lines = workflow_commands(run, {claim_id: ("bpf/x.yaml", 12)}).splitlines()
    assert len(lines) == 1
    head, _, message = lines[0].removeprefix("::").partition("::")
    assert head == f"error file=bpf/x.yaml,line=12,title=broken%3A {claim_id}%3Axdp"
    assert message.split("%0A")[2] == "observed: a, b: 5%25 ::"


def test_annotations_are_few_and_the_last_counts_the_others() -> None:
    run = samples.clean_run()
    for at in range(20):
        run = samples.with_claim(run, "6.1.192-x86_64", at, verdict=Verdict.BROKEN, observed=f"error {at}")
    lines = workflow_commands(run, {}).splitlines()
    assert len(lines) == 10
    assert lines[-1].startswith("::error title=11 more::")


def test_hostile_text_makes_no_command() -> None:
    lines = workflow_commands(hostile_run(), {}).splitlines()
    assert {line.partition(" ")[0] for line in lines} <= {"::error", "::warning"}
    assert lines
    assert "<script>" not in re.sub(r"\\<", "", job_summary(hostile_run()))
    assert "<img" not in re.sub(r"\\<", "", job_summary(hostile_run()))


def test_unknown_is_a_warning_and_wrong_an_error() -> None:
    levels = [line.split(" ")[0] for line in workflow_commands(samples.mixed_run(), {}).splitlines()]
    assert levels == sorted(levels)
    assert set(levels) == {"::error", "::warning"}


def test_summary_begins_with_the_figures() -> None:
    text = job_summary(samples.mixed_run())
    assert text.startswith("# Which kernel")
    assert "8 cells: 6 ran, 1 boot failed, 1 infrastructure failed" in text.split("\n\n")[1]
    assert "| `bpf_ct_release` |" in text


def test_summary_fits_the_limit() -> None:
    text = job_summary(samples.mixed_run(), limit_bytes=500)
    assert len(text) < 500
    assert "runner report export --format markdown" in text


def test_outcome_without_a_boot_is_an_error_unless_the_kernel_failed() -> None:
    for outcome, status in ((Outcome.BOOT_FAILED, Status.FAIL), (Outcome.LOST, Status.ERROR)):
        run = samples.judged(samples.result(samples.CELLS[0], outcome, "why"), cells=samples.CELLS[:1])
        assert suites(run)[0].cases[0].status is status
