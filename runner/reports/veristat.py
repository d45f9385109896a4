# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What `veristat -C` and `-R` read: a CSV of the programs that were given to the verifier, from their exported form."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from runner.model import NO_ANSWER
from runner.probes.kinds import KINDS
from runner.results.model import JudgedCell

# The columns of veristat 0.5's CSV, in its order, and the number that each shows.
_COLUMNS = {
    "total_insns": "insns",
    "total_states": "states",
    "peak_states": "peak_states",
    "max_states_per_insn": "max_states_per_insn",
    "max_mark_read_len": "mark_read",
    "prog_size": "prog_insns",
    "prog_size_jited": "jited_bytes",
}


def veristat_csv(cell: JudgedCell) -> str:
    """As veristat prints it: by file and program. Empty when no program was given to the verifier."""
    lines = [_line(program) for program in _programs(cell)]
    if not lines:
        return ""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, lines[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(lines, key=lambda line: (line["file_name"], line["prog_name"])))
    return out.getvalue()


def _programs(cell: JudgedCell) -> Iterator[Mapping[str, Any]]:
    """The entries of an export, of any kind, that are of programs with an answer."""
    for name, kind in KINDS.items():
        for entry in kind.exported(cell.result, [row for row in cell.rows if row.kind == name]):
            if entry.get("what") == "program" and entry.get("answer") not in (None, NO_ANSWER):
                yield entry


def _line(entry: Mapping[str, Any]) -> dict[str, Any]:
    """By veristat's columns. What was not counted is 0, memory -1."""
    numbers, raw = entry["numbers"], entry["raw"]
    return {
        "file_name": entry["file"],
        "prog_name": entry["name"],
        "verdict": "failure" if entry["errno"] else "success",
        "duration": raw.get("duration_us", 0),
        **{column: numbers.get(name, 0) for column, name in _COLUMNS.items()},
        "prog_type": raw.get("type") or "unspec",
        "attach_type": raw.get("attach_type") or "N/A",
        "stack_depth": numbers.get("stack_depth_bytes", 0),
        "mem_peak": numbers.get("peak_mem_mib", -1),
    }
