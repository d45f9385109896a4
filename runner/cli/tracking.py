"""`runner report ...` over all runs that are kept: what changed, since when, and what others say about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType

from runner.cli import EXIT_BROKEN, Finished
from runner.cli.judging import expectations_of
from runner.cli.options import (
    DEFAULT_MATRIX,
    Format,
    FormatOption,
    MatrixFile,
    Output,
    Project,
    emit,
    emit_json,
    store_of,
)
from runner.cli.sides import compare, side
from runner.errors import UserError
from runner.model import ProgType
from runner.reports.changes import changes_document, changes_report
from runner.reports.docscheck import docs_check_document, docs_check_report
from runner.reports.history import history_document, history_report, signatures_document, signatures_report
from runner.reports.over_time import over_time_document, over_time_report
from runner.results.docscheck import docs_check
from runner.results.ebpfdocs import load
from runner.results.history import history, signatures
from runner.results.series import Measured, builds, different, measurements
from runner.results.stories import Only, overview
from runner.text import nearest

Kfunc = Annotated[str | None, typer.Option(help="Only this kfunc.")]
Type = Annotated[ProgType | None, typer.Option("--type", help="Only this program type; by default tc and xdp.")]
Arch = Annotated[str | None, typer.Option(help="Only this architecture.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `runner report`."""
    app.command("availability")(availability)
    app.command("diff")(diff)
    app.command("docs-check")(docs_check_of)
    app.command("history")(history_of)
    app.command("signatures")(signatures_of)


def show(text: RenderableType, document: object, format_: Format, output: Output) -> None:
    """One answer in the format that was asked for."""
    if format_ is Format.JSON:
        emit_json(document, output)
    else:
        emit(text, output)


def measured(project: Project) -> tuple[Measured, ...]:
    """Everything that is kept, judged by the claims as they are now."""
    expectations = expectations_of(project)
    with store_of(project, read_only=True) as store:
        return measurements(store, expectations)


def known_kfunc(kept: tuple[Measured, ...], kfunc: str | None) -> None:
    """Raises UserError when no kernel was ever asked about it."""
    names = {topic.subject for states in different(kept) for topic in states}
    if kfunc is not None and kfunc not in names:
        raise UserError(f"no kernel was asked about {kfunc}", hint=nearest(kfunc, sorted(names)))


def availability(
    kfunc: Kfunc = None,
    prog_type: Type = None,
    arch: Arch = None,
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
) -> None:
    """Show since which kernel each kfunc is available, over all runs that are kept; and where that is not simply so.

    Example: runner report availability --kfunc bpf_ct_set_nat_info
    """
    kept = measured(Project.at(matrix))
    known_kfunc(kept, kfunc)
    found = overview(builds(kept), Only(kfunc, prog_type, arch))
    show(over_time_report(found), over_time_document(found), format_, output)


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A run, `last`, `last~1`, a kernel, or a cell.")],
    after: Annotated[str, typer.Argument(metavar="B", help="What it is compared with: what became of A's answers.")],
    texts: Annotated[bool, typer.Option("--texts", help="Also what differs in words alone.")] = False,
    same: Annotated[bool, typer.Option("--same", help="Exit 1 when anything changed, or a cell came or went.")] = False,
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
) -> None:
    """Show what got better and worse from A to B; exits 1 when something got worse.

    Of a kernel or a cell, the last answer that is kept is taken.

    Example: runner report diff 6.12.117 6.18.15
    """
    project = Project.at(matrix)
    expectations = expectations_of(project)
    with store_of(project, read_only=True) as store:
        found, names = compare(side(store, expectations, before), side(store, expectations, after), expectations)
    show(changes_report(found, names, texts=texts), changes_document(found, names), format_, output)
    if found.worse or (same and not found.nothing):
        raise Finished(EXIT_BROKEN)


OneKfunc = Annotated[str, typer.Option("--kfunc", help="The kfunc.")]


def history_of(
    kfunc: OneKfunc,
    prog_type: Type = None,
    arch: Arch = None,
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
) -> None:
    """Show every change of what kernels answered about a kfunc, over all runs that are kept, with the evidence.

    Example: runner report history --kfunc bpf_ct_set_nat_info
    """
    expectations = expectations_of(Project.at(matrix))
    with store_of(Project.at(matrix), read_only=True) as store:
        every = measurements(store, expectations, kfunc)
    kept = tuple(each for each in every if arch in (None, each.cell.arch))
    known_kfunc(kept, kfunc)
    types = {topic.type for states in different(kept) for topic in states}
    turns = history(kept, kfunc, (prog_type,) if prog_type else types)
    runs = len({each.run for each in kept})
    show(history_report(kfunc, turns, runs), history_document(kfunc, turns, runs), format_, output)


def signatures_of(
    kfunc: OneKfunc,
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
) -> None:
    """Show a kfunc's prototype and flags over all kernels that were run, as their BTF has them.

    Example: runner report signatures --kfunc bpf_skb_ct_alloc
    """
    kept = measured(Project.at(matrix))
    known_kfunc(kept, kfunc)
    found = signatures(builds(kept), kfunc)
    show(signatures_report(kfunc, found), signatures_document(kfunc, found), format_, output)


def docs_check_of(
    docs: Annotated[Path, typer.Option("--ebpf-docs", help="A checkout of the eBPF Docs project.")],
    prog_type: Type = None,
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
) -> None:
    """Hold what the eBPF Docs project says about kfuncs against what kernels answered; exits 1 when they disagree.

    Example: runner report docs-check --ebpf-docs ../ebpf-docs
    """
    found = docs_check(load(docs), builds(measured(Project.at(matrix))), Only(type=prog_type))
    show(docs_check_report(found), docs_check_document(found), format_, output)
    if found.disagreements:
        raise Finished(EXIT_BROKEN)
