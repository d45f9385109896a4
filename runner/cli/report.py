# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner report`: what runs answered, in every format. Nothing is booted: verdicts are computed from the store."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from runner.cli import EXIT_BROKEN, EXIT_OK, Finished, completion
from runner.cli.options import Output, RunId, Shown, Stats, command, emit, exit_status, group, versions
from runner.errors import UserError
from runner.model import ProgType
from runner.project import Project
from runner.reports.changes import changes_document, changes_report
from runner.reports.documented import docs_check_document, docs_check_report, statements_report
from runner.reports.export import csv_table, export, to_json, veristat_csv
from runner.reports.markdown import availability_markdown, job_summary, workflow_commands
from runner.reports.over_time import over_time_document, over_time_report
from runner.reports.site import site, write_site
from runner.reports.summary import run_report, runs_table
from runner.reports.testsystems import KCIDB_ORIGIN, junit, kcidb, ktap
from runner.results.bisections import load_bisections
from runner.results.docscheck import FEATURES, docs_check, features_check, load, load_brought
from runner.results.history import feature_facts, kfunc_facts
from runner.results.model import JudgedCell, JudgedRun, RunKind
from runner.results.series import builds, compare, judged_runs, side
from runner.results.statements import by_probe, errors_check, load_errors, statements
from runner.results.stories import Only, overview
from runner.text import counted

app = group("Show what runs answered. Nothing is booted.", "report show")

Arch = Annotated[str | None, typer.Option(help="Only this architecture.")]


@command(app, "show", "report show")
def show(
    project: Project,
    run: RunId = None,
    every: Annotated[bool, typer.Option("--all", help="Show every kfunc, not only those of claims.")] = False,
    stats: Stats = None,
    output: Output = None,
) -> None:
    """Print the grid and the summary as `runner matrix run` does; the exit status is the same."""
    judged = project.newest(run)
    emit(run_report(judged, every=every, every_hint="--all", is_last=run is None, stats=stats or ""), output)
    raise Finished(exit_status(judged))


@command(app, "html", "report html --output site")
def html(
    project: Project,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of the site; created if missing.")],
    run: RunId = None,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Number of runs with a page, the last ones.")] = 20,
) -> None:
    """Write a static site that opens from the disk: grids, evidence, a page per kfunc and per run.

    Files of an earlier build stay in the folder, so that links to older runs remain valid.
    """
    with _uncollected():
        count = _written_site(project, output, run, runs)
    emit(f"{output / 'index.html'}: {counted(count, 'file')}")


