# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A project whose guests are fakes: real matrix, lock, claims, store and command line."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import yaml

from runner.engine.fleet import Fleet
from runner.engine.plan import CellOrder, Plan, cell_orders
from runner.matrix.lock import write_lock
from runner.model import Cell, Limits, Lock, Pin, PinnedFile, ProgType
from runner.probes.claims import ClaimFile
from tests import fakes
from tests.samples import ROOT, cell, image, pin
from tests.unit import agent_samples

CLAIMS = ("alloc-tcp", "alloc-udp", "alloc-ipv6")
VERSIONS = range(117, 400)  # of 6.12: what was recorded of 6.12.117 holds for each of these


@cache
def few_claims() -> tuple[ClaimFile, ...]:
    file = agent_samples.claims()[0]
    return (file.model_copy(update={"claims": tuple(claim for claim in file.claims if claim.id in CLAIMS)}),)


def kernels(behaviours: Sequence[str]) -> list[tuple[str, Pin]]:
    """A kernel for each behaviour, and its name in the matrix, which is unique."""
    return [
        (behaviour, _of_files(pin(f"6.12.{number}", source=f"debian:trixie/6.12.{number}")))
        for number, behaviour in zip(VERSIONS, behaviours, strict=False)
    ]


def _of_files(kernel: Pin) -> Pin:
    """With a digest, which is another one for each version."""
    digest = hashlib.sha256(kernel.version.encode()).hexdigest()
    return kernel.model_copy(update={"files": (PinnedFile(name="vmlinuz", sha256=digest, size_bytes=1),)})


def cells(behaviours: Sequence[str], limits: Limits | None = None) -> tuple[Cell, ...]:
    return tuple(cell(kernel, behaviour, limits=limits) for behaviour, kernel in kernels(behaviours))


def orders(cells: Iterable[Cell], *, census: bool = False) -> tuple[CellOrder, ...]:
    types = (ProgType.TC,) if census else ()
    return tuple(cell_orders(cells, agent_samples.expecting(few_claims()), types))


def plan(cells: Iterable[Cell], folder: Path, *, census: bool = False, fleet: Fleet | None = None) -> Plan:
    """These cells on guests that answer as a real one did, and fail as their kernels are named."""
    return fakes.plan(folder, *orders(cells, census=census), fleet=fleet, machine="tests.faults.machine:disturbed")


@cache
def claims_text(ids: Sequence[str] = CLAIMS) -> str:
    """Of conntrack.yaml these claims."""
    document = yaml.safe_load((ROOT / "bpf" / "conntrack.yaml").read_text())
    del document["pages"]  # they name the others
    document["claims"] = [claim for claim in document["claims"] if claim["id"] in ids]
    return str(yaml.safe_dump(document))


def write_project(folder: Path, behaviours: Sequence[str]) -> Path:
    """What `runner matrix run` needs. The names of kernels must differ there: `slow.1` is slow."""
    bpf = folder / "bpf"
    bpf.mkdir()
    shutil.copy(ROOT / "bpf" / "conntrack.bpf.c", bpf)
    (bpf / "conntrack.yaml").write_text(claims_text())
    (bpf / "kfuncs.yaml").write_text("objects: {}\n")  # so this conntrack is no clash with the shipped one
    named = [(f"{behaviour}.{at}", kernel) for at, (behaviour, kernel) in enumerate(kernels(behaviours))]
    lines = ["kernels:"]
    lines += [f'  - {{debian: trixie, series: "{kernel.version}", name: {name}}}' for name, kernel in named]
    lines += ["architectures: [x86_64]", "probes: [conntrack]", ""]
    (folder / "matrix.yaml").write_text("\n".join(lines))
    write_lock(folder / "matrix.lock", Lock(kernels=tuple(kernel for _, kernel in named), images=(image("x86_64"),)))
    return folder
