# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the default matrix costs: how busy the slots are, what a plain loop takes, what the controller needs; and what
it costs when nothing changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.before import BEFORE
from tests.bench.measure import Figure

KEPT, TURNS = 100, 5
RUNNER = Path(sys.executable).with_name("runner")


@cache
def _run() -> tuple[dict[str, Any], int, float]:
    """One run of the default matrix with warm caches: its export, the controller's peak in KiB, its wall seconds."""
    subprocess.run([RUNNER, "kernels", "fetch"], check=True, stdout=subprocess.DEVNULL)
    begun = time.monotonic()
    with subprocess.Popen([RUNNER, "matrix", "run", "--fresh"], stdout=subprocess.DEVNULL) as process:
        peak_kib = 0
        while process.poll() is None:
            peak_kib = max(peak_kib, _peak_kib(process.pid))
            time.sleep(0.2)
    wall_s = time.monotonic() - begun
    exported = subprocess.run([RUNNER, "report", "export"], check=True, stdout=subprocess.PIPE).stdout
    return json.loads(exported), peak_kib, wall_s


def _peak_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def utilisation() -> Figure:
    """(sum of the cells' seconds / slots) / wall."""
    document, _, _ = _run()
    cells = [cell["timings"]["total_s"] for cell in document["cells"]]
    begun, ended = (datetime.fromisoformat(document["run"][key]) for key in ("started", "finished"))
    wall = (ended - begun).total_seconds()
    slots = document["run"]["slots"]
    how = f"{len(cells)} cells, {sum(cells):.1f} s in {slots} slots, wall {wall:.1f} s"
    return Figure(sum(cells) / slots / wall, "", how, at_least=0.9)


def controller_mib() -> Figure:
    """The controller's peak resident size (VmHWM), its workers not counted."""
    _, peak_kib, _ = _run()
    return Figure(peak_kib / 1024, "MiB", "peak of the process `runner matrix run`", at_most=150)


def shell_loop_ratio() -> Figure:
    """A plain `vng` for each kernel, one after another, asking the same probes, over our whole run."""
    from tests.bench.loop import loop_s

    _, _, wall_s = _run()
    taken = loop_s()
    how = (
        f"`for k in ...; do vng --run $k --exec agent; done` {taken:.1f} s, ours {wall_s:.1f} s, {os.cpu_count()} cores"
    )
    return Figure(taken / wall_s, "x", how, at_least=2.0)


@cache
def _two_families_s() -> float:
    """Wall seconds of a run of the default matrix that asks about conntrack and traffic alone."""
    _run()  # warm caches
    with tempfile.TemporaryDirectory(prefix="bench-families-") as name:
        folder = Path(name)
        shutil.copytree("bpf", folder / "bpf")
        shutil.copy("matrix.lock", folder)
        text, count = re.subn(
            r"(?ms)^probes: \[.*?\]$", "probes: [conntrack, traffic]", Path("matrix.yaml").read_text()
        )
        if count != 1:
            raise RuntimeError("matrix.yaml: no probes")
        (folder / "matrix.yaml").write_text(text)
        return _wall_s([RUNNER, "matrix", "run", "--fresh"], folder)


def _wall_s(argv: list[str | Path], folder: Path) -> float:
    begun = time.monotonic()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    return time.monotonic() - begun


def fresh_ratio() -> Figure | None:
    """Over the same run of the commit that `make bench BEFORE=COMMIT` names; None without one.

    Both ask about conntrack and traffic: an older commit's default matrix has no other families.
    """
    before = os.environ.get(BEFORE)
    if before is None:
        return None
    now_s, runner = _two_families_s(), Path(before, ".venv/bin/runner")
    subprocess.run([runner, "kernels", "fetch"], check=True, stdout=subprocess.DEVNULL, cwd=before)
    before_s = _wall_s([runner, "matrix", "run"], Path(before))
    return Figure(now_s / before_s, "x", f"{now_s:.1f} s over {before_s:.1f} s, conntrack and traffic", at_most=0.5)


def families_ratio() -> Figure:
    """All families of kfuncs over conntrack and traffic alone."""
    _, _, all_s = _run()
    two_s = _two_families_s()
    return Figure(all_s / two_s, "x", f"{all_s:.1f} s, conntrack and traffic alone {two_s:.1f} s", at_most=1.5)


def unchanged_ratio() -> Figure:
    """The run once more, when nothing changed: every answer is reused."""
    _, _, wall_s = _run()
    begun = time.monotonic()
    subprocess.run([RUNNER, "matrix", "run"], check=True, stdout=subprocess.DEVNULL)
    taken_s = time.monotonic() - begun
    return Figure(taken_s / wall_s, "x", f"{taken_s:.1f} s, with --fresh {wall_s:.1f} s", at_most=0.02)


def kept_ratio() -> Figure:
    """A run of cells that are all reused, over `matrix list`. The first answers are of fake guests."""
    from tests.faults.project import write_project
    from tests.samples import ROOT

    with tempfile.TemporaryDirectory(prefix="bench-kept-") as name:
        folder = Path(name)
        write_project(folder, ["fine"] * KEPT)
        env = {**os.environ, "PYTHONPATH": str(ROOT), "RUNNER_CACHE": str(folder / "cache")}

        def taken_s(*words: str) -> float:
            argv = [sys.executable, "-m", "tests.faults.driver", "matrix", *words]
            begun = time.monotonic()
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, cwd=folder, env=env)
            return time.monotonic() - begun

        taken_s("run", "--offline", "-n", "2")
        turns = [(taken_s("run", "--offline", "-n", "2"), taken_s("list")) for _ in range(TURNS)]
    run_s, list_s = (median(each) for each in zip(*turns, strict=True))
    how = f"{KEPT} cells reused {run_s:.2f} s, listed {list_s:.2f} s, medians of {TURNS} in turn"
    return Figure(run_s / list_s, "x", how, at_most=4)
