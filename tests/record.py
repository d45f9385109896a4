# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`python -m tests.record [MATRIX]`: record anew what real kernels answer, for the tests that judge stored transcripts.

Boots each guest of RECORDED that is in the matrix once, as its lock pins it, and writes tests/data/agent-*.jsonl. Of
those to which nothing was done it also writes tests/data/census/*: the kfuncs that TC and XDP programs may call, one a
line.
No line of these is written otherwise.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from runner.caches import cache_root
from runner.engine.cellrun import run_cell
from runner.engine.fleet import this_machine
from runner.engine.plan import cell_orders, payloads
from runner.matrix import load_matrix
from runner.matrix.lock import read_lock
from runner.model import NETWORK_TYPES, Cell, CellResult, State
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.probes.files import load_kfuncs
from tests.guest.inprocess import AlteredMachine, copied_tree
from tests.guest.test_causes import change_prototype, strip_btf
from tests.samples import DATA, ROOT
from tests.unit.agent_samples import claims, expectations

WITHOUT_JIT, WITHOUT_NAT = "without-jit", "without-nf_nat"
WITHOUT_BTF, OTHER_PROTOTYPE = "without-btf-of-nf_conntrack", "with-other-prototype"
RECORDED = (
    ("6.1", "x86_64", ""),
    ("6.1", "arm64", ""),
    ("6.12", "x86_64", ""),
    ("6.12", "x86_64", WITHOUT_JIT),
    ("6.12", "x86_64", WITHOUT_BTF),
    ("6.12", "x86_64", OTHER_PROTOTYPE),
    ("trixie-6.12", "riscv64", ""),  # of matrices/nightly.yaml, as the two below
    ("trixie-6.12", "s390x", ""),
    ("trixie-6.12", "ppc64le", ""),
    ("6.18", "x86_64", ""),
    ("6.18", "arm64", ""),
    ("7", "x86_64", ""),
    ("7", "x86_64", WITHOUT_NAT),
)
# of these an answer for each way in which a call is not resolved
_FEW = {WITHOUT_BTF, OTHER_PROTOTYPE}
_FEW_CLAIMS = {
    "alloc-tcp:tc",
    "set-timeout:tc",
    "change-timeout:xdp",
    "mark-write:tc",
    "status-write:tc",
    "nat-source:tc",
    "nat-source:xdp",
    "set-timeout-found:tc",
}
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


def callable_kfuncs(result: CellResult) -> str:
    """`bpf_dynptr_slice tc xdp`, a line each."""
    types: dict[str, list[str]] = defaultdict(list)
    for row in expectations(load_kfuncs(ROOT)).rows(result):
        if row.state in {State.REGISTERED, State.USABLE} and row.type in NETWORK_TYPES:
            types[row.subject].append(row.type)
    return "".join(f"{kfunc} {' '.join(sorted(types[kfunc]))}\n" for kfunc in sorted(types))


def record(matrix: Path, folder: Path) -> None:
    """Write one file for each of RECORDED that `matrix` has."""
    cells = load_matrix(matrix).cells(read_lock(matrix.with_suffix(".lock")))
    by_name = {(cell.name, cell.arch): cell for cell in cells}
    for kernel, arch, variant in RECORDED:
        if cell := by_name.get((kernel, arch)):
            name = "-".join(filter(None, ("agent", cell.kernel.version, arch, variant))) + ".jsonl"
            began = time.monotonic()
            result, lines = _answered(cell, variant)
            (folder / name).write_text("\n".join(filter(None, lines)) + "\n")
            if not variant:
                (folder / "census" / f"{cell.kernel.version}-{arch}").write_text(callable_kfuncs(result))
            took = time.monotonic() - began
            print(f"{name}: {result.outcome} {result.cause}, {len(lines)} lines, {took:.1f} s")  # noqa: T201


def _answered(cell: Cell, variant: str) -> tuple[CellResult, list[str]]:
    """What the agent printed, trimmed, in a guest to which `variant` was done."""
    said: list[str] = []
    names = frozenset().union(*(file.kfunc_names for file in claims()))
    deadline = Deadline.after(3600, "the recording's limit")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        shutil.copytree(ROOT / "bpf", root / "bpf")
        if variant == OTHER_PROTOTYPE:
            change_prototype(root)
        expected = replace(expectations(load_kfuncs(ROOT)), root=root)
        (order,) = cell_orders((cell,), expected)
        if variant in _FEW:
            asks = tuple(ask for ask in order.asks if ask.kind == "census" or ask.probe in _FEW_CLAIMS)
            order = order.model_copy(update={"asks": asks})
        packed = payloads((cell,), expected, cache=cache_root(), offline=False, deadline=deadline)
        real = this_machine(offline=False)
        tree = copied_tree(real, cell, root / "tree") if variant == WITHOUT_BTF else None
        if tree:
            strip_btf(next(tree.rglob("nf_conntrack.ko")))
        machine = AlteredMachine(
            real,
            root,
            tree,
            words=_NO_JIT if variant == WITHOUT_JIT else "",
            agent=_HIDE_NAT.__add__ if variant == WITHOUT_NAT else str,
            hear=lambda line: said.append(trimmed(line, names)),
        )
        result = run_cell(order, packed[architecture(cell.arch).byte_order], machine, root, lambda phase, note: None)
    return result, said


if __name__ == "__main__":
    record(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "matrix.yaml", DATA)
