"""JUnit XML, written by junitparser: a test suite per cell, a test case per probe.

A broken expectation and what the kernel reports by itself are failures, a missing answer is an error, what does not
apply is skipped. Names are the matrix's, so that a new build of a kernel does not make its tests look new.
"""

from __future__ import annotations

import io

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from runner.reports.cases import Case, Status, Suite, suites
from runner.results.model import JudgedRun
from runner.text import plain


def junit(judged: JudgedRun) -> str:
    """The document. The time of a suite is the cell's: most of it is the boot, and no case takes it alone."""
    document = JUnitXml(name=f"kfunc-runner {judged.run.id}")
    for suite in suites(judged):
        document.add_testsuite(_suite(suite, judged))
    made = list(document)
    document.tests = sum(suite.tests for suite in made)
    document.failures = sum(suite.failures for suite in made)
    document.errors = sum(suite.errors for suite in made)
    document.skipped = sum(suite.skipped for suite in made)
    document.time = round(sum(suite.time for suite in made), 3)
    out = io.BytesIO()
    document.write(out, pretty=True)
    return out.getvalue().decode()


def _suite(suite: Suite, judged: JudgedRun) -> TestSuite:
    result = suite.cell.result
    made = TestSuite(suite.stable)
    made.timestamp = judged.started_of(suite.cell.id).isoformat()
    made.hostname = plain(result.host)
    facts = {
        "run": judged.run_of(suite.cell.id),
        "cell": suite.name,
        "kernel.version": result.cell.kernel.version,
        "kernel.release": result.cell.kernel.release,
        "kernel.source": result.cell.kernel.source,
        "kernel.sha256": result.build.sha256,
        "architecture": result.cell.arch,
        "acceleration": result.accel,
        "outcome": str(result.outcome),
        "attempts": str(result.attempts),
    }
    for name, value in facts.items():
        made.add_property(name, plain(value))
    made.add_testcases([_case(case, suite.stable) for case in suite.cases])  # one by one, each counts all before it
    made.time = result.timings.total_s or 0.0
    return made


def _case(case: Case, suite: str) -> TestCase:
    made = TestCase(name=case.name, classname=f"{suite}.{case.group}", time=case.seconds or 0.0)
    kind = {Status.FAIL: Failure, Status.ERROR: Error, Status.SKIP: Skipped}.get(case.status)
    if kind:
        outcome = kind(case.why)
        if case.status is not Status.SKIP:
            outcome.text = "\n".join(case.details)
        made.result = [outcome]
    elif case.details:
        made.system_out = "\n".join(case.details)
    return made
