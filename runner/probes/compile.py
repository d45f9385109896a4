# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Compiles BPF programs: those of a project when their sources or the compiler changed, a user's own when asked."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sysconfig
from collections.abc import Callable, Iterable
from functools import cache as cached
from functools import partial
from pathlib import Path

from runner import userfile
from runner.errors import BuildError, UserError
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.probes.externs import taken_out
from runner.probes.files import folders, own_or_shipped
from runner.process import run, run_in_sight
from runner.store import Store, key_of

_RECIPE = 3  # another number makes every object again: of what taken_out does, too
_FLAGS = ("-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall")
_NEEDS = re.compile(rb"needs clang (\d+)")
_SPACE = re.compile(r"(?<!\\)\s+")  # of a rule for make, where a blank in a name has a backslash before it


def compile_objects(
    root: Path, names: Iterable[str], byte_orders: Iterable[str], cache: Path, *, deadline: Deadline
) -> dict[str, dict[str, bytes]]:
    """For each byte order (`little`, `big`) the objects by file name (`conntrack.bpf.o`), from bpf/NAME.bpf.c.

    The kernel's functions are `taken_out` of them: the agent loads them, and nobody else.
    A source that says "needs clang 19" is left out where there is none so new: what it asks has then no answer.
    Raises UserError with clang's words when a source is wrong, InfraError when there is no clang.
    """
    version_of = cached(partial(_version, deadline=deadline))  # by its name
    store = Store(cache / "objects")
    objects: dict[str, dict[str, bytes]] = {order: {} for order in byte_orders}
    for name in dict.fromkeys(names):
        source = own_or_shipped(root, f"{name}.bpf.c")
        headers = folders(root)
        digests = _digests(source, headers)
        clang, version = _compiler(source, version_of)
        for order, made in objects.items() if clang else ():
            key = key_of(recipe=_RECIPE, clang=version, order=order, name=name, sources=digests)
            entry = store.ensure(
                key, partial(_compile, clang, source, order, deadline, headers=headers), deadline=deadline
            )
            made[f"{name}.bpf.o"] = (entry.tree / f"{name}.bpf.o").read_bytes()
    return objects


def _compiler(source: Path, version_of: Callable[[str], str]) -> tuple[str, str]:
    """The machine's `clang`, or `clang-N` where a source needs a newer one, and its version; both empty without one."""
    version = version_of("clang")
    found = re.search(r"version (\d+)", version)
    if not (needs := _NEEDS.search(userfile.read(source))) or (found and int(found[1]) >= int(needs[1])):
        return "clang", version
    name = f"clang-{int(needs[1])}"
    return (name, version_of(name)) if shutil.which(name) else ("", "")


def _version(name: str, deadline: Deadline) -> str:
    return run([name, "--version"], deadline=deadline).stdout


def _digests(source: Path, headers: Iterable[Path]) -> dict[str, str]:
    """Of the source, and of every header in these folders; the first folder that has one is meant."""
    if not source.is_file():
        raise UserError(f"{source} does not exist", hint="the claim file's `object` names it")
    files = [*(path for folder in reversed([*headers]) for path in folder.glob("*.h")), source]
    return {path.name: hashlib.sha256(userfile.read(path)).hexdigest() for path in files}


def _compile(clang: str, source: Path, order: str, deadline: Deadline, tree: Path, *, headers: Iterable[Path]) -> None:
    target = tree / source.with_suffix(".o").name
    flags = ("-Werror", *(f"-I{folder}" for folder in headers), "-c", "-o", os.fspath(target))
    done = run(_argv(clang, order, *flags, os.fspath(source)), deadline=deadline, check=False)
    if done.returncode != 0:
        raise UserError(f"{source} does not compile:\n{done.stderr.strip()}", hint="is libbpf-dev installed?")
    target.write_bytes(taken_out(target.read_bytes()))


def _argv(clang: str, order: str, *more: str) -> list[str]:
    """Debian keeps <asm/types.h> in the architecture's folder, which clang does not search for another target."""
    multiarch = sysconfig.get_config_var("MULTIARCH")
    includes = [f"-I/usr/include/{multiarch}"] if multiarch else []
    return [clang, *_FLAGS, f"-m{order}-endian", *includes, *more]


# --- a user's own source ----------------------------------------------------------------------------------------------


def compile_program(source: Path, archs: Iterable[str], folder: Path, *, deadline: Deadline) -> None:
    """Compile `source`, `lb.bpf.c`, into FOLDER/ARCH/lb.bpf.o for each of `archs`; clang's words go to stderr.

    Raises BuildError when the source is wrong, UserError without a source, InfraError without clang.
    """
    if not source.is_file():
        raise UserError(f"{source}: no such file", hint="runner load prog.bpf.c")
    for arch in archs:
        target = folder / arch / source.with_suffix(".o").name
        target.parent.mkdir(parents=True, exist_ok=True)
        argv = [*_of_program(source, arch), "-c", "-o", os.fspath(target)]
        if run_in_sight(argv, end_s=deadline.end_s, limit_s=deadline.remaining_s):
            raise BuildError(f"{source} does not compile for {arch}", hint=_hint(source, arch, deadline))


def included(source: Path, arch: str, *, deadline: Deadline) -> frozenset[Path]:
    """`source` and all files that it includes, those that are missing by the name that it gives them."""
    done = run([*_of_program(source, arch), "-M", "-MG"], deadline=deadline, check=False)
    names = _SPACE.split(done.stdout.replace("\\\n", " ").partition(": ")[2].strip())
    return frozenset({source, *(Path(re.sub(r"\\(.)", r"\1", name)) for name in names if name)})


def _of_program(source: Path, arch: str) -> list[str]:
    of = architecture(arch)
    colour = ["-fno-color-diagnostics"] if os.environ.get("NO_COLOR") else []  # else by itself, on a terminal
    return _argv("clang", of.byte_order, *colour, f"-D__TARGET_ARCH_{of.kernel}", os.path.relpath(source))


def _hint(source: Path, arch: str, deadline: Deadline) -> str:
    missing = {path.name for path in included(source, arch, deadline=deadline) if not path.exists()}
    if "vmlinux.h" in missing:
        return "bpftool btf dump file /sys/kernel/btf/vmlinux format c > vmlinux.h, beside the source"
    return "is libbpf-dev installed?" if "bpf_helpers.h" in missing else ""
