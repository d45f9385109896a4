"""KCIDB JSON, schema 5.3: a checkout per kernel, a build per kernel and architecture, a test per probe.

The kernels are a distribution's packages, so a checkout names their version and no git commit. Written by hand, checked
by the kcidb-io package where it is installed: it is small, and what it needs is not.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Sequence
from types import ModuleType

from runner.errors import UserError
from runner.model import Pin
from runner.reports.cases import Case, Status, Suite, suites
from runner.results.model import JudgedRun
from runner.text import plain

ORIGIN = "kfunc_runner"
_ORIGIN = re.compile(r"[a-z0-9_]+")
_VERSION = {"major": 5, "minor": 3}
_STATUS = {Status.PASS: "PASS", Status.FAIL: "FAIL", Status.SKIP: "SKIP", Status.ERROR: "MISS"}
_EXCERPT_CHARS = 16384  # the schema's limit


def kcidb(judged: JudgedRun, origin: str = ORIGIN) -> str:
    """The document, indented, ASCII only. `origin` is the CI system's name in KCIDB: [a-z0-9_]+, else UserError."""
    return json.dumps(document(judged, origin), indent=1) + "\n"


def document(judged: JudgedRun, origin: str = ORIGIN) -> dict[str, object]:
    if not _ORIGIN.fullmatch(origin):
        raise UserError(f"{plain(origin)!r} cannot be a KCIDB origin", hint="lower-case letters, digits, underscores")
    every = suites(judged)
    kernels = {_checkout_id(suite, origin): suite.cell.result.cell.kernel for suite in every}
    started = judged.run.started.isoformat()
    return {
        "version": _VERSION,
        "checkouts": [_checkout(name, kernel, origin, started) for name, kernel in kernels.items()],
        "builds": [_build(suite, origin, judged) for suite in every],
        "tests": [_test(suite, case, origin, judged) for suite in every for case in suite.cases],
    }


def problem(text: str) -> str:
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


def _build(suite: Suite, origin: str, judged: JudgedRun) -> dict[str, object]:
    result = suite.cell.result
    return {
        "id": _build_id(suite, origin, judged),
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


def _test(suite: Suite, case: Case, origin: str, judged: JudgedRun) -> dict[str, object]:
    result = suite.cell.result
    made: dict[str, object] = {
        "id": f"{origin}:{judged.run_of(suite.cell.id)}:{suite.name}:{case.group}:{case.name}",
        "build_id": _build_id(suite, origin, judged),
        "origin": origin,
        "path": _path(case),
        "status": _STATUS[case.status],
        "start_time": judged.started_of(suite.cell.id).isoformat(),
        "environment": {
            "comment": f"QEMU guest ({plain(result.accel) or 'never started'}) on {plain(result.host) or 'no host'}",
            "misc": {"cell": suite.name, "outcome": str(result.outcome), "attempts": result.attempts},
        },
    }
    if case.why:
        made["comment"] = case.why
    if case.details and case.status in (Status.FAIL, Status.ERROR):
        made["log_excerpt"] = "\n".join(case.details)[-_EXCERPT_CHARS:]
    if case.seconds is not None:
        made["duration"] = case.seconds
    return made


def _checkout_id(suite: Suite, origin: str) -> str:
    """The source that the builds of all architectures have in common."""
    kernel = suite.cell.result.cell.kernel
    return f"{origin}:{kernel.source}:{kernel.version}"


def _build_id(suite: Suite, origin: str, judged: JudgedRun) -> str:
    return f"{origin}:{judged.run_of(suite.cell.id)}:{suite.name}"


def _path(case: Case) -> str:
    """kfunc.<group>.<probe>, in the letters that the schema allows."""
    parts: Sequence[str] = ("kfunc", case.group, *case.name.split(":"))
    return ".".join(re.sub(r"[^a-zA-Z0-9_-]+", "_", part) or "_" for part in parts)
