"""KTAP, version 1: a test per cell, a subtest per probe. See Documentation/dev-tools/ktap.rst of the kernel."""

from __future__ import annotations

from collections.abc import Iterator

from runner.reports.cases import Case, Status, Suite, suites
from runner.results.model import JudgedRun

_INDENT = "  "
_DIRECTIVES = {Status.SKIP: "SKIP", Status.ERROR: "ERROR"}


def ktap(judged: JudgedRun) -> str:
    """The document, with a newline at its end. Lines that begin with `#` tell why a test did not pass."""
    every = suites(judged)
    parts = ["KTAP version 1", f"1..{len(every)}"]
    for number, suite in enumerate(every, start=1):
        parts += [f"{_INDENT}{line}" for line in _suite(suite, judged.run_of(suite.cell.id))]
        parts.append(f"{'ok' if suite.passed else 'not ok'} {number} {_name(suite.name)}")
    return "\n".join(parts) + "\n"


def _suite(suite: Suite, run_id: str) -> Iterator[str]:
    yield "KTAP version 1"
    yield f"# Subtest: {suite.name}"
    yield f"# Run: {run_id}"
    yield f"1..{len(suite.cases)}"
    for number, case in enumerate(suite.cases, start=1):
        yield from _case(number, case)


def _case(number: int, case: Case) -> Iterator[str]:
    good = case.status in (Status.PASS, Status.SKIP)
    if case.status is Status.FAIL:
        yield f"# {case.why}"
    if not good:
        yield from (f"# {line}" for line in case.details)
    line = f"{'ok' if good else 'not ok'} {number} {_name(case.name)}"
    directive = _DIRECTIVES.get(case.status)
    yield f"{line} # {directive} {case.why}".rstrip() if directive else line


def _name(text: str) -> str:
    """A # would begin a directive."""
    return text.replace("#", "_")
