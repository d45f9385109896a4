# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A disk that is really full, at each stage: an InfraError that says what to do, and nothing that looks finished."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.errors import InfraError
from runner.kernels import archive as archive_module
from runner.kernels import ensure_kernel
from runner.kernels.archive import Archive
from runner.model import CellResult, Outcome, Package
from runner.process import require, run
from runner.results.store import ResultStore
from runner.store import Store, key_of
from tests.answers import seen_of
from tests.faults import test_guest_faults as guests
from tests.faults.leftovers import DRAFTS, Place, nothing_left
from tests.faults.project import kernels
from tests.samples import soon
from tests.unit import results_samples as samples

SIZE_KIB = 2048
KEY = key_of(name="entry")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        [require("mount"), "-t", "tmpfs", "-o", f"size={SIZE_KIB}k", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([require("umount"), folder], check=True)


def fill(disk: Path, *, leave_kib: int = 0) -> Path:
    """A file that takes all space but this much."""
    free = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * max(0, free.f_bavail * free.f_frsize - (leave_kib << 10)))
    return ballast


def test_fetching_says_that_there_is_no_room_before_it_begins(archive: Archive, disk: Path) -> None:
    (package, *_) = archive.closure(["tool"], "trixie", "x86_64", deadline=soon())
    large = package.model_copy(update={"size_bytes": SIZE_KIB << 12})
    with pytest.raises(InfraError, match=r"needs 8 MiB in .*disk, only 2 MiB are free\n  free some space"):
        archive.download([large], "x86_64", disk, deadline=soon())


def test_fetching_onto_a_disk_that_fills_up_meanwhile(
    archive: Archive, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = archive.closure(["tool"], "trixie", "x86_64", deadline=soon())
    monkeypatch.setattr(archive_module, "need_space", lambda *_: None)
    fill(disk)
    with pytest.raises(InfraError, match=r"(?s)the disk is full: .*\n  free some space"):
        archive.download(packages, "x86_64", disk, deadline=soon())
    assert [path.name for path in disk.iterdir()] == ["ballast"]


def test_a_kernel_that_does_not_fit(disk: Path) -> None:
    ((_, kernel),) = kernels(["fine"])
    package = Package(
        name="linux", version="1", architecture="amd64", suite="trixie", sha256="a" * 64, size_bytes=9 << 20
    )
    locked = kernel.model_copy(update={"packages": (package,)})
    with pytest.raises(InfraError, match=r"kernel 6\.12\.117-amd64 needs 81 MiB in .*\n  free some space"):
        ensure_kernel(locked, disk, deadline=soon())
    assert not list(disk.rglob("manifest.json"))


def write_much(tree: Path) -> None:
    (tree / "disk.ext2").write_bytes(b"x" * (SIZE_KIB << 11))


def run_a_tool(tree: Path) -> None:
    run(["dd", "if=/dev/zero", f"of={tree / 'disk.ext2'}", "bs=64k", "count=999"], deadline=soon())


@pytest.mark.parametrize("make", [write_much, run_a_tool])
def test_an_image_that_fills_the_disk_while_it_is_made(disk: Path, make: Callable[[Path], None]) -> None:
    store = Store(disk / "images")
    with pytest.raises(InfraError, match=r"(?s)No space left on device.*\n  free some space"):
        store.ensure(KEY, make, deadline=soon())
    assert store.get(KEY) is None
    assert [path.name for path in (disk / "images").iterdir()] == [f"{KEY}.lock"]


def test_a_console_that_fills_the_disk(disk: Path, tmp_path: Path) -> None:
    fill(disk, leave_kib=128)
    fault = next(fault for fault in guests.FAULTS if fault.scenario == "garbage-on-the-console")
    with nothing_left(Place(tmp_path, tmp_path / "scratch")):
        result = guests.run(fault, tmp_path, folder=disk / "run")
    assert result.outcome is Outcome.INFRA_FAILED
    assert "console.log: No space left on device\n  free some space" in result.cause
    assert len(seen_of(result)) == 0


def test_a_store_that_fills_the_disk(disk: Path) -> None:
    run = samples.run()
    path = disk / "results.db"
    results = [CellResult(cell=cell, outcome=Outcome.RAN, console="x" * 150_000) for cell in run.cells]
    stored: list[str] = []
    ballast = fill(disk, leave_kib=700)

    def add_all() -> None:
        for result in results:
            store.add(run.id, result)
            stored.append(result.cell.id)

    with ResultStore(path) as store:
        store.begin(run)
        with pytest.raises(InfraError, match=r"(disk is full|No space left on device)\n  (is the disk full|free some)"):
            add_all()
    assert stored
    with ResultStore(path) as store:
        assert [result.cell.id for result in store.load(run.id).results] == stored
        assert not list(disk.rglob(DRAFTS))
        ballast.unlink()
        left = results[len(stored)]
        store.add(run.id, left)
        assert [result.cell.id for result in store.load(run.id).results] == [*stored, left.cell.id]
