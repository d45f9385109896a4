# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`python -m tests.fuzz [--minutes N] [PARSER ...]`: mutates the corpus, and keeps what reaches another line.

Exit status 1 when a parser raised what it should not, or took 10 s of processor time. The input is in the corpus then,
where `make test` meets it again.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from types import CodeType, FrameType
from typing import Any

from tests.fuzz.corpus import keep, kept
from tests.fuzz.parsers import PARSERS, Parser
from tests.samples import ROOT

_OWN = str(ROOT / "runner") + os.sep
_LIMIT_S = 10
_MEMORY = 4 << 30  # bytes of address space
_LONGEST = 1 << 16  # bytes of an input
_KEPT_LONGEST = 6000  # of one in the corpus
_BYTES = (0, 1, 0x7F, 0x80, 0xFF, *b' \n\t"\\{}[]<>&:=-#0')

Arc = tuple[CodeType, int, int]


class HangError(BaseException):
    """A parser took too long; no parser can catch it as an Exception."""


class Reached:
    """The steps between lines of this program that one call makes."""

    def __init__(self) -> None:
        self.arcs: set[Arc] = set()
        self._last: dict[FrameType, int] = {}

    def call(self, frame: FrameType, _event: str, _argument: object) -> Any:
        return self.line if frame.f_code.co_filename.startswith(_OWN) else None

    def line(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            self.arcs.add((frame.f_code, self._last.get(frame, 0), frame.f_lineno))
            self._last[frame] = frame.f_lineno
        elif event == "return":
            self._last.pop(frame, None)
        return self.line


def tried(parser: Parser, content: bytes) -> set[Arc]:
    """What a call reaches. Raises what the parser should not raise, and HangError."""
    reached = Reached()
    signal.setitimer(signal.ITIMER_VIRTUAL, _LIMIT_S)
    sys.settrace(reached.call)
    try:
        parser.run(content)
    except parser.refuses:
        pass
    finally:
        sys.settrace(None)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return reached.arcs


def mutated(chance: random.Random, corpus: list[bytes], words: tuple[bytes, ...]) -> bytes:
    """An input with one to six changes."""
    content = bytearray(chance.choice(corpus))
    for _ in range(chance.randint(1, 6)):
        at = chance.randint(0, len(content))
        to = min(len(content), at + int(chance.expovariate(1 / 8)) + 1)
        match chance.randrange(8):
            case 0 if content:
                content[at % len(content)] ^= 1 << chance.randrange(8)
            case 1 if content:
                content[at % len(content)] = chance.choice(_BYTES)
            case 2:
                del content[at:to]
            case 3:
                content[at:at] = content[at:to] * chance.choice((1, 2, 50))
            case 4:
                other = chance.choice(corpus)
                begin = chance.randint(0, len(other))
                content[at:to] = other[begin : begin + chance.choice((4, 16, 200))]
            case 5 if words:
                content[at:at] = chance.choice(words)
            case 6:
                number = chance.choice((0, 1, 255, 1 << 15, (1 << 31) - 1, (1 << 32) - 1))
                content[at : at + 4] = number.to_bytes(4, chance.choice(("little", "big")))
            case _:
                content[at:at] = chance.randbytes(chance.randint(1, 4))
    return bytes(content[:_LONGEST])


def fuzz(name: str, seconds: float) -> int:
    """Returns the exit status."""
    parser, chance = PARSERS[name], random.Random()  # noqa: S311
    known: dict[bytes, set[Arc]] = {}
    everything: set[Arc] = set()
    corpus = [*dict.fromkeys((*kept(name), *parser.seeds(), b""))]
    before, number, end_s = len(kept(name)), 0, time.monotonic() + seconds
    content = b""
    try:
        for content in corpus:
            known[content] = tried(parser, content)
            everything |= known[content]
        while time.monotonic() < end_s:
            content = mutated(chance, corpus, parser.words)
            arcs, number = tried(parser, content), number + 1
            if arcs - everything:
                everything |= arcs
                known[content] = arcs
                corpus.append(content)
    except (Exception, HangError) as fault:
        traceback.print_exception(fault, limit=-12)
        print(f"{name}: {type(fault).__name__} after {number} inputs: {content[:300]!r}", flush=True)  # noqa: T201
        keep(name, [*kept(name), content])
        return 1
    chosen = least(known)
    keep(name, chosen)
    print(  # noqa: T201
        f"{name}: {number} inputs in {seconds:.0f} s, {len(everything)} steps reached; "
        f"{len(chosen)} inputs kept, {before} before",
        flush=True,
    )
    return 0


def least(known: dict[bytes, set[Arc]]) -> list[bytes]:
    """Short inputs that reach together what all short ones reach."""
    chosen: list[bytes] = []
    reached: set[Arc] = set()
    for content in sorted(known, key=len):
        if len(content) <= _KEPT_LONGEST and known[content] - reached:
            reached |= known[content]
            chosen.append(content)
    return chosen


def _hangs(*_: object) -> None:
    raise HangError(f"longer than {_LIMIT_S} s")


def _each(names: list[str], minutes: float) -> int:
    """Every parser in a process of its own, as many at a time as there are cores."""

    def one(name: str) -> int:
        return subprocess.run(
            [sys.executable, "-m", "tests.fuzz", "--minutes", str(minutes), name], check=False
        ).returncode

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return max(pool.map(one, names))


def main() -> int:
    words = argparse.ArgumentParser(prog="tests.fuzz", description=f"The parsers: {', '.join(PARSERS)}")
    words.add_argument("--minutes", type=float, default=10, help="for each parser")
    words.add_argument("parsers", nargs="*", metavar="PARSER", choices=[*PARSERS, []], help="default: all")
    given = words.parse_args()
    names = given.parsers or list(PARSERS)
    if len(names) > 1:
        return _each(names, given.minutes)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.signal(signal.SIGVTALRM, _hangs)
    logging.disable()  # of what parsers say of such inputs
    return fuzz(names[0], 60 * given.minutes)


if __name__ == "__main__":
    sys.exit(main())
