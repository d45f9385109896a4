"""`python -m tests.record [MATRIX]`: record anew what real kernels answer, for the tests that judge stored transcripts.

Boots each guest of RECORDED that is in the matrix once, as its lock pins it, and writes tests/data/agent-*.jsonl.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from runner.caches import cache_root
from runner.engine.cellrun import run_cell, this_machine
from runner.engine.plan import cell_orders, payloads
from runner.matrix import load_matrix
from runner.matrix.lock import read_lock
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.probes.census.kfuncs import NO_KFUNCS
from tests.guest.inprocess import AlteredMachine
from tests.samples import DATA, ROOT
from tests.unit.agent_samples import claims, expectations

WITHOUT_JIT, WITHOUT_NAT = "without-jit", "without-nf_nat"
RECORDED = (
    ("6.1", "x86_64", ""),
    ("6.1", "arm64", ""),
    ("6.12", "x86_64", ""),
    ("6.12", "x86_64", WITHOUT_JIT),
    ("6.12", "riscv64", ""),
    ("6.12", "s390x", ""),
    ("6.12", "ppc64le", ""),
    ("6.18", "x86_64", ""),
    ("6.18", "arm64", ""),
    ("7", "x86_64", ""),
    ("7", "x86_64", WITHOUT_NAT),
)
_LOG_LINES = 4
_PROSE = "Verification failed:"
_NO_JIT = "sysctl.net.core.bpf_jit_enable=0"
_HIDE_NAT = "mount --bind /dev/null $(modinfo -n nf_nat) && "


def trimmed(line: str, kfuncs: frozenset[str]) -> str:
    """A log's last lines are enough to judge it; of a census, what is about `kfuncs`. Empty when nothing is left."""
    event = json.loads(line)
    body = event.get("body", {})
    if event.get("item", "") not in kfuncs | {""}:
        return ""
    if "missing" in body:
        body["missing"] = [name for name in body["missing"] if name in kfuncs]
    for key in ("log", "again_log"):
        if body.get(key):
            body[key] = _last_words(body[key])
    return json.dumps(event)


def _last_words(log: str) -> str:
    log, prose, _ = log.partition(_PROSE)
    kept = "".join(log.splitlines(keepends=True)[-_LOG_LINES:])
    return kept + (f"{_PROSE} (cut)\n" if prose else "")


def record(matrix: Path, folder: Path) -> None:
    """Write one file for each of RECORDED that `matrix` has."""
    cells = load_matrix(matrix).cells(read_lock(matrix.with_suffix(".lock")))
    deadline = Deadline.after(3600, "the recording's limit")
    names = frozenset().union(*(file.kfunc_names for file in claims()))
    packed = payloads(cells, expectations(NO_KFUNCS), cache=cache_root(), offline=False, deadline=deadline)
    orders = tuple(cell_orders(cells, expectations(NO_KFUNCS)))
    for kernel, arch, variant in RECORDED:
        order = next((one for one in orders if (one.cell.name, one.cell.arch) == (kernel, arch)), None)
        if order is None:
            continue
        lines: list[str] = []
        began = time.monotonic()

        def keep(line: str, lines: list[str] = lines) -> None:
            lines.append(trimmed(line, names))

        with tempfile.TemporaryDirectory() as scratch:
            machine = AlteredMachine(
                this_machine(offline=False),
                Path(scratch),
                words=_NO_JIT if variant == WITHOUT_JIT else "",
                agent=_HIDE_NAT.__add__ if variant == WITHOUT_NAT else str,
                hear=keep,
            )
            payload = packed[architecture(arch).byte_order]
            result = run_cell(order, payload, machine, Path(scratch), lambda phase, note: None)
        name = "-".join(filter(None, ("agent", order.cell.kernel.version, arch, variant))) + ".jsonl"
        (folder / name).write_text("\n".join(filter(None, lines)) + "\n")
        print(  # noqa: T201
            f"{name}: {result.outcome} {result.cause}, {len(lines)} lines, {time.monotonic() - began:.1f} s"
        )


if __name__ == "__main__":
    record(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "matrix.yaml", DATA)
