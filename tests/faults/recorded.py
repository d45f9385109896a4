# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a real 6.12.117 said on x86_64, replayed: fakes give true answers, so that a wrong one shows.

Python's own library alone: fakevng.py must start fast.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

_SAID = Path(__file__).parents[1] / "data" / "agent-6.12.117-x86_64.jsonl"
FAULTY = "alloc-udp:tc"  # the probe in which the fakes misbehave


@cache
def _said() -> tuple[str, dict[str, list[str]]]:
    """The greeting, and the lines about each probe."""
    hello, probes = "", defaultdict(list)
    for line in _SAID.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "hello":
            hello = line
        elif event["event"] == "answer":
            probes[event["probe"]].append(line)
    return hello, probes


def hello() -> str:
    return _said()[0]


def answers(probe: str) -> Iterator[str]:
    """The lines of one probe, its announcement first."""
    yield json.dumps({"event": "begin", "probe": probe})
    yield from _said()[1][probe]


def end(probes: Iterable[str]) -> str:
    return json.dumps({"event": "end", "asked": len(list(probes))})
