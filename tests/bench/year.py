# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A year of nightly runs: 100 cells, 400 kfuncs asked for two program types, new builds of all kernels each fortnight.

As a nightly does, a new build is booted, and so is a sample of the others; the answers of all others are reused.

The answers of the claims are real ones, of stored transcripts, and differ from night to night as two real runs do:
addresses in the logs, timeouts that ran down by a second or not, and when and how fast it all was. BTF ids differ from
build to build; now and then a kfunc is let into a program type.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from random import Random
from unittest.mock import patch

from runner.model import (
    NETWORK_TYPES,
    Answer,
    Build,
    Cell,
    CellResult,
    Kept,
    Outcome,
    ProgType,
    StructLayout,
    StructMember,
    Timings,
)
from runner.model.architecture import ARCHITECTURES
from runner.probes import OPTIONS, Expectations
from runner.probes.census.answers import CensusObservation, taken
from runner.probes.claims.answers import Observation
from runner.probes.files import load_kfuncs
from runner.results import evidence
from runner.results.history import history
from runner.results.model import Run
from runner.results.rowcache import NAME
from runner.results.series import builds, measurements
from runner.results.store import ResultStore
from runner.results.stories import overview
from tests.answers import answers_of, seen_of
from tests.bench.measure import Figure
from tests.samples import ROOT
from tests.unit import agent_samples, results_samples

NIGHTS, KFUNCS, FORTNIGHT, SAMPLE = 365, 400, 14, 0.05
SERIES = tuple(f"{6 + number // 20}.{number % 20}" for number in range(1, 21))
ARCHES = tuple(ARCHITECTURES)
BEGAN = datetime(2026, 1, 1, 2, tzinfo=UTC)
RECORDED_ARM64 = ("6.1.192", "6.18.15")
CONFIG = dict.fromkeys(OPTIONS, "y")
LAYOUTS = 38  # different ones on a kernel
_ADDRESSES = 2  # of maps, in the log of each program that is refused
_RUN_DOWN, _TICKED = 0.92, 0.05  # how often, as two real runs of eight cells had it


def write(folder: Path, nights: int = NIGHTS) -> None:
    """A project with its store. Consoles are left out after the first night: they are equal in size, and take long."""
    (folder / "bpf").symlink_to(ROOT / "bpf")
    shutil.copy(ROOT / "matrix.yaml", folder)
    with ExitStack() as stack:
        store = stack.enter_context(ResultStore(folder / "reports" / "results.db"))
        asked: dict[str, tuple[int, Kept]] = {}  # by the cell's id: the number of the result that is reused, its run
        results = 0
        for night in range(nights):
            if night == 1:
                stack.enter_context(patch.object(evidence, "write_console", new=lambda *_: None))
            dice = Random(night)  # noqa: S311
            cells = tuple(_cell(series, arch, night) for series in SERIES for arch in ARCHES)
            started = BEGAN + timedelta(days=night)
            run = Run(
                id=f"night-{night:03}",
                started=started,
                matrix_sha256="d" * 64,
                runner_version="1",
                slots=4,
                cells=cells,
            )
            store.begin(run)
            for cell in cells:
                if cell.id in asked and dice.random() > SAMPLE:
                    seq, kept = asked[cell.id]
                    store.repeat(run.id, CellResult(cell=cell, outcome=Outcome.RAN, kept=(kept,)), seq)
                    results += 1
                    continue
                store.add(run.id, _result(cell, night))
                results += 1
                asked.setdefault(cell.id, (results, Kept(run=run.id, started=started)))
            store.finish(run.id, started + timedelta(minutes=4))


def _cell(series: str, arch: str, night: int) -> Cell:
    like = results_samples.cell("6.12", arch)
    version = f"{series}.{20 + night // FORTNIGHT}"
    release = f"{version}+deb13-{ARCHITECTURES[arch].flavour}"  # any other is a vendor's, and counts for no version
    kernel = like.kernel.model_copy(update={"version": version, "release": release})
    return like.model_copy(update={"id": f"{version}-{arch}", "name": series, "kernel": kernel})


