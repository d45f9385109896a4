# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Suites and cases as test systems read them: JUnit XML, KTAP, KCIDB."""

from __future__ import annotations

import importlib
import io
import json
import logging
import re
from collections.abc import Iterator
from types import ModuleType

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from runner.errors import InfraError, UserError
from runner.model import Pin
from runner.reports.cases import Case, CaseSuite, Status, suites
from runner.results.model import JudgedRun
from runner.text import plain

log = logging.getLogger(__name__)

# --- JUnit: a test suite per cell, a test case per probe. What is broken and what the kernel reports by itself are
# failures, a missing answer is an error, what does not apply is skipped. Names are the matrix's, so that a new build of
# a kernel does not make its tests look new.


def junit(judged: JudgedRun) -> str:
    """The document, by junitparser. The time of a suite is the cell's: most is the boot, and no case takes it alone."""
    document = JUnitXml(name=f"kfunc-runner {judged.run.id}")
    for suite in suites(judged):
        document.add_testsuite(_junit_suite(suite))
    made = list(document)
    for name in ("tests", "failures", "errors", "skipped"):
        setattr(document, name, sum(getattr(suite, name) for suite in made))
    document.time = round(sum(suite.time for suite in made), 3)
    out = io.BytesIO()
    document.write(out, pretty=True)
    return out.getvalue().decode()