@contextmanager
def _uncollected() -> Iterator[None]:
    """To look for cycles in millions of objects that have none takes a third of a site's time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _written_site(project: Project, output: Path, run: str | None, runs: int) -> int:
    """The number of its files. `runs` is that of the runs with a page."""
    expectations = project.expectations
    said = {it.id: (it.says, it.sources) for it in expectations.said()}
    shown = project.newest(run, consoles=True)
    with project.store() as store:
        wanted = {shown.run.id, *[info.id for info in store.runs() if info.kind is RunKind.MATRIX][:runs]}
        listed = [info.id for info in reversed(store.runs()) if info.id in wanted]
        pages = judged_runs(store, expectations, listed, shown if RunKind.of(shown.run.id) is RunKind.MATRIX else None)
        return write_site(output, site(shown, pages, said, load_bisections(store)))


class ExportFormat(StrEnum):
    """What `report export` prints."""

    JSON = "json"  # everything about a run; fields are added, never renamed
    CSV = "csv"  # a line per cell, verdict and state
    JUNIT = "junit"
    KTAP = "ktap"
    KCIDB = "kcidb"  # schema 5.3, checked with the kcidb-io package where that is installed
    MARKDOWN = "markdown"  # the content of reports/availability.md
    GITHUB = "github"  # annotations for GitHub Actions


@command(app, "export", "report export --format junit --output junit.xml")
def export_run(
    project: Project,
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            autocompletion=completion.runs,
            help="A run's id. [default: the last run as json; else every cell of the matrix, with its newest answer]",
        ),
    ] = None,
    format_: Annotated[ExportFormat, typer.Option("--format", help="What to print.")] = ExportFormat.JSON,
    origin: Annotated[str, typer.Option(help="With kcidb: the name of your CI system.")] = KCIDB_ORIGIN,
    output: Output = None,
) -> None:
    """Print a run in a format for other programs.

    With github, a job summary is added to the file that $GITHUB_STEP_SUMMARY names.
    """
    if format_ is ExportFormat.JSON:
        judged = project.run(run)
        emit(to_json(export(judged, project.asked(judged.run.id))), output)
        return
    judged = project.newest(run, consoles=True)
    writers: dict[ExportFormat, Callable[[JudgedRun], str]] = {
        ExportFormat.CSV: csv_table,
        ExportFormat.JUNIT: junit,
        ExportFormat.KTAP: ktap,
        ExportFormat.KCIDB: lambda judged: kcidb(judged, origin),
        ExportFormat.MARKDOWN: availability_markdown,
        ExportFormat.GITHUB: lambda judged: workflow_commands(judged, _places(project)),
    }
    if format_ is ExportFormat.GITHUB and (summary := os.environ.get("GITHUB_STEP_SUMMARY")):
        emit(job_summary(judged), Path(summary), mode="a")
    if text := writers[format_](judged):
        emit(text, output)


@command(app, "veristat", "report veristat --kernel 6.12.117 --output before.csv")
def veristat(
    project: Project,
    kernel: Annotated[
        str,
        typer.Option(
            metavar="KERNEL", autocompletion=completion.kernels, help="6.12, 6.12.117, or its name in the matrix."
        ),
    ],
    run: RunId = None,
    arch: Arch = None,
    output: Output = None,
) -> None:
    """Print what the verifier counted on one kernel as CSV that `veristat -C` and `veristat -R` read."""
    judged = project.newest(run)
    cells = [cell for cell in judged.cells if arch in (None, cell.result.cell.arch) and _is_named(cell, kernel)]
    if len(cells) != 1:
        there = ", ".join(cell.id for cell in cells or judged.cells) + ("; choose with --arch ARCH" if cells else "")
        what = "several cells" if cells else "no cell"
        raise UserError(f"run {judged.run.id} has {what} of --kernel {kernel}", hint=f"it has: {there}")
    if not (table := veristat_csv(cells[0])):
        raise UserError(f"{cells[0].id} has no program with an answer", hint="`runner load prog.bpf.o` asks about one")
    emit(table, output)


def _is_named(cell: JudgedCell, word: str) -> bool:
    asked = cell.result.cell
    return word in (asked.name, asked.id) or asked.kernel.upstream in versions("--kernel", word)


def _places(project: Project) -> dict[str, tuple[str, int]]:
    """Where each claim is written, as GitHub wants it: below the folder that it checked out."""
    here, found = Path.cwd(), {}
    for claim_id, (path, line) in project.expectations.written().items():
        whole = path.resolve()
        found[claim_id] = (str(whole.relative_to(here) if whole.is_relative_to(here) else path), line)
    return found


@command(app, "runs", "report runs")
def runs(project: Project) -> Shown:
    """List the runs in the store, the last one first."""
    with project.store() as store:
        found = store.runs()
    return Shown(runs_table(found), [info.model_dump(mode="json") for info in found])


# --- over all stored runs ---------------------------------------------------------------------------------------------


@command(app, "availability", "report availability --kfunc bpf_ct_set_nat_info")
def availability(
    project: Project,
    kfunc: Annotated[str | None, typer.Option(help="Only this kfunc or feature.")] = None,
    prog_type: Annotated[
        ProgType | None,
        typer.Option("--type", metavar="TYPE", help="Only this program type, such as tc. [default: tc and xdp]"),
    ] = None,
    arch: Arch = None,
    docs: Annotated[
        Path | None, typer.Option("--ebpf-docs", help="With json: a checkout of eBPF Docs, for what is documented.")
    ] = None,
) -> Shown:
    """Show the first kernel with each kfunc, across all stored matrix runs, and the exceptions."""
    documented, brought = (load(docs), load_brought(docs, *FEATURES)) if docs else ({}, {})
    known = builds(project.measured(kfunc))
    found = overview(known, Only(kfunc, prog_type, arch))

    def document() -> dict[str, object]:
        stated = by_probe(project.newest(), project.expectations.said())
        kfuncs = kfunc_facts(known, stated, project.root, documented)
        features = feature_facts(known, brought)
        beside = overview(known, Only(kfunc, prog_type, arch, beside=True)).stories
        return over_time_document(found, kfuncs, beside, features)

    return Shown(over_time_report(found), document)


@command(app, "diff", "report diff 6.12.117 6.18.15")
def diff(
    project: Project,
    before: Annotated[
        str,
        typer.Argument(
            metavar="A", autocompletion=completion.runs, help="A run, `last`, `last~1`, a kernel, or a cell."
        ),
    ],
    after: Annotated[
        str,
        typer.Argument(
            metavar="B", autocompletion=completion.runs, help="What to compare it with, named in the same way."
        ),
    ],
    same: Annotated[bool, typer.Option("--same", help="Exit 1 when anything changed, or a cell came or went.")] = False,
) -> Shown:
    """Show what got better and worse from A to B; exit 1 when something got worse.

    A kernel or a cell stands for its last stored answer.
    """
    known = [project.of_run(word).expectations for word in (before, after)]
    with project.store() as store:
        old = side(store, known[0], before)
        judge = known[1].grown(cell.result for cell in old.cells)  # a name that was there, and is not any more
        found = compare(old, side(store, judge, after), judge)
    status = EXIT_BROKEN if found.worse or (same and not found.nothing) else EXIT_OK
    return Shown(changes_report(found), changes_document(found), status)


@command(app, "docs-check", "report docs-check --source ebpf-docs")
def docs_check_of(
    project: Project,
    run: RunId = None,
    source: Annotated[
        Literal["ebpf-docs", "commit", "source"] | None, typer.Option(help="Only statements of this source.")
    ] = None,
    docs: Annotated[
        Path | None, typer.Option("--ebpf-docs", help="Compare with this checkout of the eBPF Docs project.")
    ] = None,
    prog_type: Annotated[
        ProgType | None, typer.Option("--type", metavar="TYPE", help="With --ebpf-docs: only this program type.")
    ] = None,
) -> Shown:
    """Show what is documented about the kfuncs, and on which kernels it is true, false or out of date.

    These are the statements that claims link to pages, commits and sources. With --ebpf-docs, show where a checkout
    differs from the kernels' answers in all stored matrix runs, and exit 1 if it does. Of kfuncs: versions, program
    types, flags, and the errors of their pages; of helpers and types: versions.
    """
    if docs is None:
        if prog_type:
            raise UserError("--type needs --ebpf-docs", hint="--ebpf-docs ../ebpf-docs")
        if run and (kind := RunKind.of(run)) is not RunKind.MATRIX:
            raise UserError(
                f"{run} is a run of {kind}, and was not asked what is documented",
                hint="`runner report runs` lists those of the matrix",
            )
        judged = project.newest(run)
        stated = statements(judged, project.expectations.said(), source or "")
        return Shown(statements_report(judged, stated), [it.model_dump(mode="json") for it in stated])
    if run or source:
        raise UserError("--ebpf-docs compares the answers of all runs", hint="leave RUN and --source out")
    kfuncs, brought, pages = load(docs), load_brought(docs, *FEATURES), load_errors(docs)
    known = builds(project.measured())
    found, features = docs_check(kfuncs, known, Only(type=prog_type)), features_check(brought, known)
    if prog_type and not found.types:
        asks = "`runner matrix run --all-program-types` does"
        raise UserError(f"no stored run asked about {prog_type} programs", hint=asks)
    errors = errors_check(pages, project.newest(), project.expectations.said())
    wrong = found.disagreements or features.disagreements or any(it.unlisted for it in errors)
    shown = (found, features, errors)
    return Shown(docs_check_report(*shown), docs_check_document(*shown), EXIT_BROKEN if wrong else EXIT_OK)
