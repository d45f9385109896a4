# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`make bench`: the goals, as ratios measured in one run on one machine. Exit status 1 when one is missed.

A ratio needs no fast machine: both sides of it are measured here, one after the other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from tests.bench.before import checkout
from tests.bench.boot import boot_ratio
from tests.bench.census import census_s
from tests.bench.command import command_ratio
from tests.bench.fleet import fleet_mib, fleet_ms, fleet_order
from tests.bench.hosts import slow_host
from tests.bench.load import alone_ratio, load_ratio
from tests.bench.matrix import (
    controller_mib,
    families_ratio,
    fresh_ratio,
    kept_ratio,
    shell_loop_ratio,
    unchanged_ratio,
    utilisation,
)
from tests.bench.measure import Figure
from tests.bench.scale import controller_growth, controller_ms
from tests.bench.site import filter_ms, first_paint_ms
from tests.bench.snapshots import eight_cells_ratio, first_answer_ratio
from tests.bench.year import availability_s, history_s, judging_s, site_mib, site_s, year_mb

BENCHES: dict[str, Callable[[], Figure | None]] = {
    "boot-x86_64": lambda: boot_ratio("x86_64", at_most=1.1),
    "boot-arm64": lambda: boot_ratio("arm64", at_most=2.0),
    "boot-riscv64": lambda: boot_ratio("riscv64", at_most=3.7),
    "boot-s390x": lambda: boot_ratio("s390x", at_most=3.3),
    "boot-ppc64le": lambda: boot_ratio("ppc64le", at_most=2.4),
    "census": census_s,
    "snapshot-x86_64": lambda: first_answer_ratio("x86_64"),
    "snapshot-arm64": lambda: first_answer_ratio("arm64"),
    "snapshot-load": eight_cells_ratio,
    "load": load_ratio,
    "load-alone": alone_ratio,
    "exec": command_ratio,
    "utilisation": utilisation,
    "shell-loop": shell_loop_ratio,
    "controller-memory": controller_mib,
    "fresh": fresh_ratio,
    "families": families_ratio,
    "unchanged": unchanged_ratio,
    "unchanged-hundred": kept_ratio,
    "thousand-cells": controller_ms,
    "thousand-cells-memory": controller_growth,
    "fleet": fleet_ms,
    "fleet-memory": fleet_mib,
    "fleet-order": fleet_order,
    "slow-host": slow_host,
    "year-of-runs": year_mb,
    "availability": availability_s,
    "history": history_s,
    "judging": judging_s,
    "year-site": site_s,
    "year-site-memory": site_mib,
    "site-first-paint": first_paint_ms,
    "site-filter": filter_ms,
}


def main(wanted: list[str]) -> int:
    console = Console()
    if unknown := set(wanted) - BENCHES.keys():
        console.print(f"no such goal: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
        return 64
    with checkout(os.environ.get("BEFORE", "")):
        return _measured(console, wanted)


def _measured(console: Console, wanted: list[str]) -> int:
    table = Table("goal", "measured", "limit", "how", box=None, pad_edge=False)
    good = True
    for name, bench in BENCHES.items():
        if wanted and name not in wanted:
            continue
        figure = bench()
        if figure is None:
            table.add_row(f"- {name}", "not measured", "", "it compares with BEFORE=COMMIT")
            continue
        good = good and figure.good
        mark = "[green]✓[/]" if figure.good else "[red]✗[/]"
        table.add_row(f"{mark} {name}", f"{figure.value:.2f} {figure.unit}", figure.limit, figure.how)
    console.print(table)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
