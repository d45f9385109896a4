"""`runner cell repro`: exactly one cell once more, and whether it answers the same."""

from __future__ import annotations

import hashlib
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.text import Text

from runner import __version__
from runner.caches import cache_root
from runner.cli import EXIT_BROKEN, EXIT_INTERRUPTED, EXIT_NO_ANSWER, EXIT_OK, Finished
from runner.cli.displays import Display
from runner.cli.judging import asked_by, expectations_of, judged_run, run_of
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
from runner.cli.stopping import stoppable
from runner.engine.controller import execute
from runner.engine.fleet import this_machine_alone
from runner.engine.plan import CellOrder, OpenGuests, Plan, RunEnd, cell_orders, order_again, payload
from runner.errors import UserError
from runner.guest.interface import Guest
from runner.model import ANSWERS, AskedCell, Cell, CellResult, Outcome, Trace, Verdict
from runner.model.architecture import architecture
from runner.probes import Expectations, compile_objects
from runner.reports.cell import probe_report
from runner.reports.comparison import comparison_report
from runner.reports.export import imported_cell
from runner.results.comparison import Deviation, answered, changed_answers
from runner.results.evidence import write_trace
from runner.results.model import RunHeader, RunKind, judged_cell, new_run_id

_UNLIMITED_S = 86400  # while a debugger may stop the guest, its silence means nothing


@dataclass(frozen=True, slots=True)
class Earlier:
    """A cell as it was booted before. `asked` is what would be asked now where the run did not keep it: not `kept`.

    `objects` are the BPF objects by their digest, as far as they are known.
    """

    where: str
    run_id: str  # empty: not of this store
    result: CellResult
    asked: AskedCell
    kept: bool
    objects: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Repeated:
    """What the second boot gave. `probes` were asked; `same_programs`: with the very BPF objects of then."""

    earlier: Earlier
    result: CellResult
    probes: tuple[str, ...]
    same_programs: bool
    changed: tuple[Deviation, ...]

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

    @property
    def notes(self) -> list[str]:
        """What is not as it was then, so that another answer may come from that."""
        before, now = self.earlier.result, self.result
        said = {
            "the run did not store what it asked: what the claims ask now was asked": not self.earlier.kept,
            "the programs of then are not at hand: these were compiled now, from what may be another source": (
                self.earlier.kept and not self.same_programs
            ),
            "the kernel has another digest: the same packages, unpacked in another way": (
                before.build.sha256 not in {"", now.build.sha256}
            ),
            "the image has another digest: the same packages, built in another way": (
                before.image_sha256 not in {"", now.image_sha256}
            ),
        }
        return [note for note, is_so in said.items() if is_so]


def repro(
    cell: Annotated[str, typer.Argument(metavar="ID", help="A cell's id, such as 6.12.117-x86_64.")],
    probe: Annotated[str, typer.Option(help="Ask only this probe, and trace it.  [default: all probes]")] = "",
    run: Annotated[str | None, typer.Option(help="A run's id.  [default: the one with its newest answer]")] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="JSON export to reproduce from; may come from another machine."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Store the trace, for `runner cell show --probe`; needs --probe.")
    ] = False,
    hold: Annotated[bool, typer.Option("--hold", help="Leave the guest open and print how to enter it.")] = False,
    gdb: Gdb = False,
    matrix: MatrixFile = DEFAULT_MATRIX,
    offline: Offline = False,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """Boot exactly that cell once more, with the same kernel, image, programs and parameters; compare the answers.

    With --gdb nothing is asked before Enter is pressed. Exit status: 0 the same answer; 1 another one; 2 no answer.

    Example: runner cell repro 6.12.117-x86_64 --probe nat-source:tc
    """
    project = Project.at(matrix)
    expectations = expectations_of(project)
    if keep and (from_ or not probe):
        raise UserError("--keep stores the trace of one --probe of a run of this store")
    earlier = _of_file(expectations, from_, cell) if from_ else _of_store(project, expectations, cell, run)
    order = order_again(earlier.result.cell, earlier.asked, probe, trace=bool(probe))
    if gdb:
        order = order.model_copy(update={"cell": _unlimited(order.cell), "gdb": True})
    console = Console(stderr=True, highlight=False)
    guests = _open_guests(order, console, hold=hold, gdb=gdb) if hold or gdb else None
    done = _repeated(project, expectations, earlier, order, console, guests, offline=offline)
    trace = next((one for one in done.result.traces if one.probe == probe), None)
    if keep and trace:
        write_trace(project.reports, earlier.run_id, cell, trace)
    if format_ is Format.JSON:
        emit_json(_document(done, trace), output)
    else:
        parts = [comparison_report(earlier.where, earlier.result, done.result, done.changed, notes=done.notes)]
        if probe and done.result.outcome is Outcome.RAN:
            parts.insert(0, probe_report(judged_cell(done.result, expectations), probe, trace=trace))
        emit(Group(*parts), output)
    raise Finished(done.status)


# --- what was asked then ----------------------------------------------------------------------------------------------


def _of_store(project: Project, expectations: Expectations, cell_id: str, run_id: str | None) -> Earlier:
    """From a run. Raises UserError when it has no such cell."""
    judged = judged_run(project, run_id or run_of(project, cell_id))
    result, asked = judged.cell(cell_id).result, asked_by(project, judged.run.id)
    kept, objects = (asked.cells.get(cell_id), asked.objects) if asked else (None, {})
    where = f"run {judged.run.id}"
    return Earlier(where, judged.run.id, result, kept or _asked_now(expectations, result), kept is not None, objects)


