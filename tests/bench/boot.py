# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""From vng's start to a working ssh command, over a raw qemu boot of the same kernel to its first user program."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

from virtme.cpiowriter import CpioWriter

from runner.caches import cache_root
from runner.guest.boot import boot
from runner.guest.interface import BootOrder
from runner.images import ensure_image
from runner.images.bootfiles import ensure_boot_files
from runner.kernels import Means, ensure_kernel
from runner.kernels.archive import Archive
from runner.matrix import load_matrix
from runner.matrix.cells import cell_id
from runner.matrix.lock import read_lock, settle, write_lock
from runner.model import Cell, Image, Kernel, Wanted
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.process import spawn
from tests.bench.measure import Figure

ROUNDS = 3
LIMIT_S = 120
MARK = b"first user program"


@cache
def cells() -> tuple[Cell, ...]:
    """The default matrix, pinned."""
    return load_matrix(Path("matrix.yaml")).cells(read_lock(Path("matrix.lock")))


def prepared(cell: Cell) -> tuple[Kernel, Image]:
    """Its kernel and image, fetched if need be."""
    limit = Deadline.after(cell.limits.prepare_s, "prepare_s")
    return (
        ensure_kernel(cell.kernel, cache_root(), deadline=limit),
        ensure_image(cell.image, cache_root(), deadline=limit),
    )


def boot_ratio(arch: str, *, at_most: float) -> Figure:
    """The median of ROUNDS pairs, each pair run one after the other, on the 6.12 kernel."""
    cell = _cell(arch)
    kernel, image = prepared(cell)
    pairs = []
    with tempfile.TemporaryDirectory(dir=cache_root()) as name:
        folder = Path(name)
        initrd = _initrd(Path(image.busybox), folder / "initrd")
        for number in range(ROUNDS):
            raw = _raw_s(cell, kernel, initrd)
            ours = _ours_s(cell, kernel, image, folder / f"console-{number}.log")
            pairs.append((raw, ours))
    raw, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    how = f"{ours:.2f} s to ssh over {raw:.2f} s to /init, {cell.id}, tcg, {ROUNDS} rounds"
    return Figure(ours / raw, "x", how, at_most=at_most)


def _cell(arch: str) -> Cell:
    """The 6.12 kernel; what the default matrix does not have is pinned in the cache folder."""
    matrix = load_matrix(Path("matrix.yaml"))
    kept = cache_root() / "bench.lock"
    lock = read_lock(kept) if kept.exists() else read_lock(Path("matrix.lock"))
    wanted = Wanted(name="6.12", source="debian:trixie/6.12", arch=arch)
    limit = Deadline.after(600, "the limit for the archive")
    archive = Archive(cache_root())
    wanted_image = matrix.file.image.wanted
    lock, _ = settle([wanted], wanted_image, lock, Means(archive, cache_root(), limit), mode="keep", offline=False)
    write_lock(kept, lock)
    kernel = next(one for one in lock.kernels if (one.source, one.arch) == (wanted.source, arch))
    image = next(one for one in lock.images if (one.named, one.arch) == (wanted_image.named, arch))
    return Cell(id=cell_id(kernel), name=wanted.name, kernel=kernel, image=image, probes=matrix.file.probe_names)


def _initrd(busybox: Path, path: Path) -> Path:
    """Nothing but busybox and an /init that says one line."""
    with path.open("wb") as file, busybox.open("rb") as body:
        archive = CpioWriter(file)
        for name in (b"bin", b"dev"):
            archive.mkdir(name, 0o755)
        archive.mkchardev(b"dev/console", (5, 1), mode=0o600)
        archive.write_file(name=b"bin/busybox", body=body, mode=0o755)
        archive.symlink(b"busybox", b"bin/sh")
        archive.write_file(name=b"init", body=b"#!/bin/sh\necho " + MARK + b"\nwhile :; do sleep 9; done\n", mode=0o755)
        archive.write_trailer()
    return path


def _raw_s(cell: Cell, kernel: Kernel, initrd: Path) -> float:
    row = architecture(cell.arch)
    cpu = row.cpu.partition(",")[0]  # without what makes ours faster
    argv = [
        row.qemu, "-machine", row.machine, "-cpu", cpu, "-m", f"{cell.guest.memory_mib}M", "-smp", "1",
        "-nodefaults", "-display", "none", "-chardev", "stdio,id=console,signal=off", *row.serial.split(), "-no-reboot",
        "-kernel", str(kernel.image), "-initrd", str(initrd), "-append", f"console={row.console} quiet panic=-1",
    ]  # fmt: skip
    begun = time.monotonic()
    with spawn(argv, end_s=20, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        for line in process.stdout:
            if MARK in line:
                taken = time.monotonic() - begun
                process.terminate()
                return taken
            if time.monotonic() - begun > LIMIT_S:
                break
        process.terminate()
    raise RuntimeError(f"{cell.id}: a raw boot did not reach its first user program")


def _ours_s(cell: Cell, kernel: Kernel, image: Image, console: Path) -> float:
    limit = Deadline.after(cell.limits.prepare_s, "prepare_s")
    files = ensure_boot_files(kernel, image, cache_root(), cmdline="", deadline=limit)
    order = BootOrder(
        architecture=architecture(cell.arch),
        kernel=kernel,
        image=image,
        size=cell.guest,
        accel="tcg",
        console=console,
        scratch=cache_root() / "scratch",
        files=files,
    )
    begun = time.monotonic()
    limit = Deadline.after(LIMIT_S, "the bench's limit")
    with boot(order, deadline=limit) as guest:
        guest.run("true", deadline=limit)
        return time.monotonic() - begun
