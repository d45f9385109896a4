# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner bisect`: find where an answer changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from runner.bisect.boots import BisectSetup
from runner.bisect.commits import CommitBisection
from runner.bisect.releases import ReleaseBisection, cells_of, chosen, every_kernel
from runner.bisect.target import find
from runner.caches import cache_root
from runner.cli import EXIT_NO_ANSWER, EXIT_OK, completion
from runner.cli.booting import Display, fleet_of, resumable, stoppable
from runner.cli.options import CompilerOption, Hosts, NoSnapshot, Offline, Shown, Slots, command, progress_console
from runner.errors import UserError
from runner.kernels.build import Recipe
from runner.kernels.checkout import Checkout
from runner.model import CellResult
from runner.model.architecture import architecture
from runner.model.version import KernelVersion
from runner.probes.objects.files import escaped
from runner.probes.objects.written import TOGETHER, ObjectEntry
from runner.project import Project
from runner.reports.bisection import bisection_report
from runner.results.store import ResultStore
from runner.text import plain

_WAYS = "one of: --from K --to K, --series 6.12, --version 6.12.117, --all, --git DIR"
_ARCHIVE = "--from, --to, --series, --version, --all, -n, --hosts, --fresh"

app = typer.Typer()


@command(app, "bisect", "bisect build/lb.bpf.o/ingress --arch x86_64 --series 6.12")
def bisect(
    project: Project,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            autocompletion=completion.probes,
            help="A probe (nat-manip-2), a kfunc, a program (lb/ingress, build/lb.bpf.o/ingress), a whole object file, "
            "a program's number ('lb/ingress:insns>900000'), a command (go), or a test of it (go/TestNat).",
        ),
    ],
    arch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARCH", help="Architecture; may be repeated with --version. [default: the first of the matrix]"
        ),
    ] = None,
    first: Annotated[str, typer.Option("--from", metavar="K", help="Oldest kernel: version, release, build.")] = "",
    last: Annotated[str, typer.Option("--to", metavar="K", help="Newest kernel.")] = "",
    series: Annotated[str, typer.Option(help="All kernels of a series, such as 6.12.")] = "",
    version: Annotated[
        str, typer.Option(help="Every build of one version: all architectures of the matrix, all flavours.")
    ] = "",
    every: Annotated[bool, typer.Option("--all", help="Every kernel in the archive.")] = False,
    slots: Slots = None,
    hosts: Hosts = None,
    samples: Annotated[int, typer.Option(min=0, help="Number of kernels to test besides those of the search.")] = 4,
    git: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Bisect the commits of this kernel repository; build each.")
    ] = None,
    good: Annotated[str, typer.Option(metavar="REF", help="With --git: the commit with the old answer.")] = "",
    bad: Annotated[str, typer.Option(metavar="REF", help="With --git: a later commit with the new answer.")] = "",
    compiler: CompilerOption = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Re-test kernels that already have a stored answer.")] = False,
    no_snapshot: NoSnapshot = False,
    offline: Offline = False,
) -> Shown:
    """Find the kernels between which an answer changed, in few boots, with the evidence.

    Repeat the command to resume an interrupted bisection.

    Exit status: 0 finished; 2 no kernel answered, or an end of a change could not be confirmed.
    """
    ways = [bool(it) for it in (first or last, series, version, every, git)]
    if git and any((first, last, series, version, every, slots, hosts, fresh)):
        raise UserError("--git tests the commits of a repository", hint=f"leave out {_ARCHIVE}")
    if sum(ways) != 1:
        raise UserError("only one of these can be given" if any(ways) else "which kernels?", hint=_WAYS)
    if git and not (good and bad):
        raise UserError("--git needs --good REF and --bad REF", hint="--good v6.12.111 --bad v6.12.117")
    archs = _archs(project, arch, several=bool(version))
    project, target = _of_file(project, target)
    with stoppable(), project.store(read_only=False) as store, _resumable():
        setup = _setup(project, target, store, offline=offline, snapshots=not (git or no_snapshot))
        if git:
            recipe, deadline = Recipe(archs[0], compiler=compiler), setup.limits.deadline("prepare_s")
            with Checkout.opened(git, recipe.key, cache_root(), deadline=deadline) as checkout:
                done = CommitBisection(setup, checkout, recipe).run(good, bad)
        else:
            every_one = every_kernel(setup, archs)
            kernels = chosen(every_one, series=series, first=first, last=last, version=version)
            cells = cells_of(kernels, setup)
            with fleet_of(hosts, slots, tuple(cells.values()), progress_console()) as fleet:
                done = ReleaseBisection(setup, cells, samples, bool(version), fresh).run(fleet)
    found = done.found
    is_sure = found is not None and found.certain and (found.changes or not done.repository)
    status = EXIT_OK if is_sure else EXIT_NO_ANSWER
    return Shown(bisection_report(done), lambda: done.model_dump_json(indent=1), status)


@contextmanager
def _resumable() -> Iterator[None]:
    """Inside, an interrupt and an InfraError say how to resume the bisection."""
    then = "the same command resumes the bisection"
    try:
        with resumable(then):
            yield
    except KeyboardInterrupt:
        progress_console().print(f"interrupted; {then}")
        raise


def _of_file(project: Project, target: str) -> tuple[Project, str]:
    """For `build/lb.bpf.o/ingress` a project of this file, and `lb/ingress`; of the file alone all of it together.

    Raises UserError when there is no such file, it cannot be used, or it is a pattern of several.
    """
    ends = [found.end() for found in re.finditer(r"\.o(?=[/:]|$)", target)]
    if not ends:
        return project, target
    end = next((it for it in ends if Path(target[:it]).is_file()), ends[-1])
    path, rest = Path(target[:end]), target[end:]
    whole = path.resolve()
    asking = project.probing(ObjectEntry(object=escaped(whole) if path.is_file() else str(whole)))
    name, *others = sorted({ask.probe for ask in asking.expectations.asks(KernelVersion.parse("6.0"))})
    if others:
        raise UserError(f"{path} names several objects: {', '.join((name, *others))}", hint="name one of the files")
    return asking, f"{name}{rest}" if rest.startswith("/") else f"{name}/{TOGETHER}{rest}"


def _setup(project: Project, target: str, store: ResultStore, *, offline: bool, snapshots: bool) -> BisectSetup:
    found, console = find(target, project.expectations), progress_console()

    def describe(result: CellResult) -> str:
        return plain(str(found.read(result)), 120)

    return BisectSetup(
        target=found,
        project=project,
        store=store,
        offline=offline,
        say=lambda words: console.print(Text(plain(words)), soft_wrap=True),
        shown=Display(console, describe),
        snapshots=snapshots,
    )


def _archs(project: Project, given: list[str] | None, *, several: bool) -> tuple[str, ...]:
    """Kernels of several architectures have no order, so that only builds of one version may be of several."""
    archs = tuple(dict.fromkeys(given or [wanted.arch for wanted in project.matrix.wanted()]))
    for name in archs:
        architecture(name)  # UserError when there is no such architecture
    if several or len(archs) == 1:
        return archs
    if given:
        raise UserError("one architecture at a time", hint="--version V tests all builds of one version on several")
    return archs[:1]
