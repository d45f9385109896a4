"""`python -m tests.faults.driver ARGUMENTS`: the command line as it is, but every guest is a fake of machine.py."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from runner import cli
from runner.cli import running
from runner.cli.project import Project
from runner.engine.controller import execute
from runner.engine.plan import Plan, RunEnd, Sink
from runner.model import Lock
from tests import fakes


def _on_fakes(plan: Plan, sinks: Sequence[Sink]) -> RunEnd:
    return execute(replace(plan, machine="tests.faults.machine:disturbed"), sinks)


def _lock(project: Project, **_: object) -> Lock:
    return project.lock()


if __name__ == "__main__":
    fakes_of = (
        (running, "payloads", lambda *_, **__: {"little": fakes.EMPTY_TAR}),
        (running, "execute", _on_fakes),
        (Project, "settled", _lock),
    )
    for owner, name, fake in fakes_of:
        setattr(owner, name, fake)
    sys.exit(cli.run(sys.argv[1:]))
