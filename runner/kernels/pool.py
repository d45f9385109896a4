# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Packages that an archive's lists no longer name, and its pool still has: a pin names the file and its digest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from runner.errors import InfraError
from runner.kernels.aptroot import AptRoot, paragraphs
from runner.kernels.download import WebServer
from runner.model import Package
from runner.model.deadline import Deadline

_FOLDER = re.compile(r"\w[\w.+/-]*", re.ASCII)


def has(root: AptRoot, package: Package, *, deadline: Deadline) -> bool:
    """Is there a file of its name and size?"""
    return bool(_place(root, package, deadline))


def fetch(root: AptRoot, package: Package, target: Path, *, deadline: Deadline) -> bool:
    """`target` appears only when it is the package; false when the pool has no such file. Raises InfraError."""
    path = _place(root, package, deadline)
    if path:
        size = package.size_bytes
        WebServer(root.repository.uri).file(path, target, sha256=package.sha256, size_bytes=size, deadline=deadline)
    return bool(path)


def _place(root: AptRoot, package: Package, deadline: Deadline) -> str:
    """Below the archive's address; empty where there is none, or the archive is not on an HTTP server."""
    server = WebServer(root.repository.uri)
    version = package.version.partition(":")[2] or package.version  # names of files have no epoch
    name = f"{package.name}_{version}_{package.architecture}.deb"
    for folder in _folders(root, package, deadline) if server.base.startswith("http") else ():
        try:
            if server.size(f"{folder}/{name}", deadline=deadline) == package.size_bytes:
                return f"{folder}/{name}"
        except InfraError:  # not there, or not to be asked: the lists say that it left
            continue
    return ""


def _folders(root: AptRoot, package: Package, deadline: Deadline) -> Iterator[str]:
    """Where other versions of it lie; of a kernel's, whose name has its version, other kernels'."""
    shown = root.apt("apt-cache", "show", package.name, deadline=deadline, check=False).stdout
    word = re.split(r"\d", package.name)[0]
    known = paragraphs(root.index.read_bytes()) if word != package.name else ()
    alike = (it for it in known if it["Package"].startswith(word))
    folders = {it.get("Filename", "").rpartition("/")[0] for it in (*paragraphs(shown), *alike)}
    yield from sorted(filter(_FOLDER.fullmatch, folders))
