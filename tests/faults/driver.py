"""`python -m tests.faults.driver ARGUMENTS`: the command line as it is, but every guest is a fake of machine.py."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from runner import cli
from runner.cli.running import Engine
from runner.engine.controller import execute
from runner.engine.plan import Plan, RunEnd, Sink


def _on_fakes(plan: Plan, sinks: Sequence[Sink]) -> RunEnd:
    return execute(replace(plan, machine="tests.faults.machine:disturbed"), sinks)


if __name__ == "__main__":
    sys.exit(cli.run(sys.argv[1:], Engine(lambda *_, **__: {"little": {}}, _on_fakes)))
