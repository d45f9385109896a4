"""`runner kernels build`: a kernel from its source, with what the probes need."""

from __future__ import annotations

import hashlib
import platform
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from runner.caches import cache_root
from runner.cli.options import (
    DEFAULT_MATRIX,
    Format,
    FormatOption,
    MatrixFile,
    Output,
    Verbose,
    emit,
    emit_json,
    limits_of,
)
from runner.errors import UserError
from runner.guest.accel import host_cpus
from runner.kernels.build import FRAGMENT, build_kernel
from runner.kernels.checkout import Checkout
from runner.model.architecture import architecture, by_uname


def build(
    ref: Annotated[str, typer.Argument(metavar="REF", help="With --git: a branch, a tag or a commit.")] = "",
    git: Annotated[Path | None, typer.Option(metavar="DIR", help="A kernel repository; it is not changed.")] = None,
    tree: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A kernel's source as it lies in this folder.")
    ] = None,
    arch: Annotated[str, typer.Option(help="An architecture. Default: this machine's.")] = "",
    config: Annotated[
        Path, typer.Option(metavar="FILE", help="Options on top of virtme-ng's, instead of the usual ones.")
    ] = FRAGMENT,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, help="Compilers at once. Default: all CPUs.")
    ] = None,
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """Build a kernel with what guests and probes need, as small as it gets. What was built stays: the next is quicker.

    Example: runner kernels build --git ~/linux v6.12.117
    """
    if bool(git) == bool(tree) or bool(git) != bool(ref):
        raise UserError("build what?", hint="one of: --git DIR REF, --tree DIR")
    row = architecture(arch) if arch else by_uname(platform.machine())
    if row is None:
        raise UserError(f"this machine's {platform.machine()} is no architecture of guests", hint="say --arch")
    if not config.is_file():
        raise UserError(f"{config} does not exist")
    repository, deadline = git or tree, limits_of(matrix).deadline("build_s")
    assert repository is not None  # noqa: S101  one of the two was given
    digest = hashlib.sha256(config.read_bytes()).hexdigest()
    begun = time.monotonic()
    with Checkout.opened(
        repository, row.name, digest, cache_root(), borrowed=tree is None, deadline=deadline
    ) as checkout:
        source = checkout.source
        if git:
            commit = checkout.commit(ref, deadline=deadline)
            checkout.check_out(commit.id, deadline=deadline)
            what = f"{commit.short} {commit.subject}"
        else:
            source, what = repository.absolute(), str(repository)
        Console(stderr=True, highlight=False).print(f"building in {checkout.objects}", soft_wrap=True, markup=False)
        build_kernel(
            source,
            checkout.objects,
            row.name,
            native=row.uname == platform.machine(),
            jobs=jobs or host_cpus(),
            deadline=deadline,
            fragment=config.absolute(),
        )
        release = (checkout.objects / "include/config/kernel.release").read_text().strip()
    took_s = round(time.monotonic() - begun, 1)
    if format_ is Format.JSON:
        found = {"what": what, "arch": row.name, "release": release, "tree": str(checkout.objects), "took_s": took_s}
        emit_json(found, output)
        return
    emit(
        f"{what}\n{release} for {row.name}, built in {took_s:.0f} s. In matrix.yaml, under `include`:\n"
        f"  - {{tree: {checkout.objects}, architectures: [{row.name}]}}",
        output,
    )
