# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The image's Python, run on this host to compile bytecode for it.

Bytecode depends on the Python version, not on the architecture, and compiling under emulation is slow. So the lock of
an image holds the interpreter's packages for every architecture, and the host's are unpacked and run in place, through
their own dynamic loader: nothing is installed, and this host's Python and libraries do not matter.
"""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from runner.caches import not_cached
from runner.errors import InfraError
from runner.kernels.archive import Archive
from runner.model import ImagePin, Package
from runner.model.architecture import Architecture, by_uname
from runner.model.deadline import Deadline
from runner.process import run
from runner.store import Store, key_of

ROOTS = ("python3-minimal", "libpython3-stdlib")
_PART = re.compile(r"python3\.\d+-minimal|libpython3\.\d+-(minimal|stdlib)|libc6|libgcc-s1|libexpat1|zlib1g")
SCRIPT = Path(__file__).with_name("compile_tree.py")
_RECIPE = 1


def parts(packages: Iterable[Package]) -> tuple[Package, ...]:
    """Those packages that an interpreter consists of."""
    return tuple(package for package in packages if _PART.fullmatch(package.name))


def host_architecture() -> Architecture:
    """Raises InfraError on a host that is none of ours."""
    row = by_uname(platform.machine())
    if row is None or not row.host:
        raise InfraError(
            f"this host's architecture {platform.machine()} is not supported",
            hint="run it on hosts of x86_64 or arm64: --hosts hosts.yaml",
        )
    return row


def host_parts(pin: ImagePin) -> tuple[Package, ...]:
    """The packages of the interpreter that runs here. Raises InfraError when the lock has none for this host."""
    row = host_architecture()
    found = parts(package for package in pin.packages if package.architecture == row.debian)
    if not found:
        raise InfraError(
            f"the lock of the image for {pin.arch} has no Python for {row.name}",
            hint="`runner kernels lock` pins it anew",
        )
    return found


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python of an image. `tree` is as `_flatten` leaves it."""

    tree: Path
    loader: str  # of this host's architecture: a file in lib/

    @classmethod
    def of(cls, pin: ImagePin, cache: Path, *, deadline: Deadline, offline: bool = False) -> Self:
        """From the cache; fetched and unpacked first when it is not there. Raises InfraError."""
        packages, row = host_parts(pin), host_architecture()

        def make(tree: Path) -> None:
            if offline:
                raise not_cached("the Python that compiles for the guests")
            debs, root = tree.parent / "debs", tree.parent / "root"
            debs.mkdir()
            for deb in Archive(cache).download(packages, row.name, debs, deadline=deadline).values():
                run(["dpkg-deb", "--extract", deb, root], deadline=deadline)
            _flatten(root, tree, row)

        key = key_of(recipe=_RECIPE, packages=sorted(package.sha256 for package in packages))
        return cls(Store(cache / "pythons").ensure(key, make, deadline=deadline).tree, Path(row.loader).name)

    def compile(
        self, source: Path, target: Path, *, prefix: str, layout: Literal["cache", "beside"], deadline: Deadline
    ) -> None:
        """Compile what is below `source` into `target`. Raises InfraError, with Python's words, on a syntax error."""
        python = next((self.tree / "bin").glob("python3.*"))
        library = self.tree / "lib"
        # -s -S: nothing of this host's Python; -B: write no bytecode of its own into the cache
        argv: list[str | Path] = [library / self.loader, "--library-path", library, python, "-s", "-S", "-B", SCRIPT]
        run([*argv, source, target, prefix, layout], deadline=deadline, env={"PYTHONHOME": str(self.tree)})


def _flatten(root: Path, tree: Path, row: Architecture) -> None:
    """bin/python3.X, lib/python3.X/ and the libraries in lib/; links become files, for an entry holds nothing else."""
    (tree / "bin").mkdir()
    for python in (root / "usr/bin").glob("python3.*"):
        shutil.copy(python, tree / "bin")
    for standard in (root / "usr/lib").glob("python3.*"):
        shutil.copytree(standard, tree / "lib" / standard.name, ignore_dangling_symlinks=True)
    for folder in (root / "lib" / row.multiarch, root / "usr/lib" / row.multiarch):  # libc6 before and after 2024
        for library in folder.glob("*.so*"):
            shutil.copy(library, tree / "lib")
    if not any((tree / "bin").iterdir()):
        raise InfraError(
            "the interpreter's packages hold no Python", hint="runner/images/interpreter.py names its parts"
        )