def _result(cell: Cell, night: int) -> CellResult:
    build = night // FORTNIGHT
    dice = Random(f"{cell.id} {night}")  # noqa: S311
    boot_s, probe_s = round(dice.uniform(8, 16), 3), round(dice.uniform(16, 40), 3)
    return CellResult(
        cell=cell,
        outcome=Outcome.RAN,
        image_sha256="1" * 64,
        boots=1,
        guest=sha256(f"{cell.id} {build}".encode()).hexdigest(),
        host="vm",
        accel="tcg",
        began=BEGAN + timedelta(days=night, milliseconds=dice.randrange(200_000)),
        timings=Timings(prepare_s=0.2, boot_s=boot_s, probe_s=probe_s, total_s=round(0.4 + boot_s + probe_s, 3)),
        facts=agent_samples.result(*_real(cell.name, cell.arch)).facts.model_copy(
            update={"release": cell.kernel.release, "build": f"#1 SMP Debian {cell.id}"}
        ),
        answers=(*_census(cell.name, cell.arch, build), *_claims(*_real(cell.name, cell.arch), dice)),
        config=CONFIG,
        build=Build(
            sha256=sha256(f"{cell.id} {build}".encode()).hexdigest(),
            compiler="gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0",
            pahole="1.24",
        ),
        console="[    0.000000] Linux version\n" * 40,
    )


