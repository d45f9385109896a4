# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel counts for a program is what veristat says of it there: Debian's, in the very guest that was asked."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from runner.caches import cache_root
from runner.engine.plan import OpenGuests
from runner.guest.interface import Guest
from runner.kernels.archive import Archive
from runner.process import run
from runner.reports.export import veristat_csv
from runner.results.model import judged_cell
from tests.guest.conftest import Project
from tests.guest.inprocess import OneCell
from tests.samples import DATA, soon

MATRIX = """\
kernels:
  - {debian: bookworm, series: "6.1"}
  - {debian: trixie-backports, series: "7"}
architectures: [x86_64]
probes: [{object: "*.bpf.o"}]
"""
_DURATION = "duration"


def test_numbers_are_those_of_veristat(project: Project, tmp_path: Path) -> None:
    source, target = DATA / "objects" / "numbers.bpf.c", project.root / "numbers.bpf.o"
    flags = ("-target", "bpf", "-O2", "-g", "-I/usr/include/x86_64-linux-gnu")
    run(["clang", *flags, "-c", source, "-o", target], deadline=soon())
    for kernel in ("6.1", "7"):
        theirs, ours = tables(project, kernel, tmp_path, [target])
        assert sum(line["verdict"] == "success" for line in theirs) == 7, theirs
        if kernel == "7":  # it says what each function needs in a line of its own, which veristat 0.4 takes for 0
            assert {line.pop("stack_depth") for line in theirs if "stack_depth" in line} == {"0"}
            assert max(int(line.pop("stack_depth")) for line in ours if "stack_depth" in line) > 128
        assert theirs == ours


def tables(
    project: Project, kernel: str, folder: Path, objects: Iterable[Path]
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """veristat's lines about the project's objects on a kernel, and ours; in its columns, without durations.

    Of what was refused only the verdict: whether the log was asked for at once decides what is counted then.
    """
    (project.root / "matrix.yaml").write_text(MATRIX)
    cell = OneCell.of(project.root, f"kernel={kernel}*")
    said: list[str] = []

    def ask(guest: Guest) -> None:
        pushed = guest.run("mkdir /dev/shm/v && tar xf - -C /dev/shm/v", stdin=packed(folder, objects), deadline=soon())
        assert pushed.returncode == 0, pushed.stdout
        done = guest.run("cd /dev/shm/v && ./veristat -q -o csv *.o 2>/dev/null", deadline=soon(300))
        assert done.returncode == 0, done.stdout
        said.append(done.stdout)

    result = cell.run(guests=OpenGuests(after=ask))
    assert said, result.cause
    theirs = list(csv.DictReader(io.StringIO(said[0])))
    columns = theirs[0].keys() - {_DURATION}
    mine = csv.DictReader(io.StringIO(veristat_csv(judged_cell(result, cell.expectations))))
    return [_compared(line, columns) for line in theirs], [_compared(line, columns) for line in mine]


def _compared(line: dict[str, str], columns: Iterable[str]) -> dict[str, str]:
    counted = columns if line["verdict"] == "success" else ("file_name", "prog_name", "verdict")
    return {name: line[name] for name in sorted(counted)}


def packed(folder: Path, objects: Iterable[Path]) -> bytes:
    """A tar of Debian's veristat and of objects."""
    archive, deadline = Archive(cache_root()), soon(600)
    whole = archive.closure(["veristat"], "trixie", "x86_64", deadline=deadline)  # the image has what it depends on
    files = archive.download([it for it in whole if it.name == "veristat"], "x86_64", folder, deadline=deadline)
    for deb in files.values():
        run(["dpkg-deb", "-x", deb, folder / "unpacked"], deadline=deadline)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path in (folder / "unpacked/usr/bin/veristat", *objects):
            tar.add(path, path.name)
    return stream.getvalue()
