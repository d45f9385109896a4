# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Planted kernels, for bisections without a guest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from runner.bisect.releases import ordered
from runner.engine.fleet import Fleet
from runner.engine.plan import CellOrder, Ended, Plan, RunEnd, Sink
from runner.model import Build, CellResult, Outcome, Package, Pin
from runner.probes.claims.answers import Observation
from tests import fakes
from tests.answers import answers_of
from tests.unit import agent_samples

PROBE = "nat-manip-2:tc"
Says = Callable[[str], int | None]  # of a package's version: set_ret, or None when it does not boot


def kernel(patch: int, revision: str = "1", arch: str = "x86_64", variant: str = "") -> Pin:
    version, build = f"6.12.{patch}", f"6.12.{patch}-{revision}"
    source = f"debian:trixie-security/{version}"
    package = Package(
        name=f"linux-image-{version}-{variant}amd64",
        version=build,
        architecture="amd64",
        suite="trixie-security",
        sha256=f"{abs(hash((build, arch, variant))) % 16**8:064x}",
        size_bytes=1,
    )
    release = f"{version}+{revision.replace('~', '')}-{variant}amd64"
    return Pin(source=source, arch=arch, version=version, release=release, packages=(package,), variant=variant)


def kernels(count: int) -> tuple[Pin, ...]:
    return ordered(kernel(patch) for patch in range(1, count + 1))


@dataclass
class Rounds:
    """In the place of execute. `stop_after` results it is interrupted; `fails` are cells that the machine fails."""

    says: Says
    stop_after: int = 10_000
    fails: Callable[[str], bool] = lambda _build: False
    by_arch: dict[str, int] = field(default_factory=dict)  # what all kernels of an architecture say
    asked: list[str] = field(default_factory=list)
    probes: list[tuple[str, ...]] = field(default_factory=list)
    rounds: int = 0
    fleet: Fleet | None = None  # of the last round

    def __call__(self, plan: Plan, sinks: Sequence[Sink]) -> RunEnd:
        self.rounds += 1
        self.fleet = plan.fleet
        left = self.stop_after - len(self.asked)
        ended = Ended.INTERRUPTED if left < len(plan.orders) else Ended.COMPLETE
        return fakes.told(plan, sinks, map(self._result, plan.orders[:left]), ended)

    def _result(self, order: CellOrder) -> CellResult:
        build = order.cell.kernel.packages[0].version
        self.asked.append(build)
        self.probes.append(tuple(ask.probe for ask in order.asks))
        result = CellResult(cell=order.cell, outcome=Outcome.RAN, attempts=order.attempt, build=Build(sha256="b" * 64))
        said = self.by_arch.get(order.cell.arch, self.says(build))
        if self.fails(build):
            return result.model_copy(update={"outcome": Outcome.INFRA_FAILED, "cause": "no space left"})
        if said is None:
            return result.model_copy(update={"outcome": Outcome.BOOT_FAILED, "cause": "Kernel panic"})
        seen = Observation(probe=PROBE, load_errno=0, run_errno=0, log=f"said {said}", fields={"set_ret": said})
        facts = agent_samples.GOOD_FACTS
        return result.model_copy(update={"answers": answers_of((seen,)), "facts": facts, "config": {"HZ": build}})


def since(patch: int) -> Says:
    """-EINVAL from 6.12.`patch` on."""
    return lambda build: -22 if int(build.split("-")[0].rpartition(".")[2]) >= patch else 0
