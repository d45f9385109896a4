"""`runner report ...` over all stored runs: what changed, since when, and what others say about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runner.cli import EXIT_BROKEN, EXIT_OK
from runner.cli.options import Shown, command
from runner.cli.project import Project
from runner.errors import UserError
from runner.model import ProgType
from runner.reports.changes import changes_document, changes_report
from runner.reports.docscheck import docs_check_document, docs_check_report
from runner.reports.history import history_document, history_report
from runner.reports.over_time import over_time_document, over_time_report
from runner.results.docscheck import docs_check
from runner.results.ebpfdocs import load
from runner.results.history import history, signatures
from runner.results.series import Measured, builds, different, measurements
from runner.results.sides import compare, side
from runner.results.stories import Only, overview
from runner.text import nearest

app = typer.Typer()  # `runner report` takes these commands into its own

Kfunc = Annotated[str | None, typer.Option(help="Only this kfunc.")]
Type = Annotated[
    ProgType | None,
    typer.Option("--type", metavar="TYPE", help="Only this program type, such as tc. [default: tc and xdp]"),
]
Arch = Annotated[str | None, typer.Option(help="Only this architecture.")]


def measured(
    project: Project, kfunc: str | None = None, arch: str | None = None, *, verdicts_of: str = ""
) -> tuple[Measured, ...]:
    """All stored answers, of one architecture, judged by the claims as they are now; with the verdicts about one kfunc.

    Raises UserError when no kernel was ever asked about `kfunc`.
    """
    expectations = project.expectations
    with project.store() as store:
        every = measurements(store, expectations, verdicts_of)
    kept = tuple(each for each in every if arch in (None, each.cell.arch))
    names = {topic.subject for states in different(kept) for topic in states}
    if kfunc is not None and kfunc not in names:
        raise UserError(f"no kernel was asked about {kfunc}", hint=nearest(kfunc, sorted(names)))
    return kept


@command(app, "availability")
def availability(project: Project, kfunc: Kfunc = None, prog_type: Type = None, arch: Arch = None) -> Shown:
    """Show the first kernel with each kfunc, across all stored runs, and the exceptions.

    Example: runner report availability --kfunc bpf_ct_set_nat_info
    """
    found = overview(builds(measured(project, kfunc)), Only(kfunc, prog_type, arch))
    return Shown(over_time_report(found), over_time_document(found))


@command(app, "diff")
def diff(
    project: Project,
    before: Annotated[str, typer.Argument(metavar="A", help="A run, `last`, `last~1`, a kernel, or a cell.")],
    after: Annotated[str, typer.Argument(metavar="B", help="What to compare it with, named in the same way.")],
    same: Annotated[bool, typer.Option("--same", help="Exit 1 when anything changed, or a cell came or went.")] = False,
) -> Shown:
    """Show what got better and worse from A to B; exit 1 when something got worse.

    A kernel or a cell stands for its last stored answer.

    Example: runner report diff 6.12.117 6.18.15
    """
    expectations = project.expectations
    with project.store() as store:
        found, names = compare(side(store, expectations, before), side(store, expectations, after), expectations)
    status = EXIT_BROKEN if found.worse or (same and not found.nothing) else EXIT_OK
    return Shown(changes_report(found, names), changes_document(found, names), status)


@command(app, "history")
def history_of(
    project: Project,
    kfunc: Annotated[str, typer.Argument(help="The kfunc.")],
    prog_type: Type = None,
    arch: Arch = None,
) -> Shown:
    """Show every change in the answers about a kfunc, across all stored runs, and its prototype and flags in BTF.

    Example: runner report history bpf_ct_set_nat_info
    """
    kept = measured(project, kfunc, arch, verdicts_of=kfunc)
    types = {topic.type for states in different(kept) for topic in states}
    turns = history(kept, kfunc, (prog_type,) if prog_type else types)
    shown = (kfunc, turns, signatures(builds(kept), kfunc), len({each.run for each in kept}))
    return Shown(history_report(*shown), history_document(*shown))


@command(app, "docs-check")
def docs_check_of(
    project: Project,
    docs: Annotated[Path, typer.Option("--ebpf-docs", help="A checkout of the eBPF Docs project.")],
    prog_type: Type = None,
) -> Shown:
    """Compare what eBPF Docs says about kfuncs with the kernels' answers; exit 1 when they differ.

    Example: runner report docs-check --ebpf-docs ../ebpf-docs
    """
    found = docs_check(load(docs), builds(measured(project)), Only(type=prog_type))
    return Shown(docs_check_report(found), docs_check_document(found), EXIT_BROKEN if found.disagreements else EXIT_OK)
