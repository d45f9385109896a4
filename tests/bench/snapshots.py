# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a start from a snapshot saves: `runner load` of a small object, over the same with boots.

With `make bench BEFORE=COMMIT` that commit does the boots; otherwise this one does, with --no-snapshot.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from runner.caches import cache_root
from runner.model.deadline import Deadline
from runner.probes import compile_program
from tests.bench.before import BEFORE
from tests.bench.measure import Figure

ROUNDS = 3
LIMIT_S = 1800
_OBJECT = """\
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
SEC("xdp") int pass(struct xdp_md *xdp) { return XDP_PASS; }
"""


def first_answer_ratio(arch: str) -> Figure:
    """Of one guest of the 6.12 kernel: from its start to the answer."""
    rounds = [_pair(("--kernel", "6.12", "--arch", arch)) for _ in range(ROUNDS)]
    before = statistics.median(one for (_, one), _ in rounds)
    now = statistics.median(one for _, (_, one) in rounds)
    how = f"{now:.2f} s over {before:.2f} s, 6.12 on {arch}, {ROUNDS} rounds, boots {_whose()}"
    return Figure(now / before, "x", how, at_most=0.12)


def eight_cells_ratio() -> Figure:
    """Of the whole command, on every cell of the default matrix."""
    rounds = [_pair(()) for _ in range(ROUNDS)]
    before = statistics.median(whole for (whole, _), _ in rounds)
    now = statistics.median(whole for _, (whole, _) in rounds)
    how = f"{now:.1f} s over {before:.1f} s, {ROUNDS} rounds, boots {_whose()}"
    return Figure(now / before, "x", how, at_most=0.15)


def _whose() -> str:
    return f"of {os.environ[BEFORE]}" if BEFORE in os.environ else "of this checkout"


def _pair(words: Sequence[str]) -> tuple[tuple[float, float], tuple[float, float]]:
    """With boots, then from snapshots that are there."""
    other = os.environ.get(BEFORE)
    python = str(Path(other, ".venv/bin/python")) if other else sys.executable
    booting = _load(python, words if other else ("--fresh", "--no-snapshot", *words))
    _made(tuple(words))
    return booting, _load(sys.executable, ("--fresh", *words))


@cache
def _made(words: tuple[str, ...]) -> None:
    _load(sys.executable, ("--fresh", *words))


def _load(python: str, words: Sequence[str]) -> tuple[float, float]:
    """Seconds: of the command, and the longest from a guest's start to its answer."""
    run = "import sys; from runner.cli import main; sys.exit(main())"
    with tempfile.TemporaryDirectory() as name:
        env = {**os.environ, "XDG_STATE_HOME": name}
        begun = time.monotonic()
        argv = [python, "-c", run, "load", str(_object()), "--format", "json", *words]
        done = subprocess.run(argv, cwd=name, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        taken = time.monotonic() - begun
    if done.returncode:
        raise RuntimeError(f"`{' '.join(argv)}` failed with exit status {done.returncode}:\n{done.stderr[-1000:]}")
    began: dict[str, float] = {}
    answers = []
    for event in map(json.loads, done.stdout.splitlines()):
        if event["event"] == "progress" and event["phase"] == "booting":
            began.setdefault(event["cell"], event["at_s"])
        if event["event"] == "result":
            answers.append(event["at_s"] - began[event["cell"]])
    return taken, max(answers)


@cache
def _object() -> Path:
    folder = Path(tempfile.mkdtemp(dir=cache_root()))
    (folder / "small.bpf.c").write_text(_OBJECT)
    limit = Deadline.after(LIMIT_S, "the bench's limit")
    compile_program(folder / "small.bpf.c", ["x86_64"], folder, deadline=limit)
    return folder / "x86_64" / "small.bpf.o"
