"""The exit status of a run; --baseline and --fail-on, which change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from rich.console import Console
from rich.text import Text

from runner.cli import EXIT_BROKEN, EXIT_NO_ANSWER, EXIT_OK
from runner.engine.plan import Plan
from runner.engine.storing import after
from runner.errors import UserError
from runner.model import Cell
from runner.probes import Expectations
from runner.reports.changes import changes_report
from runner.reports.findings import Ending, ending, incomplete
from runner.results.model import JudgedRun
from runner.results.sides import Side, baseline, compare, of_run
from runner.results.store import ResultStore


class FailOn(StrEnum):
    """What makes a run fail."""

    WORSE = "worse"
    BROKEN = "broken"
    INCOMPLETE = "incomplete"


def exit_status(judged: JudgedRun) -> int:
    """Of `runner matrix run`, and of the reports that show a run."""
    return {Ending.EXPECTED: EXIT_OK, Ending.BROKEN: EXIT_BROKEN, Ending.INCOMPLETE: EXIT_NO_ANSWER}[ending(judged)]


@dataclass(frozen=True, slots=True)
class Watch:
    """`word` names the baseline; empty: there is none. `fail_on` None: the run's own exit status."""

    expectations: Expectations
    word: str = ""
    fail_on: frozenset[FailOn] | None = None

    def before(self, store: ResultStore, cells: tuple[Cell, ...]) -> Side | None:
        """What to compare with, read before this run is in the store. UserError when there is no such run."""
        return baseline(store, self.expectations, self.word, cells) if self.word else None

    def suspects(self, done: JudgedRun, before: Side, plan: Plan) -> Plan:
        """The cells that got worse, to be booted once more."""
        found, _ = compare(before, of_run(done), self.expectations)
        worse = {change.key.cell for change in found.worse if not found.confirmed(change)}
        return replace(plan, orders=after(done.run, (order for order in plan.orders if order.cell.id in worse)))

    def status(self, done: JudgedRun, before: Side | None, console: Console) -> int:
        """Print what changed; return the exit status."""
        if self.fail_on is None:
            return exit_status(done)
        worse = False
        if before is not None and before.cells:
            found, names = compare(before, of_run(done), self.expectations)
            console.print()
            console.print(changes_report(found, names), crop=False)
            worse = bool(found.worse)
        elif before is not None:
            console.print(Text("no baseline yet: this is the first answer of these kernels"))
        broken = FailOn.BROKEN in self.fail_on and ending(done) is Ending.BROKEN
        if broken or (worse and FailOn.WORSE in self.fail_on):
            return EXIT_BROKEN
        return EXIT_NO_ANSWER if FailOn.INCOMPLETE in self.fail_on and incomplete(done) else EXIT_OK


def watched(expectations: Expectations, word: str | None, fail_on: Sequence[FailOn] | None) -> Watch:
    """Raises UserError when "worse" has nothing to compare with."""
    if word is None and fail_on is None:
        return Watch(expectations)
    if word is None and FailOn.WORSE in (fail_on or ()):
        raise UserError("--fail-on worse needs a baseline", hint="add --baseline last, a run's id, or another store")
    return Watch(expectations, word or "", frozenset(fail_on or FailOn))
