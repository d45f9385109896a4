"""A year of nightly runs: 20 cells, 400 kfuncs asked for two program types, new builds of all kernels each fortnight.

The answers of the claims are real ones, of stored transcripts. Addresses differ from boot to boot and BTF ids from
build to build, as they do in reality; now and then a kfunc is let into a program type.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from unittest.mock import patch

from runner.model import NETWORK_TYPES, Cell, CellResult, CensusObservation, Facts, KfuncState, Outcome
from runner.probes import KfuncList, load_kfuncs
from runner.probes import states as judged_states
from runner.results import evidence
from runner.results.model import Run
from runner.results.series import builds, measurements
from runner.results.store import ResultStore
from runner.results.stories import overview
from tests.bench.measure import Figure
from tests.unit import agent_samples, results_samples

NIGHTS, KFUNCS, FORTNIGHT = 365, 400, 14
SERIES = ("6.1", "6.6", "6.12", "6.18", "6.19", "7.0", "7.1", "7.2", "7.3", "7.4")
ARCHES = ("x86_64", "arm64")
BEGAN = datetime(2026, 1, 1, 2, tzinfo=UTC)
_ADDRESSES = 2  # of maps, in the log of each program that is refused


def write(path: Path, nights: int = NIGHTS) -> None:
    """The files beside the database are left out after the first night: they are equal in size, and take long."""
    with ExitStack() as stack:
        store = stack.enter_context(ResultStore(path))
        for night in range(nights):
            if night == 1:
                stack.enter_context(patch.object(evidence, "write"))
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
                store.add(run.id, _result(cell, night))
            store.finish(run.id, started + timedelta(minutes=4))


def states(result: CellResult) -> tuple[KfuncState, ...]:
    """As the reports judge them."""
    return judged_states(result, agent_samples.claims(), _known())


@cache
def _known() -> KfuncList:
    return load_kfuncs(agent_samples.ROOT)


def _cell(series: str, arch: str, night: int) -> Cell:
    like = results_samples.cell("6.12", arch)
    version = f"{series}.{20 + night // FORTNIGHT}"
    kernel = like.kernel.model_copy(update={"version": version, "release": f"{version}-{arch}"})
    return like.model_copy(update={"id": f"{version}-{arch}", "name": series, "kernel": kernel})


def _result(cell: Cell, night: int) -> CellResult:
    build = night // FORTNIGHT
    dice = Random(f"{cell.id} {night}")  # noqa: S311
    claims = agent_samples.result("7.3.4" if cell.name > "7" else "6.12.117", "x86_64").observations
    return CellResult(
        cell=cell,
        outcome=Outcome.RAN,
        kernel_sha256=f"{abs(hash((cell.id, build))):064x}"[:64],
        accel="tcg",
        facts=Facts(release=cell.kernel.release, btf=("vmlinux", "nf_conntrack"), modules={"nf_conntrack": ""}),
        observations=tuple(
            seen.model_copy(update={"log": _maps(dice) + seen.log}) if seen.load_errno else seen for seen in claims
        ),
        census=_census(cell.name, cell.arch, build),
        console="[    0.000000] Linux version\n" * 40,
    )


def _maps(dice: Random) -> str:
    return "".join(f"0: (18) r2 = 0xff{dice.getrandbits(56):014x} ; R2_w=map_value()\n" for _ in range(_ADDRESSES))


@cache
def _census(series: str, arch: str, build: int) -> tuple[CensusObservation, ...]:
    """Some are allowed, the newer the kernel the more; old series lack some; ids are those of the build."""
    at = SERIES.index(series)
    ids = Random(f"{series} {arch} {build}").randrange(60_000, 130_000)  # noqa: S311
    found = []
    for number in range(KFUNCS):
        for prog_type in NETWORK_TYPES:
            if number > 250 + 15 * at:
                found.append(CensusObservation(kfunc=f"bpf_kfunc_{number}", prog_type=prog_type))
                continue
            allowed = number % 4 == 0 or (build > 12 and number == 4 * at + 1)
            said = (
                "R1 type=ctx expected=fp" if allowed else f"calling kernel function bpf_kfunc_{number} is not allowed"
            )
            log = f"3: (b7) r5 = 0 ; R5=0\n4: (85) call bpf_kfunc_{number}#{ids + number}\n{said}\nprocessed 5 insns\n"
            seen = CensusObservation(
                kfunc=f"bpf_kfunc_{number}", prog_type=prog_type, object="vmlinux", load_errno=13, log=log
            )
            twice = {"again": "with an arena", "again_errno": 13, "again_log": log}
            found.append(seen.model_copy(update=twice) if number % 40 == 1 else seen)
    return tuple(found)


@cache
def _year() -> tuple[float, float, float, int, int]:
    """Size of the database and of one night's evidence in MB, seconds for availability, kernels and rows in it."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "results.db"
        write(path)
        size_mb = path.stat().st_size / 1e6
        night = evidence.run_folder(path.parent, "night-000")
        night_mb = sum(file.stat().st_size for file in night.rglob("*.gz")) / 1e6
        begun = time.monotonic()
        with ResultStore(path, read_only=True) as store:
            found = overview(builds(measurements(store, states)))
        return size_mb, night_mb, time.monotonic() - begun, len(found.builds), len(found.stories)


def year_mb() -> Figure:
    size_mb, night_mb, _, _, _ = _year()
    how = (
        f"{NIGHTS} nights x {len(SERIES) * len(ARCHES)} cells x {KFUNCS} kfuncs; "
        f"beside it {night_mb:.2f} MB of packed raw answers a night"
    )
    return Figure(size_mb, "MB", how, at_most=500)


def availability_s() -> Figure:
    _, _, seconds, kernels, rows = _year()
    return Figure(seconds, "s", f"{kernels} kernel builds, {rows} stories", at_most=2.0)
