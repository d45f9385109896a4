# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What one would write without this project: a loop over kernels, a plain `vng --exec` for each, one after another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from runner.caches import cache_root
from runner.engine.plan import cell_orders, payloads
from runner.guest.boot import AGENT_START
from runner.matrix import load_matrix
from runner.model.architecture import architecture, by_uname
from runner.model.deadline import Deadline
from runner.probes import Expectations
from runner.process import spawn
from tests.bench.boot import cells, prepared

LIMIT_S = 600
# The answers stay in the guest: the serial console, which is what this image gives a plain --exec, would cost more.
# The kernel says that all was asked: what a process prints shortly before the end may be lost.
_ASK = f"cd /run/payload && {AGENT_START} > /dev/shm/answers; tail -n 1 /dev/shm/answers > /dev/kmsg\n"


def loop_s() -> float:
    """Seconds for the default matrix; the preparation is not counted, as it is not in a run with warm caches."""
    file = load_matrix(Path("matrix.yaml")).file
    wanted, expectations = cells(), Expectations.load(Path(), file.probes)
    limit = Deadline.after(LIMIT_S, "the bench's limit")
    packed = payloads(wanted, expectations, cache=cache_root(), offline=False, deadline=limit)
    taken = 0.0
    for order in cell_orders(wanted, expectations):
        row = architecture(order.cell.arch)
        kernel, image = prepared(order.cell)
        with tempfile.TemporaryDirectory(dir=cache_root()) as name:
            folder = Path(name)
            (folder / "agent").mkdir()
            for path, content in packed[row.byte_order].items():
                (folder / path).write_bytes(content)
            asks = [ask.model_dump(mode="json") for ask in order.asks]
            (folder / "asks.json").write_text(json.dumps({"modules": order.modules, "asks": asks, "trace": False}))
            (folder / "ask.sh").write_text(_ASK)
            argv: list[str | Path] = [
                Path(sys.executable).with_name("vng"), "--run", str(kernel.image), "--disable-kvm", "--user", "root",
                "--root-disk", str(image.disk), "--root-fstype", "ext4", "--busybox", str(image.busybox),
                "--cpus", "1", "--memory", f"{order.cell.guest.memory_mib}M", "--rodir", f"/run/payload={folder}",
                "--verbose", "--exec", "sh /run/payload/ask.sh",
            ]  # fmt: skip
            if row != by_uname(os.uname().machine):
                argv += ["--arch", row.vng]
            taken += _vng_s(order.cell.id, argv, len(order.asks))
    return taken


def _vng_s(cell_id: str, argv: list[str | Path], asked: int) -> float:
    begun = time.monotonic()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with spawn(argv, end_s=20, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={"PATH": path}) as process:
        printed = process.communicate(timeout=LIMIT_S)[0].decode(errors="replace")
    if f'"asked": {asked}' not in printed:
        raise RuntimeError(f"{cell_id}: the loop's guest did not answer:\n{printed[-2000:]}")
    return time.monotonic() - begun
