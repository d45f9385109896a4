# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the verifier and the kernel counted while a program was loaded. Pure."""

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
COUNTS = (*_COUNTED.groupindex, "stack_depth_bytes", *_SIZES)


def numbers(body: Mapping[str, JsonValue]) -> dict[str, int]:
    """The numbers by name; none for a map. `stack_depth_bytes` is the sum over the functions, as in veristat."""
    log = str(body.get("log", ""))
    seen = _COUNTED.search(log)
    found = {name: int(value) for name, value in seen.groupdict("0").items()} if seen else {}
    stacks = _STACKS.search(log)
    if depths := stacks[1].split("+") if stacks else _STACK.findall(log):
        found["stack_depth_bytes"] = sum(int(depth) for depth in depths if depth)
    return found | {name: size for name in _SIZES if isinstance(size := body.get(name), int)}
