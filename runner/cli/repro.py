"""`runner cell repro`: exactly one cell once more, and whether it answers the same."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.text import Text

from runner.caches import cache_root
from runner.cli import EXIT_BROKEN, EXIT_NO_ANSWER, EXIT_OK, Finished
from runner.cli.earlier import Earlier, Payload, earlier_of_file, earlier_of_store, order_of, payload_of
from runner.cli.holding import OpenMachine, hold, unlimited, wait_for_enter, way_in
from runner.cli.judging import expectations_of
from runner.cli.options import (
    DEFAULT_MATRIX,
    Format,
    FormatOption,
    Gdb,
    MatrixFile,
    Offline,
    Output,
    Project,
    Verbose,
    emit,
    emit_json,
)
from runner.engine.cellrun import run_cell
from runner.engine.machine import this_machine
from runner.engine.orders import Phase
from runner.errors import UserError
from runner.guest.interface import Guest
from runner.model import ANSWERS, CellResult, Outcome, Trace, Verdict
from runner.probes import Expectations
from runner.reports.again import again_report
from runner.reports.cell import probe_report
from runner.results.looks import write_trace
from runner.results.model import judged_cell
from runner.results.same import Deviation, answered, changed_answers


@dataclass(frozen=True, slots=True)
class Repeated:
    """What the second boot gave. `probes` are those that were asked."""

    earlier: Earlier
    result: CellResult
    probes: tuple[str, ...]
    payload: Payload
    changed: tuple[Deviation, ...]

    @property
    def same_kernel(self) -> bool:
        return self.result.build.sha256 == self.earlier.result.build.sha256

    @property
    def same_image(self) -> bool:
        return self.result.image_sha256 == self.earlier.result.image_sha256

    @property
    def status(self) -> int:
        """As exit status: 0 the same, 1 another answer, 2 there is none."""
        before, now = self.earlier.result.outcome, self.result.outcome
        if not ANSWERS.issuperset({before, now}):
            return EXIT_NO_ANSWER
        if now is not before:
            return EXIT_BROKEN
        if now is Outcome.RAN and not any(answered(self.result, probe) for probe in self.probes):
            return EXIT_NO_ANSWER
        return EXIT_BROKEN if self.changed else EXIT_OK


def repro(
    cell: Annotated[str, typer.Argument(metavar="ID", help="A cell's id, such as 6.12.117-x86_64.")],
    probe: Annotated[str, typer.Option(help="Ask only this probe, and trace it. [default: all that was asked]")] = "",
    run: Annotated[str | None, typer.Option(help="A run's id; by default the last run.")] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="An export in JSON, of another machine perhaps.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the trace in the store: `cell show --probe` shows it.")
    ] = False,
    hold_: Annotated[bool, typer.Option("--hold", help="Leave the guest open and print how to get in.")] = False,
    gdb: Gdb = False,
    matrix: MatrixFile = DEFAULT_MATRIX,
    offline: Offline = False,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """Boot exactly that cell again: same kernel, image, programs and parameters. Is the answer the same?

    With --gdb nothing is asked before Enter. Exit status: 0 the same answer; 1 another one; 2 no answer.

    Example: runner cell repro 6.12.117-x86_64 --probe nat-source:tc
    """
    project = Project.at(matrix)
    expectations = expectations_of(project)
    if keep and (from_ or not probe):
        raise UserError("--keep keeps the trace of one --probe of a run of this store")
    earlier = (
        earlier_of_file(expectations, from_, cell) if from_ else earlier_of_store(project, expectations, cell, run)
    )
    console = Console(stderr=True, highlight=False)
    done = _again(project, expectations, earlier, probe, console, hold_open=hold_, gdb=gdb, offline=offline)
    trace = next((one for one in done.result.traces if one.probe == probe), None)
    if keep and trace:
        write_trace(project.reports, earlier.run_id, cell, trace)
    if format_ is Format.JSON:
        emit_json(_plain(done, trace), output)
    else:
        parts = [again_report(earlier.where, earlier.result, done.result, done.changed, notes=_notes(done))]
        if probe and done.result.outcome is Outcome.RAN:
            parts.insert(0, probe_report(judged_cell(done.result, expectations), probe, trace=trace))
        emit(Group(*parts), output)
    raise Finished(done.status)


def _again(
    project: Project,
    expectations: Expectations,
    earlier: Earlier,
    probe: str,
    console: Console,
    *,
    hold_open: bool,
    gdb: bool,
    offline: bool,
) -> Repeated:
    order = order_of(earlier, probe, trace=bool(probe))
    if gdb:
        order = order.model_copy(update={"cell": unlimited(order.cell), "gdb": True})

    def attach_first(guest: Guest) -> None:
        console.print(Text("The guest is up and was not asked anything yet:"))
        way_in(guest.access(), console)
        console.print(Text("Enter asks it."))
        wait_for_enter()

    def keep_open(_: CellResult, guest: Guest) -> None:
        hold(guest, console, f"{order.cell.id}: {probe or 'everything'} was asked again")

    def tell(phase: Phase, note: str) -> None:
        console.print(Text(f"{order.cell.id}: {' '.join(filter(None, (phase, note)))}"), soft_wrap=True)

    machine = this_machine(offline=offline)
    if gdb:
        machine = OpenMachine(machine, before=attach_first)
    deadline = project.limits.deadline("prepare_s")
    payload = payload_of(project, earlier, offline=offline, deadline=deadline)
    with tempfile.TemporaryDirectory(dir=cache_root()) as folder:
        result = run_cell(order, payload.tar, machine, Path(folder), tell, keep=keep_open if hold_open else None)
    result = result.model_copy(update={"cell": earlier.result.cell})
    probes = tuple(ask.probe for ask in order.asks)
    held = _holds(expectations, earlier.result) & _holds(expectations, result)
    before = earlier.result
    changed = () if before.outcome not in ANSWERS else changed_answers(before, result, probes, held=held)
    return Repeated(earlier, result, probes, payload, changed)


def _holds(expectations: Expectations, result: CellResult) -> set[str]:
    return {row.probe for row in expectations.rows(result) if row.verdict is Verdict.HOLDS}


def _notes(done: Repeated) -> list[str]:
    """What is not as it was then, so that another answer may come from that."""
    notes = []
    if not done.earlier.kept:
        notes.append("the run did not keep what it asked: asked was what the claims say now")
    elif not done.payload.same:
        notes.append("the programs of then are not at hand: these were compiled now, from what may be another source")
    if done.earlier.result.build.sha256 and not done.same_kernel:
        notes.append("the kernel has another digest: the same packages, unpacked in another way")
    if done.earlier.result.image_sha256 and not done.same_image:
        notes.append("the image has another digest: the same packages, built in another way")
    return notes


def _plain(done: Repeated, trace: Trace | None) -> dict[str, object]:
    return {
        "cell": done.result.cell.id,
        "earlier": done.earlier.where,
        "outcome": done.result.outcome,
        "cause": done.result.cause,
        "same": done.status == EXIT_OK,
        "answered": done.status != EXIT_NO_ANSWER,
        "changed": [one.model_dump(exclude={"cell"}) for one in done.changed],
        "notes": _notes(done),
        "observations": [one.model_dump(mode="json") for one in done.result.observations],
        "crashes": [one.model_dump() for one in done.result.crashes],
        "trace": trace.model_dump(mode="json") if trace else None,
    }