def _real(series: str, arch: str) -> tuple[str, str]:
    """The version and architecture of the recorded answers that are nearest."""
    version = ("6.1.192", "6.12.117", "6.18.15", "7.3.4")[SERIES.index(series) // 5]
    return version, "arm64" if arch != "x86_64" and version in RECORDED_ARM64 else "x86_64"


@cache
def _seen(version: str, arch: str) -> tuple[tuple[Observation, Answer], ...]:
    every = seen_of(agent_samples.result(version, arch))
    return tuple(zip(every, answers_of(every), strict=True))


def _claims(version: str, arch: str, dice: Random) -> Iterator[Answer]:
    """What is no other answer than in the boot before is the same object."""
    for seen, answer in _seen(version, arch):
        now = _as_it_comes(seen, dice)
        yield answer if now is seen else answers_of([now])[0]


def _as_it_comes(seen: Observation, dice: Random) -> Observation:
    """The same answer in another boot. An entry is mostly looked at within the first second of its life."""
    if seen.load_errno:
        return seen.model_copy(update={"log": _maps(dice) + seen.log})
    fields = dict(seen.fields)
    if left := fields.get("entry_timeout_s"):
        fields["entry_timeout_s"] = -(-left // 10) * 10 - (dice.random() < _RUN_DOWN)
    if fields.get("timeout_ms") and dice.random() < _TICKED:
        fields["timeout_ms"] -= 4
    return seen if fields == seen.fields else seen.model_copy(update={"fields": fields})


def _maps(dice: Random) -> str:
    return "".join(f"0: (18) r2 = 0xff{dice.getrandbits(56):014x} ; R2_w=map_value()\n" for _ in range(_ADDRESSES))


@cache
def _names() -> tuple[str, ...]:
    """Those that are known, and as many more as it takes."""
    known = sorted(load_kfuncs(ROOT).names)
    return (*known, *(f"bpf_kfunc_{number}" for number in range(KFUNCS - len(known))))


def _count(series: str) -> int:
    """How many of the names a kernel has."""
    return 250 + 7 * SERIES.index(series)


@lru_cache(maxsize=2 * len(SERIES) * len(ARCHES))
def _census(series: str, arch: str, build: int) -> tuple[Answer, ...]:
    """A quarter is allowed, later a few more; ids are those of the build."""
    ids = Random(f"{series} {arch} {build}").randrange(60_000, 130_000)  # noqa: S311
    late = 4 * SERIES.index(series) + 1
    seen = (
        _answer(name, number, prog_type, ids, series, allowed=number % 4 == 0 or (build > 12 and number == late))
        for number, name in enumerate(_names()[: _count(series)])
        for prog_type in NETWORK_TYPES
    )
    ended = taken(agent_samples.result(*_real(series, arch))).ended
    return answers_of((), seen, ended, _names()[_count(series) :])


def _answer(name: str, number: int, prog_type: ProgType, ids: int, series: str, *, allowed: bool) -> CensusObservation:
    said = "R1 type=ctx expected=fp" if allowed else f"calling kernel function {name} is not allowed"
    log = f"3: (b7) r5 = 0 ; R5=0\n4: (85) call {name}#{ids + number}\n{said}\nprocessed 5 insns\n"
    seen = CensusObservation(
        kfunc=name,
        prog_type=prog_type,
        object="vmlinux",
        load_errno=13,
        log=log,
        prototype=f"int {name}(struct structure_{number % LAYOUTS} *it, u32 size__sz)",
        layouts=(_layout(number % LAYOUTS, SERIES.index(series)),) if number % 2 else (),
        tags=("bpf_kfunc",),
    )
    twice = {"again": "with an arena", "again_errno": 13, "again_log": log}
    return seen.model_copy(update=twice) if number % 40 == 1 else seen


@cache
def _layout(number: int, series: int) -> StructLayout:
    """Every fourth grew by a member in the fifth series."""
    members = 1 + number % 12 + (number % 4 == 0 and series >= len(SERIES) // 2)
    return StructLayout(
        name=f"structure_{number}",
        size=8 * members,
        members=tuple(
            StructMember(name=f"member_{at}", type="const struct other *", offset=8 * at, size=8)
            for at in range(members)
        ),
    )


def fresh(path: Path) -> None:
    """As after an edited expectation: no row is kept."""
    for file in path.parent.glob(f"{NAME}*"):
        file.unlink()


@cache
def _year() -> dict[str, Figure]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "reports" / "results.db"
        write(Path(name))
        stored = path.stat().st_size / 1e6
        found = {**_read(path), **_site(Path(name))}
        kept = sum(file.stat().st_size for file in path.parent.glob(f"{NAME}*")) / 1e6
    how = f"{NIGHTS} nights x {len(SERIES) * len(ARCHES)} cells x {KFUNCS} kfuncs; of it {kept:.1f} MB of judged rows"
    return {"size": Figure(stored + kept, "MB", how, at_most=86), **found}


def _read(path: Path) -> dict[str, Figure]:
    """Each in a process of its own, as a user's command is one: this one holds what the year was made of."""
    found = {}
    for name in ("judging", "availability", "history"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.year", name, path], check=True, stdout=subprocess.PIPE, text=True
        )
        found[name] = Figure(**json.loads(done.stdout))
    return found


def _site(project: Path) -> dict[str, Figure]:
    """What the command needs: its processor seconds, which other work on the machine does not change, and its peak."""
    argv: list[str | Path] = [Path(sys.executable).with_name("runner"), "report", "html", "--output", project / "site"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd=project) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"`runner report html` failed with exit status {process.returncode}")
    how = f"report html, {len(SERIES) * len(ARCHES)} cells, the last 20 runs"
    return {
        "site": Figure(used.ru_utime + used.ru_stime, "s", f"{how}, processor time", at_most=10),
        "site-memory": Figure(used.ru_maxrss / 1024, "MiB", f"{how}, peak", at_most=400),
    }


def _expectations() -> Expectations:
    return agent_samples.expecting(agent_samples.claims(), load_kfuncs(ROOT))


def _judging(path: Path) -> Figure:
    """After an expectation was edited, everything is judged again, once."""
    expectations = _expectations()
    fresh(path)
    begun = time.monotonic()
    with ResultStore(path, read_only=True) as store:
        found = builds(measurements(store, expectations))
    return Figure(time.monotonic() - begun, "s", f"all rows of {len(found)} kernel builds; once", at_most=60.0)


def _availability(path: Path) -> Figure:
    """Of rows that were judged at the end of each run."""
    expectations = _expectations()
    begun = time.monotonic()
    with ResultStore(path, read_only=True) as store:
        found = overview(builds(measurements(store, expectations)))
    how = f"{len(found.builds)} kernel builds, {len(found.stories)} stories"
    return Figure(time.monotonic() - begun, "s", how, at_most=2.0)


def _history(path: Path) -> Figure:
    """Of the kfunc about which most is asked, of rows that were judged at the end of each run."""
    expectations = _expectations()
    asked = Counter(said.subject for said in expectations.said())
    kfunc, each = asked.most_common(1)[0]
    begun = time.monotonic()
    with ResultStore(path, read_only=True) as store:
        turns = history(measurements(store, expectations, kfunc), kfunc, NETWORK_TYPES)
    how = f"{kfunc}, {each} verdicts a cell, {len(turns)} turns"
    return Figure(time.monotonic() - begun, "s", how, at_most=4.0)


def year_mb() -> Figure:
    return _year()["size"]


def judging_s() -> Figure:
    return _year()["judging"]


def availability_s() -> Figure:
    return _year()["availability"]


def site_s() -> Figure:
    return _year()["site"]


def site_mib() -> Figure:
    return _year()["site-memory"]


def history_s() -> Figure:
    return _year()["history"]


if __name__ == "__main__":
    measured = {"judging": _judging, "availability": _availability, "history": _history}
    print(json.dumps(asdict(measured[sys.argv[1]](Path(sys.argv[2])))))  # noqa: T201