def _junit_suite(suite: CaseSuite) -> TestSuite:
    result = suite.cell.result
    made = TestSuite(suite.stable)
    made.timestamp = suite.started
    made.hostname = plain(result.host)
    facts = {
        "run": suite.run,
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
    reused = [("reused_from", it.run) for it in result.kept]
    for name, value in (*facts.items(), *reused):
        made.add_property(name, plain(value))
    made.add_testcases([_junit_case(case, suite.stable) for case in suite.cases])  # one by one, each counts all before
    made.time = result.timings.total_s or 0.0
    return made


def _junit_case(case: Case, suite: str) -> TestCase:
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


# --- KTAP, version 1: a test per cell, a subtest per probe. See Documentation/dev-tools/ktap.rst of the kernel.


def ktap(judged: JudgedRun) -> str:
    """The document, with a newline at its end. Lines that begin with `#` tell why a test did not pass."""
    every = suites(judged)
    parts = ["KTAP version 1", f"1..{len(every)}"]
    for number, suite in enumerate(every, start=1):
        parts += ["  KTAP version 1", f"  # Subtest: {suite.name}", f"  # Run: {suite.run}"]
        parts += [f"  # Reused from: {it.run}" for it in suite.cell.result.kept]
        parts.append(f"  1..{len(suite.cases)}")
        parts += [f"  {line}" for at, case in enumerate(suite.cases, start=1) for line in _ktap_case(at, case)]
        parts.append(f"{'ok' if suite.passed else 'not ok'} {number} {_ktap_name(suite.name)}")
    return "\n".join(parts) + "\n"


def _ktap_case(number: int, case: Case) -> Iterator[str]:
    if case.status is Status.FAIL:
        yield f"# {case.why}"
    if not case.passed:
        yield from (f"# {line}" for line in case.details)
    line = f"{'ok' if case.passed else 'not ok'} {number} {_ktap_name(case.name)}"
    directive = {Status.SKIP: "SKIP", Status.ERROR: "ERROR"}.get(case.status)
    yield f"{line} # {directive} {case.why}".rstrip() if directive else line


def _ktap_name(text: str) -> str:
    """A # would begin a directive."""
    return text.replace("#", "_")


# --- KCIDB JSON, schema 5.3: a checkout per kernel, a build per kernel and architecture, a test per probe. The kernels
# are a distribution's packages, so a checkout names their version and no git commit. Written by hand, checked by the
# kcidb-io package where it is installed: it is small, and what it needs is not.

KCIDB_ORIGIN = "kfunc_runner"
_KCIDB_STATUS = {Status.PASS: "PASS", Status.FAIL: "FAIL", Status.SKIP: "SKIP", Status.ERROR: "MISS"}
_EXCERPT_CHARS = 16384  # the schema's limit


def kcidb(judged: JudgedRun, origin: str = KCIDB_ORIGIN) -> str:
    """The document, indented, ASCII only. `origin` is the CI system's name in KCIDB: [a-z0-9_]+, else UserError.

    Raises InfraError when kcidb-io is there and refuses the document.
    """
    if not re.fullmatch(r"[a-z0-9_]+", origin):
        raise UserError(f"{plain(origin)!r} cannot be a KCIDB origin", hint="lower-case letters, digits, underscores")
    every = suites(judged)
    kernels = {_checkout_id(suite, origin): suite.cell.result.cell.kernel for suite in every}
    started = judged.run.started.isoformat()
    document = {
        "version": {"major": 5, "minor": 3},
        "checkouts": [_checkout(name, kernel, origin, started) for name, kernel in kernels.items()],
        "builds": [_build(suite, origin) for suite in every],
        "tests": [_test(suite, case, origin) for suite in every for case in suite.cases],
    }
    text = json.dumps(document, indent=1) + "\n"
    try:
        problem = kcidb_problem(text)
    except ImportError:
        log.warning("not checked against the schema: pip install 'kfunc-runner[kcidb]'")
        return text
    if problem:
        raise InfraError(f"this run makes no valid KCIDB document: {problem}", hint="please report it")
    return text


def kcidb_problem(text: str) -> str:
    """What kcidb-io has against a document, empty when it is valid. Raises ImportError where kcidb-io is missing."""
    schema: ModuleType = importlib.import_module("kcidb_io.schema")
    errors: ModuleType = importlib.import_module("jsonschema.exceptions")
    try:
        schema.LATEST.validate(json.loads(text))
    except errors.ValidationError as error:
        return str(error.message)
    return ""


def _checkout(name: str, kernel: Pin, origin: str, started: str) -> dict[str, object]:
    return {
        "id": name,
        "origin": origin,
        "tree_name": kernel.source,
        "comment": f"Linux {kernel.version} of {kernel.source}",
        "start_time": started,
        "valid": True,
        "misc": {"version": kernel.version},
    }


def _build(suite: CaseSuite, origin: str) -> dict[str, object]:
    result = suite.cell.result
    return {
        "id": f"{origin}:{suite.run}:{suite.name}",
        "checkout_id": _checkout_id(suite, origin),
        "origin": origin,
        "architecture": result.cell.arch,
        "comment": f"{result.cell.kernel.release}, as packaged",
        "status": "PASS",  # it was built elsewhere, before
        "misc": {
            "release": result.cell.kernel.release,
            "sha256": result.build.sha256,
            "packages": {package.name: package.version for package in result.cell.kernel.packages},
        },
    }


def _test(suite: CaseSuite, case: Case, origin: str) -> dict[str, object]:
    result = suite.cell.result
    made: dict[str, object] = {
        "id": f"{origin}:{suite.run}:{suite.name}:{case.group}:{case.name}",
        "build_id": f"{origin}:{suite.run}:{suite.name}",
        "origin": origin,
        "path": _path(case),
        "status": _KCIDB_STATUS[case.status],
        "start_time": suite.started,
        "environment": {
            "comment": f"QEMU guest ({plain(result.accel) or 'never started'}) on {plain(result.host) or 'no host'}",
            "misc": {
                "cell": suite.name,
                "outcome": str(result.outcome),
                "attempts": result.attempts,
                "reused_from": [it.run for it in result.kept],
            },
        },
    }
    if case.why:
        made["comment"] = case.why
    if case.details and case.status in (Status.FAIL, Status.ERROR):
        made["log_excerpt"] = "\n".join(case.details)[-_EXCERPT_CHARS:]
    if case.seconds is not None:
        made["duration"] = case.seconds
    return made


def _checkout_id(suite: CaseSuite, origin: str) -> str:
    """The source that the builds of all architectures have in common."""
    kernel = suite.cell.result.cell.kernel
    return f"{origin}:{kernel.source}:{kernel.version}"


def _path(case: Case) -> str:
    """kfunc.<group>.<probe>, in the letters that the schema allows."""
    parts = ("kfunc", case.group, *case.name.split(":"))
    return ".".join(re.sub(r"[^a-zA-Z0-9_-]+", "_", part) or "_" for part in parts)