def _of_file(expectations: Expectations, path: Path, cell_id: str) -> Earlier:
    """From what `runner report export` or `runner cell show --format json` printed. Raises UserError."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    found = imported_cell(text, cell_id, str(path))
    asked = found.asked or _asked_now(expectations, found.result)
    return Earlier(str(path), "", found.result, asked, found.asked is not None, found.objects)


def _asked_now(expectations: Expectations, result: CellResult) -> AskedCell:
    (order,) = cell_orders((result.cell,), expectations)
    return AskedCell(asks=order.asks, modules=order.modules, programs={})


def _programs(project: Project, earlier: Earlier) -> tuple[dict[str, bytes], bool]:
    """The BPF objects of then, or else those that this project compiles to; and whether they are the same."""
    wanted = earlier.asked.programs
    if wanted and all(digest in earlier.objects for digest in wanted.values()):
        return {name: earlier.objects[digest] for name, digest in wanted.items()}, True
    order, deadline = architecture(earlier.result.cell.arch).byte_order, project.limits.deadline("prepare_s")
    names = sorted({str(ask.body["object"]) for ask in earlier.asked.asks if "object" in ask.body})
    objects = compile_objects(project.root, names, (order,), cache_root(), deadline=deadline)[order]
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in objects.items()}
    return objects, bool(wanted) and all(wanted.get(name) == digest for name, digest in digests.items())


# --- the second boot --------------------------------------------------------------------------------------------------


def _repeated(
    project: Project,
    expectations: Expectations,
    earlier: Earlier,
    order: CellOrder,
    console: Console,
    guests: OpenGuests | None,
    *,
    offline: bool,
) -> Repeated:
    objects, same = _programs(project, earlier)
    cell, before, started = order.cell, earlier.result, datetime.now(UTC)
    deadline = project.limits.deadline("prepare_s")
    tar = payload(cell.image, objects, cache_root(), offline=offline, deadline=deadline)
    header = RunHeader(
        id=new_run_id(started, RunKind.REPRO),
        started=started,
        matrix_sha256=project.matrix.sha256,
        runner_version=__version__,
    )
    last = _Last()
    shown = Display(console, lambda result: result.cause or str(result.outcome))
    with stoppable(), tempfile.TemporaryDirectory(dir=cache_root()) as folder:
        payloads: dict[str, bytes] = {architecture(cell.arch).byte_order: tar}
        plan = Plan(header, (order,), payloads, this_machine_alone(1), Path(folder), offline=offline)
        if not execute(plan, (last, shown), guests=guests).complete:
            raise Finished(EXIT_INTERRUPTED)
    now = last.results[-1].model_copy(update={"cell": before.cell})
    probes = tuple(ask.probe for ask in order.asks)
    held = _holds(expectations, before) & _holds(expectations, now)
    changed = () if before.outcome not in ANSWERS else changed_answers(before, now, probes, held=held)
    return Repeated(earlier, now, probes, same, changed)


@dataclass(frozen=True, slots=True)
class _Last:
    """A sink that collects the results: of a cell that is repeated the last one counts."""

    results: list[CellResult] = field(default_factory=list)

    def began(self, plan: Plan) -> None:
        pass

    def progress(self, progress: object) -> None:
        pass

    def result(self, result: CellResult) -> None:
        self.results.append(result)

    def finished(self, end: RunEnd) -> None:
        pass


def _holds(expectations: Expectations, result: CellResult) -> set[str]:
    return {row.probe for row in expectations.rows(result) if row.verdict is Verdict.HOLDS}


def _document(done: Repeated, trace: Trace | None) -> dict[str, object]:
    return {
        "cell": done.result.cell.id,
        "earlier": done.earlier.where,
        "outcome": done.result.outcome,
        "cause": done.result.cause,
        "same": done.status == EXIT_OK,
        "answered": done.status != EXIT_NO_ANSWER,
        "changed": [one.model_dump(exclude={"cell"}) for one in done.changed],
        "notes": done.notes,
        "observations": [one.model_dump(mode="json") for one in done.result.observations],
        "crashes": [one.model_dump() for one in done.result.crashes],
        "trace": trace.model_dump(mode="json") if trace else None,
    }


# --- guests that stay open --------------------------------------------------------------------------------------------


def _unlimited(cell: Cell) -> Cell:
    """The same, with all the time for its questions."""
    limits = cell.limits.model_copy(update={"probe_s": _UNLIMITED_S, "cell_s": _UNLIMITED_S})
    return cell.model_copy(update={"limits": limits})


def _open_guests(order: CellOrder, console: Console, *, hold: bool, gdb: bool) -> OpenGuests:
    def stop(guest: Guest, title: str, then: str) -> None:
        console.print(Text(f"{order.cell.id}: {title}"), soft_wrap=True)
        way_in(guest, console)
        console.print(Text(then))
        if not sys.stdin.readline():
            while True:  # there is nobody to press it: until Ctrl-C
                time.sleep(3600)

    def before(guest: Guest) -> None:
        stop(guest, "the guest is open, and was not asked anything yet:", "Enter asks it.")

    def after(guest: Guest) -> None:
        with suppress(KeyboardInterrupt):
            stop(guest, "everything was asked. The guest is open:", "Enter or Ctrl-C ends it.")

    defaults = OpenGuests()
    return OpenGuests(before if gdb else defaults.before, after if hold else defaults.after)


def way_in(guest: Guest, console: Console) -> None:
    """Print the commands that enter a guest from another terminal."""
    access = guest.access()
    for command in (access.ssh, access.gdb):
        if command:
            console.print(Text(f"  {shlex.join(command)}"), soft_wrap=True)
