# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner kernels`: what the sources offer, what the matrix is pinned to, what is in the cache; builds from source."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from runner.caches import cache_root
from runner.cli.options import CompilerOption, Shown, command, emit, group, out_console, progress_console, versions
from runner.errors import UserError
from runner.guest.accel import host_cpus
from runner.images import ensure_image
from runner.kernels import BY_WORD, Means, ensure_kernel, have_kernel, kept_build, offered
from runner.kernels.archive import Archive
from runner.kernels.build import FRAGMENT, Recipe, build_tree
from runner.matrix.lock import replaced
from runner.model import Pin
from runner.model.architecture import architecture, by_uname
from runner.project import Project
from runner.reports.drawing import columns
from runner.steps import step
from runner.text import nearest

app = group("List, pin, fetch and build kernels.", "kernels list --series 6.12")


@command(app, "list", "kernels list --series 6.12")
def list_kernels(
    project: Project,
    series: Annotated[str, typer.Option(help="Only this series or range, such as 6.12 or '>=6.12,<7'.")] = "",
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help=f"Only this source: {', '.join(BY_WORD)}. May be repeated."),
    ] = None,
    flavour: Annotated[str, typer.Option(help="A flavour: generic, rt, 16k, ..., or all.")] = "generic",
) -> Shown:
    """List the kernels that the sources offer for the matrix's architectures, oldest first."""
    for word in source or ():
        if word not in BY_WORD:
            raise UserError(f"--source {word}: there is no such source", hint=nearest(word, BY_WORD))
    only = versions("--series", series) if series else None
    wanted, cache = project.matrix.wanted(), cache_root()
    named, archs = dict.fromkeys(it.source for it in wanted), dict.fromkeys(it.arch for it in wanted)
    means = Means(Archive(cache), cache, project.limits.deadline("lock_s"))
    offers = [
        pin
        for pin in offered(named, tuple(archs), means, words=source or ())
        if (only is None or pin.upstream in only) and flavour in ("all", pin.variant or "generic")
    ]
    if not offers:
        unnamed = [word for word in source or () if not any(it.startswith(f"{word}:") for it in named)]
        of = f"; the matrix names no source {' or '.join(unnamed)}" if unnamed else ""
        typer.echo(f"no kernel matches{of}", err=True)
    rows = [
        (it.version, it.arch, it.release, it.source, it.package_version, str(it.size_bytes >> 20 or ""))
        for it in offers
    ]
    table = columns(rows, "version", "architecture", "release", "source", "package version", "MiB")

    def document() -> list[dict[str, object]]:
        pins = project.lock().kernels
        return [_plain(it, pins, cache) for it in offers]

    return Shown(table if offers else "", document)


def _plain(offer: Pin, pins: Sequence[Pin], cache: Path) -> dict[str, object]:
    """An offer; of one that is in the cache also how it was built, else null.

    A source that does not tell releases before it pins has one kernel of a version: its pin is in the lock.
    """
    word, _, _ = offer.source.partition(":")
    same = (it for it in pins if (it.version, it.arch) == (offer.version, offer.arch))
    pin = offer if offer.digests else next((it for it in same if it.source.startswith(f"{word}:")), None)
    build = kept_build(pin, cache) if pin else None
    return {
        "version": offer.version,
        "arch": offer.arch,
        "release": offer.release,
        "suite": offer.packages[0].suite if offer.packages else word,
        "package_version": offer.package_version,
        "source": offer.source,
        "variant": offer.variant,
        "size_bytes": offer.size_bytes or None,
        "cached": build is not None,
        "compiler": build.compiler if build else None,
        "pahole": build.pahole if build else None,
        "lacks": list(build.lacks) if build else None,
    }


@command(app, "lock", "kernels lock")
def lock(project: Project) -> None:
    """Pin the newest version of every kernel and image of the matrix in the lock file."""
    before = project.lock().kernels
    now = project.settled(mode="renew", offline=False).kernels
    for pin in now:
        emit(f"{pin.source:<32} {pin.arch:<8} {pin.version:<12} {pin.release}{replaced(pin, before, now)}")
    emit(f"written: {project.lock_path}")


@command(app, "fetch", "kernels fetch")
def fetch(project: Project) -> None:
    """Fetch and unpack the matrix's kernels and images, for `runner matrix run --offline`."""
    cells = project.matrix.cells(project.settled(mode="keep", offline=False))
    cache, console = cache_root(), out_console()
    for cell in cells:
        word = "cached" if have_kernel(cell.kernel, cache) else "fetched"
        deadline = project.limits.deadline("prepare_s")
        with step(cell.id):
            kernel = ensure_kernel(cell.kernel, cache, deadline=deadline)
            ensure_image(cell.image, cache, deadline=deadline)
        console.print(f"{cell.id:<28} {word:<8} {kernel.sha256[:12]}")


@command(app, "build", "kernels build --git ~/linux v6.12.117")
def build(
    project: Project,
    ref: Annotated[str, typer.Argument(metavar="REF", help="With --git: a branch, a tag or a commit.")] = "",
    git: Annotated[Path | None, typer.Option(metavar="DIR", help="A kernel repository. It is not changed.")] = None,
    tree: Annotated[Path | None, typer.Option(metavar="DIR", help="A kernel's source tree, built as it is.")] = None,
    arch: Annotated[str, typer.Option(help="The kernel's architecture. [default: this machine's]")] = "",
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Kernel options to set beside virtme-ng's. [default: those that the probes need]"
        ),
    ] = None,
    compiler: CompilerOption = "",
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, help="Concurrent compilers. [default: all CPUs]")
    ] = None,
) -> Shown:
    """Build a small kernel with the options that guests and probes need. Later builds reuse its objects."""
    source = git or tree
    if source is None or (git and tree) or bool(git) != bool(ref):
        raise UserError("build what?", hint="one of: --git DIR REF, --tree DIR")
    row = architecture(arch) if arch else by_uname(platform.machine())
    if row is None:
        raise UserError(f"{platform.machine()} is not an architecture of guests", hint="name one with --arch")
    console = progress_console()
    built = build_tree(
        source,
        ref,
        Recipe(row.name, config or FRAGMENT, compiler),
        jobs=jobs or host_cpus(),
        cache=cache_root(),
        deadline=project.limits.deadline("build_s"),
        begun=lambda folder: console.print(Text(f"building in {folder}"), soft_wrap=True),
    )
    text = (
        f"{built.what}\n{built.release} for {built.arch}, built in {built.took_s:.0f} s.\n"
        "In matrix.yaml, under `include`:\n"
        f"  - {{tree: {built.folder}, architectures: [{built.arch}]}}"
    )
    document = {"what": built.what, "arch": built.arch, "release": built.release, "tree": str(built.folder)}
    return Shown(text, document | {"took_s": built.took_s})
