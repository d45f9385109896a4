# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where the project is, and pins, cells and limits as most tests want them."""

from __future__ import annotations

from pathlib import Path

from runner.model import Cell, ImagePin, Limits, Pin
from runner.model.deadline import Deadline

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"


def pin(version: str, arch: str = "x86_64", *, source: str = "debian:trixie/6.12", release: str = "") -> Pin:
    return Pin(source=source, arch=arch, version=version, release=release or f"{version}-amd64", packages=())


def image(arch: str) -> ImagePin:
    return ImagePin(suite="trixie", arch=arch, packages=())


def cell(
    kernel: Pin, name: str = "k", *, probes: tuple[str, ...] = ("conntrack",), limits: Limits | None = None
) -> Cell:
    return Cell(
        id=f"{kernel.version}-{kernel.arch}",
        name=name,
        kernel=kernel,
        image=image(kernel.arch),
        probes=probes,
        limits=limits or Limits(),
    )


def soon(seconds: float = 60) -> Deadline:
    return Deadline.after(seconds, "the test's limit")
