# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Small matrices, and locks for them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.matrix import Matrix, load_matrix
from runner.model import ImagePin, Lock, Package, Pin
from tests.samples import ROOT

PACKAGE = Package(name="linux", version="1", architecture="amd64", suite="sid", sha256="0" * 64, size_bytes=1)
KERNEL = '{debian: trixie, series: "6.12"}'


def folder_with_claims(folder: Path) -> Path:
    (folder / "bpf").mkdir()
    for path in (ROOT / "bpf").glob("*.yaml"):
        (folder / "bpf" / path.name).touch()
    return folder


def loaded(folder: Path, text: str) -> Matrix:
    path = folder_with_claims(folder) / "matrix.yaml"
    path.write_text(text)
    return load_matrix(path)


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        loaded(folder, text)
    return str(caught.value).replace(f"{folder}/", "")


def small(
    kernels: str = f"[{KERNEL}]", rest: str = "", architectures: str = "[x86_64]", probes: str = "[conntrack]"
) -> str:
    return f"kernels: {kernels}\narchitectures: {architectures}\nprobes: {probes}\n{rest}\n"


def package(content: str) -> Package:
    return PACKAGE.model_copy(update={"sha256": hashlib.sha256(content.encode()).hexdigest()})


def lock_for(matrix: Matrix, versions: dict[str, str]) -> Lock:
    """A lock with the version that `versions` gives to each source."""
    kernels = tuple(
        Pin(source=w.source, arch=w.arch, version=versions[w.source], release="r", packages=(package(w.source),))
        for w in matrix.wanted()
    )
    archs = dict.fromkeys(wanted.arch for wanted in matrix.wanted())
    images = tuple(ImagePin(suite=matrix.file.image.suite, arch=arch, packages=(PACKAGE,)) for arch in archs)
    return Lock(kernels=kernels, images=images)
