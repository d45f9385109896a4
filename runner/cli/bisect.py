"""`runner bisect`: find where an answer changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from runner.bisect.candidates import Range, every_kernel
from runner.bisect.questions import find
from runner.caches import cache_root
from runner.cli import EXIT_NO_ANSWER, EXIT_OK, Finished
from runner.cli.bisect_git import CommitBisecting, bisect_status, check_ends
from runner.cli.bisecting import Bisecting
from runner.cli.judging import expectations_of
from runner.cli.options import (
    DEFAULT_MATRIX,
    Format,
    FormatOption,
    Hosts,
    MatrixFile,
    Offline,
    Output,
    Project,
    Verbose,
    emit,
    out_console,
)
from runner.errors import UserError
from runner.kernels.archive import Archive
from runner.model.architecture import architecture
from runner.reports.bisectcommits import commits_report
from runner.reports.bisection import bisection_report
from runner.results.bisections import Bisection

_SAMPLES = 4
_WAYS = "one of: --from K --to K, --series 6.12, --version 6.12.117, --all"

app = typer.Typer()


@app.command()
def bisect(
    target: Annotated[
        str, typer.Argument(metavar="CLAIM|KFUNC[:tc|xdp]", help="A claim, such as nat-manip-2, or a kfunc.")
    ],
    arch: Annotated[
        list[str] | None, typer.Option(help="An architecture; repeatable with --version. Default: the matrix's first.")
    ] = None,
    first: Annotated[str, typer.Option("--from", metavar="K", help="The oldest kernel: version, release, build.")] = "",
    last: Annotated[str, typer.Option("--to", metavar="K", help="The newest kernel.")] = "",
    series: Annotated[str, typer.Option(help="All of a series, such as 6.12.")] = "",
    version: Annotated[
        str, typer.Option(help="Every build of one version: all architectures of the matrix, all flavours.")
    ] = "",
    every: Annotated[bool, typer.Option("--all", help="Every kernel that the archive has.")] = False,
    slots: Annotated[
        int | None, typer.Option("-n", "--slots", min=1, help="Kernels at a time. Default: what this machine carries.")
    ] = None,
    hosts: Hosts = None,
    samples: Annotated[
        int, typer.Option(min=0, help="How many kernels outside of what was found are asked as well.")
    ] = _SAMPLES,
    git: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Search the commits of this kernel repository; each is built.")
    ] = None,
    good: Annotated[str, typer.Option(metavar="REF", help="With --git: a commit that answers as it should.")] = "",
    bad: Annotated[str, typer.Option(metavar="REF", help="With --git: a later one that does not.")] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Boot also what the store has an answer of.")] = False,
    matrix: MatrixFile = DEFAULT_MATRIX,
    offline: Offline = False,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """Find the kernels between which an answer changed, with few boots, and show the evidence.

    A bisection that was interrupted goes on where it was when the same command is given again.

    Exit status: 0 it came to its end; 2 no kernel answered, or an end of a change could not be confirmed.

    Example: runner bisect nat-manip-2 --arch x86_64 --series 6.12
    """
    if git:
        if any((first, last, series, version, every, slots, hosts, fresh)):
            raise UserError(
                "--git asks the commits of a repository, one after another",
                hint="leave out what is about "
                "an archive's kernels: --from, --to, --series, --version, --all, -n, --hosts, --fresh",
            )
        _bisection_commits(target, git, good, bad, arch, matrix, format_, output, offline=offline)
    given = sum(map(bool, (first or last, series, version, every)))
    if given != 1:
        raise UserError("only one of these can be given" if given else "which kernels?", hint=_WAYS)
    project = Project.at(matrix)
    expectations = expectations_of(project)
    asked = find(target, expectations.known["claims"], expectations.known["census"].kfuncs)
    archs = _archs(project, arch, several=bool(version))
    limit = project.limits.deadline("lock_s")
    offered = every_kernel(Archive(cache_root(), offline=offline), archs, deadline=limit, offline=offline)
    done = Bisecting(
        project=project,
        asked=asked,
        issues=expectations.issues,
        kernels=Range(series, first, last, version).select(offered),
        slots=slots,
        hosts=hosts,
        samples=samples,
        every=bool(version),
        fresh=fresh,
        offline=offline,
        console=Console(stderr=True, highlight=False) if format_ is Format.JSON or output else out_console(),
    ).run()
    emit(done.model_dump_json(indent=1) if format_ is Format.JSON else bisection_report(done), output)
    raise Finished(_status(done))


def _bisection_commits(
    target: str,
    repository: Path,
    good: str,
    bad: str,
    arch: list[str] | None,
    matrix: Path,
    format_: Format,
    output: Path | None,
    *,
    offline: bool,
) -> NoReturn:
    check_ends(good, bad)
    project = Project.at(matrix)
    expectations = expectations_of(project)
    done = CommitBisecting(
        project=project,
        asked=find(target, expectations.known["claims"], expectations.known["census"].kfuncs),
        repository=repository,
        arch=_archs(project, arch, several=False)[0],
        console=Console(stderr=True, highlight=False),
        offline=offline,
    ).run(good, bad)
    emit(done.model_dump_json(indent=1) if format_ is Format.JSON else commits_report(done), output)
    raise Finished(bisect_status(done))


def _archs(project: Project, given: list[str] | None, *, several: bool) -> tuple[str, ...]:
    """Kernels of several architectures have no order, so that only builds of one version may be of several."""
    archs = tuple(dict.fromkeys(given or [wanted.arch for wanted in project.matrix.wanted()]))
    for name in archs:
        architecture(name)  # UserError when there is no such thing
    if several or len(archs) == 1:
        return archs
    if given:
        raise UserError("one architecture at a time", hint="--version V asks all builds of one version on several")
    return archs[:1]


def _status(done: Bisection) -> int:
    found = done.found
    if found is None or not found.answers:
        return EXIT_NO_ANSWER
    sides = (side for change in found.changes for side in (change.last_good, change.first_bad))
    return EXIT_OK if all(side.confirmed for side in sides) else EXIT_NO_ANSWER
