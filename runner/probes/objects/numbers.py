"""What the verifier and the kernel counted while a program was loaded, and veristat's line about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import JsonValue

# kernel/bpf/verifier.c, print_verification_stats: the last lines of a log of level 4
_COUNTED = re.compile(
    r"^processed (?P<insns>\d+) insns \(limit \d+\) max_states_per_insn (?P<max_states_per_insn>\d+) "
    r"total_states (?P<states>\d+) peak_states (?P<peak_states>\d+)(?: mark_read (?P<mark_read>\d+))?",
    re.MULTILINE,
)
# Of each function; 7.3 has a line for each, and calls the deepest chain of calls "stack depth max".
_STACKS = re.compile(r"^stack depth ([0-9+]+)", re.MULTILINE)
_STACK = re.compile(r"^subprog \d+ .* stack (\d+)$", re.MULTILINE)
_SIZES = ("prog_insns", "prog_bytes", "jited_bytes")  # what no log says

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


def numbers(body: Mapping[str, JsonValue]) -> dict[str, int]:
    """The numbers by name; none for a map. `stack_depth_bytes` is the sum over the functions, as in veristat."""
    log = str(body.get("log", ""))
    seen = _COUNTED.search(log)
    found = {name: int(value) for name, value in seen.groupdict("0").items()} if seen else {}
    stacks = _STACKS.search(log)
    if depths := stacks[1].split("+") if stacks else _STACK.findall(log):
        found["stack_depth_bytes"] = sum(int(depth) for depth in depths if depth)
    return found | {name: size for name in _SIZES if isinstance(size := body.get(name), int)}


def veristat_line(file: str, program: str, body: Mapping[str, JsonValue]) -> dict[str, str | int]:
    """A line of the table that `veristat -C` and `-R` read, by its column. What was not counted is 0, memory -1."""
    counted, duration, memory = numbers(body), body.get("duration_us"), body.get("peak_mem_mib")
    return {
        "file_name": file,
        "prog_name": program,
        "verdict": "failure" if body.get("errno") else "success",
        "duration": duration if isinstance(duration, int) else 0,
        **{column: counted.get(name, 0) for column, name in _COLUMNS.items()},
        "prog_type": str(body.get("type") or "unspec"),
        "attach_type": str(body.get("attach_type") or "N/A"),
        "stack_depth": counted.get("stack_depth_bytes", 0),
        "mem_peak": memory if isinstance(memory, int) else -1,
    }
