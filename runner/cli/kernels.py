"""`runner kernels`: what the sources offer, what the matrix is pinned to, what is in the cache; builds from source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from runner.caches import cache_root
from runner.cli.locking import replaced, settled
from runner.cli.options import (
    DEFAULT_MATRIX,
    Format,
    FormatOption,
    Group,
    MatrixFile,
    Output,
    Project,
    Verbose,
    emit,
    emit_json,
    limits_of,
    store_of,
)
from runner.errors import UserError
from runner.guest.accel import host_cpus
from runner.images import ensure_image
from runner.kernels import BY_WORD, Means, ensure_kernel, have_kernel, kept_build, offered
from runner.kernels.archive import Archive
from runner.kernels.build import FRAGMENT, build_tree
from runner.model import Pin
from runner.model.version import Versions
from runner.probes.census.kfuncs import kfuncs_path, load_kfuncs, tagged
from runner.store import write_atomically
from runner.text import nearest

app = typer.Typer(
    cls=Group,
    help="List, pin, fetch and build kernels.",
    epilog="Example: runner kernels list --series 6.12",
    no_args_is_help=True,
)


@app.command("list")
def list_kernels(
    series: Annotated[str, typer.Option(help="Only this series or range, such as 6.12 or '>=6.12,<7'.")] = "",
    source: Annotated[
        list[str] | None, typer.Option(help=f"Only this source: {', '.join(BY_WORD)}. May be repeated.")
    ] = None,
    flavour: Annotated[str, typer.Option(help="A flavour: generic, rt, 16k, ..., or all.")] = "generic",
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """List the kernels that the sources offer for the matrix's architectures, oldest first.

    Example: runner kernels list --series 6.12
    """
    project = Project.at(matrix)
    wanted = project.matrix.wanted()
    archs = tuple(dict.fromkeys(one.arch for one in wanted))
    words = tuple(_known_word(word) for word in source or ())
    cache = cache_root()
    means = Means(Archive(cache), cache, project.limits.deadline("lock_s"))
    versions = _versions(series)
    offers = [
        pin
        for pin in offered(tuple(dict.fromkeys(one.source for one in wanted)), archs, means, words=words)
        if (versions is None or pin.upstream in versions) and flavour in ("all", pin.variant or "generic")
    ]
    if not offers:
        typer.echo("no kernel matches", err=True)
    if format_ is Format.JSON:
        pins = project.lock().kernels
        emit_json([_plain(offer, pins, cache) for offer in offers], output)
    elif offers or output:
        emit(_table(offers), output)


def _known_word(word: str) -> str:
    if word not in BY_WORD:
        raise UserError(f"--source {word}: there is no such source", hint=nearest(word, BY_WORD))
    return word


def _versions(series: str) -> Versions | None:
    try:
        return Versions.parse(series) if series else None
    except ValueError as error:
        raise UserError(f"--series: {error}") from None


def _pin_of(offer: Pin, pins: Sequence[Pin]) -> Pin | None:
    """The pin of what is offered; a source that does not tell releases before it pins has one kernel of a version."""
    if offer.digests:
        return offer
    word, _, _ = offer.source.partition(":")
    mine = (pin for pin in pins if pin.arch == offer.arch and pin.source.startswith(f"{word}:"))
    return next((pin for pin in mine if pin.version == offer.version), None)


def _plain(offer: Pin, pins: Sequence[Pin], cache: Path) -> dict[str, str | int | bool | list[str] | None]:
    """An offer; of one that is in the cache also how it was built, else null."""
    pin = _pin_of(offer, pins)
    build = kept_build(pin, cache) if pin else None
    return {
        "version": offer.version,
        "arch": offer.arch,
        "release": offer.release,
        "suite": offer.packages[0].suite if offer.packages else offer.source.partition(":")[0],
        "package_version": offer.package_version,
        "source": offer.source,
        "variant": offer.variant,
        "size_bytes": offer.size_bytes or None,
        "cached": build is not None,
        "compiler": build.compiler if build else None,
        "pahole": build.pahole if build else None,
        "lacks": list(build.lacks) if build else None,
    }


def _table(offers: list[Pin]) -> Table:
    table = Table("version", "architecture", "release", "source", "package version", "MiB", box=None, pad_edge=False)
    for offer in offers:
        size = str(offer.size_bytes >> 20) if offer.size_bytes else ""
        table.add_row(offer.version, offer.arch, offer.release, offer.source, offer.package_version, size)
    return table


@app.command("lock")
def lock(matrix: MatrixFile = DEFAULT_MATRIX, verbose: Verbose = False) -> None:
    """Pin the newest version of every kernel and image of the matrix in the lock file.

    Example: runner kernels lock
    """
    project = Project.at(matrix)
    before = project.lock()
    pinned = settled(project, mode="renew", offline=False)
    console = Console(highlight=False)
    for kernel in pinned.kernels:
        was = replaced(kernel, before.kernels, pinned.kernels)
        line = f"{kernel.source:<32} {kernel.arch:<8} {kernel.version:<12} {kernel.release}{was}"
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"written: {project.lock_path}")


@app.command("census")
def census(
    update_names: Annotated[
        bool, typer.Option("--update-names", help="Add the kfuncs of newer kernels to bpf/kfuncs.yaml.")
    ] = False,
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
) -> None:
    """List all known kfuncs: those in bpf/kfuncs.yaml, and those found in the kernels of past runs.

    Example: runner kernels census --update-names
    """
    project = Project.at(matrix)
    known = load_kfuncs(project.root)
    with store_of(project, read_only=True) as store:
        grown = known.grown(pair for result in store.of_each_kernel() for pair in tagged(result))
    if update_names:
        write_atomically(kfuncs_path(project.root), grown.text().encode())
    rows = [(kfunc, holder) for holder, holds in grown.objects.items() for kfunc in holds.kfuncs]
    new = {(kfunc, holder) for kfunc, holder in rows if holder not in known.homes().get(kfunc, ())}
    if format_ is Format.JSON:
        told = [{"kfunc": kfunc, "object": holder, "new": (kfunc, holder) in new} for kfunc, holder in rows]
        emit_json(told, output)
        return
    table = Table("kfunc", "object", "", box=None, pad_edge=False)
    for kfunc, holder in rows:
        table.add_row(kfunc, holder, "new" if (kfunc, holder) in new else "")
    emit(table, output)


@app.command("fetch")
def fetch(matrix: MatrixFile = DEFAULT_MATRIX, verbose: Verbose = False) -> None:
    """Fetch and unpack every kernel and image of the matrix, so that `runner matrix run --offline` can start.

    Example: runner kernels fetch
    """
    project = Project.at(matrix)
    cells = project.matrix.cells(settled(project, mode="keep", offline=False))
    cache = cache_root()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(highlight=False)
    with Progress(*columns, console=console, transient=True) as progress:
        for cell in cells:
            there = have_kernel(cell.kernel, cache)
            task = progress.add_task(f"{cell.id}")
            deadline = project.limits.deadline("prepare_s")
            kernel = ensure_kernel(cell.kernel, cache, deadline=deadline)
            ensure_image(cell.image, cache, deadline=deadline)
            progress.remove_task(task)
            console.print(f"{cell.id:<28} {'cached' if there else 'fetched':<8} {kernel.sha256[:12]}")


@app.command("build")
def build(
    ref: Annotated[str, typer.Argument(metavar="REF", help="With --git: a branch, a tag or a commit.")] = "",
    git: Annotated[Path | None, typer.Option(metavar="DIR", help="A kernel repository. It is not changed.")] = None,
    tree: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder with a kernel's source, which is built as it is.")
    ] = None,
    arch: Annotated[str, typer.Option(help="The kernel's architecture. [default: this machine's]")] = "",
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Kernel options to set beside virtme-ng's. [default: those that the probes need]"
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, help="Concurrent compilers. [default: all CPUs]")
    ] = None,
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """Build a small kernel with the options that guests and probes need. Later builds reuse its objects.

    Example: runner kernels build --git ~/linux v6.12.117
    """
    if bool(git) == bool(tree) or bool(git) != bool(ref):
        raise UserError("build what?", hint="one of: --git DIR REF, --tree DIR")
    console = Console(stderr=True, highlight=False)
    source = git or tree
    assert source is not None  # noqa: S101  one of the two was given
    built = build_tree(
        source,
        ref,
        arch,
        fragment=config or FRAGMENT,
        jobs=jobs or host_cpus(),
        cache=cache_root(),
        deadline=limits_of(matrix).deadline("build_s"),
        begun=lambda folder: console.print(f"building in {folder}", soft_wrap=True, markup=False),
    )
    if format_ is Format.JSON:
        found = {"what": built.what, "arch": built.arch, "release": built.release, "tree": str(built.folder)}
        emit_json(found | {"took_s": built.took_s}, output)
        return
    emit(
        f"{built.what}\n{built.release} for {built.arch}, built in {built.took_s:.0f} s.\n"
        "In matrix.yaml, under `include`:\n"
        f"  - {{tree: {built.folder}, architectures: [{built.arch}]}}",
        output,
    )
