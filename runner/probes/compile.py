"""Compiles the BPF programs, for each byte order, when their sources or the compiler changed."""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from runner import userfile
from runner.errors import UserError
from runner.model.deadline import Deadline
from runner.probes.files import FOLDER
from runner.process import run
from runner.store import Store, key_of

_RECIPE = 1  # another number makes every object again
_FLAGS = ("-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror")


def compile_objects(
    root: Path, names: Iterable[str], byte_orders: Iterable[str], cache: Path, *, deadline: Deadline
) -> dict[str, dict[str, bytes]]:
    """For each byte order (`little`, `big`) the objects by file name (`conntrack.bpf.o`), from bpf/NAME.bpf.c.

    Raises UserError with clang's words when a source is wrong, InfraError when there is no clang.
    """
    folder = root / FOLDER
    version = run(["clang", "--version"], deadline=deadline).stdout
    store = Store(cache / "objects")
    names = tuple(dict.fromkeys(names))
    objects: dict[str, dict[str, bytes]] = {}
    for order in byte_orders:
        objects[order] = {}
        for name in names:
            source = folder / f"{name}.bpf.c"
            key = key_of(recipe=_RECIPE, clang=version, order=order, name=name, sources=_digests(source))
            entry = store.ensure(key, partial(_compile, source, order, deadline), deadline=deadline)
            objects[order][f"{name}.bpf.o"] = (entry.tree / f"{name}.bpf.o").read_bytes()
    return objects


def _digests(source: Path) -> dict[str, str]:
    """Of the source and of every header beside it."""
    if not source.is_file():
        raise UserError(f"{source} does not exist", hint="the claim file's `object` names it")
    return {path.name: hashlib.sha256(userfile.read(path)).hexdigest() for path in (source, *source.parent.glob("*.h"))}


def _compile(source: Path, order: str, deadline: Deadline, tree: Path) -> None:
    target = tree / source.with_suffix(".o").name
    argv = ["clang", *_FLAGS, f"-m{order}-endian", *_includes(), "-c", os.fspath(source), "-o", os.fspath(target)]
    done = run(argv, deadline=deadline, check=False)
    if done.returncode != 0:
        raise UserError(f"{source} does not compile:\n{done.stderr.strip()}", hint="is libbpf-dev installed?")


def _includes() -> tuple[str, ...]:
    """Debian keeps <asm/types.h> in the architecture's folder, which clang does not search for another target."""
    multiarch = sysconfig.get_config_var("MULTIARCH")
    return (f"-I/usr/include/{multiarch}",) if multiarch else ()
