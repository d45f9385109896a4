# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Turns what a command did in a guest into rows: one for each of its tests, and one for itself. Pure.

No answer is the default: a limit that was reached, a guest that was lost, an output without a test say nothing about a
kernel.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from signal import Signals
from typing import Any, Literal, Self, assert_never

from pydantic import Field, ValidationError, model_validator

from runner.model import NO_ANSWER, Answer, CellResult, Plain, Row, Verdict
from runner.probes.commands.results import Parsed, ResultsKind, gotest, junit, libtest, tap
from runner.probes.commands.written import TestExpectation, UserCommand
from runner.probes.kind import CRASHED, nonsense, not_asked
from runner.text import lines, plain

NAME = "commands"
FAILED, SKIPPED, PASSED = "failed", "skipped", "passed"
LIMITS = {"time": "it was not done within its time limit", "silence": "it printed nothing within its silence limit"}
_SHELL = {126: "cannot be executed", 127: "was not found"}  # what a shell says of a command that it cannot start
_TOO_NEW = re.compile(
    r": version [`'](?P<version>[\w.]+)' not found \(required by (?P<program>[^()\n]+)\)"
)  # glibc's ld.so
_MOST_BYTES = 256 << 20  # of what one command printed and left, in all its runs
_LOG_LINES, _LOG_CHARACTERS = 60, 16 << 10


class Ran(Plain):
    """One run of a command, as the agent tells it; see runner/agent/commands.py."""

    status: int | None  # None: it reached the limit `ended`
    ended: Literal["", "time", "silence"]
    duration_s: float
    oom_kills: int = 0
    refused_forks: int = 0
    full: tuple[str, ...] = ()
    not_brought: Mapping[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _ends_once(self) -> Self:
        if (self.status is None) != bool(self.ended):
            raise ValueError("either a status or a limit is how it ended")
        return self


class _Body(Plain):
    """Of an answer. `parts`: `0/output`, `0/files/NAME`."""

    runs: tuple[Ran, ...] = Field(min_length=1)
    parts: Mapping[str, str] = Field(default_factory=dict)
    dropped: tuple[str, ...] = ()  # parts for which the host had no room


@dataclass(frozen=True)
class CommandRun:
    """One run, with what it printed, and the files that it left, by name. `lost`: those of which nothing was kept."""

    ran: Ran
    output: str
    files: Mapping[str, bytes]
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class End:
    """How a test, or the command, ended in one run; `why` it is no answer, or did not pass. The command has `tests`.

    `told`: it came to its end, and its exit status may tell of failed tests alone.
    """

    state: str
    why: str
    tests: Mapping[str, End] = field(default_factory=dict)
    told: bool = False


def runs_of(answer: Answer | None) -> tuple[tuple[CommandRun, ...], str]:
    """Its runs; or none, and why, as far as the agent told it."""
    if answer is None or answer.failed:
        return (), answer.failed if answer else ""
    try:
        body = _Body.model_validate(answer.body)
    except ValidationError as error:
        return (), nonsense(error)
    contents, room = dict[str, bytes | None](), _MOST_BYTES
    for name, packed in body.parts.items():
        contents[name] = content = _unpacked(packed, room)
        room -= len(content or b"")
    contents |= dict.fromkeys(body.dropped)
    return tuple(_run(it, f"{number}/", contents) for number, it in enumerate(body.runs)), ""


def _run(ran: Ran, prefix: str, contents: Mapping[str, bytes | None]) -> CommandRun:
    mine = {name.removeprefix(prefix): it for name, it in contents.items() if name.startswith(prefix)}
    lost = tuple(name.removeprefix("files/") for name, content in mine.items() if content is None)
    output = (mine.pop("output", b"") or b"").decode("utf-8", "replace")
    files = {name.removeprefix("files/"): content for name, content in mine.items() if content is not None}
    return CommandRun(ran, output, files, lost)


def _unpacked(packed: str, room: int) -> bytes | None:
    """None when it cannot be read, or there is no room for all of it."""
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(base64.b64decode(packed), room + 1)  # of 0 there is no limit
    except (ValueError, zlib.error):
        return None
    return content if unpacker.eof and len(content) <= room else None


def rows_of(result: CellResult, mine: UserCommand) -> Iterator[Row]:
    """The command's own row comes last: its tests say more."""
    answer = next((it for it in result.of(NAME) if it.probe == mine.id), None)
    if crash := next((it for it in result.crashes if it.probe == mine.id), None):
        cause = crash.cause or CRASHED
        yield _row(mine, "", NO_ANSWER, Verdict.BROKEN, cause, observed=CRASHED, crashed=True)
        return
    runs, why = runs_of(answer)
    if not runs:
        yield _row(mine, "", NO_ANSWER, Verdict.NO_ANSWER, why or not_asked(result, mine.id))
        return
    seen = [look(run, mine) for run in runs]
    log = _log(next((run for run, it in zip(runs, seen, strict=True) if it.state != PASSED), runs[-1]).output)
    names = dict.fromkeys(name for it in seen for name in it.tests)
    tests = [_judged(result, mine, name, [it.tests.get(name) for it in seen]) for name in names]
    yield from tests
    own = _judged(result, mine, "", seen)
    failed = [it for it in tests if it.state == FAILED]
    as_expected = bool(failed) and all(it.verdict is Verdict.HOLDS for it in failed)
    told = all(it.told for it in seen if it.state == FAILED)
    if own.verdict is Verdict.BROKEN and as_expected and told and not _expectation(result, mine, ""):
        own = replace(own, verdict=Verdict.NOT_APPLICABLE)  # it failed for what was expected, and nothing else
    details = {"runs": len(runs), "files": sorted({name for run in runs for name in run.files})}
    yield replace(own, log=log, details={**own.details, **details})


def look(run: CommandRun, mine: UserCommand) -> End:
    """What one run shows."""
    settings, ran = mine.settings, run.ran
    parsed = parse(settings.results, run.output, ran.status, run.files)
    tests = {it.name: End(it.state, it.why) for it in parsed.tests}
    how = LIMITS.get(ran.ended) or ended_words(ran.status or 0)
    if ran.status != 0 and (trouble := _trouble(ran, run.output)):  # the guest's lack, and no fault of its kernel's
        lacking = {it.name: End(NO_ANSWER, trouble) if it.state == FAILED else tests[it.name] for it in parsed.tests}
        return End(NO_ANSWER, f"{how}; {trouble}: {last_words(run.output)}", lacking)
    if "output" in run.lost:
        return End(NO_ANSWER, f"{how}; what it printed was not kept: too much of all its runs, or damaged")
    if ran.ended:
        return End(FAILED if settings.timeout_is == FAILED else NO_ANSWER, how, tests)
    if ran.status in settings.skip_exit or parsed.skipped:
        return End(SKIPPED, parsed.skipped or f"exit status {ran.status}", tests)
    if ran.status in _SHELL:
        return End(NO_ANSWER, f"{how}: a command {_SHELL[ran.status]}: {last_words(run.output)}", tests)
    if ran.status:
        told = ran.status > 0 and not parsed.incomplete
        return End(FAILED, "; ".join(filter(None, (how, last_words(run.output)))), tests, told)
    if settings.results != "exit" and not tests:
        return End(NO_ANSWER, parsed.incomplete or f"no test was found in its output, read as {settings.results}")
    if parsed.incomplete:
        return End(NO_ANSWER, parsed.incomplete, tests)
    return End(PASSED, "", tests)


def parse(kind: ResultsKind, output: str, exit_status: int | None, files: Mapping[str, bytes]) -> Parsed:
    """The tests of an output; none where it has none. `files` are those that it wrote, by name.

    `exit_status` None: it did not end by itself. Never raises.
    """
    if kind == "exit":
        return Parsed()
    if kind == "gotest":
        return gotest.parse(output, exit_status)
    if kind == "libtest":
        return libtest.parse(output, exit_status)
    if kind == "tap":
        return tap.parse(output)
    if kind == "ktap":
        return tap.parse(output, kernel=True)
    if kind == "junit":
        return junit.parse(output, files)
    assert_never(kind)


def _trouble(ran: Ran, output: str) -> str:
    """What the guest lacked."""
    unmet = _TOO_NEW.search(output)
    lacks = (
        "the kernel killed a process for lack of memory (--memory)" if ran.oom_kills else "",
        "it reached the limit of its processes" if ran.refused_forks else "",
        f"{plain(unmet['program'], 100)} needs a newer C library: {unmet['version']}" if unmet else "",
        f"no room is left on {', '.join(map(plain, ran.full))}" if ran.full else "",
    )
    return "; ".join(filter(None, lacks))


def ended_words(status: int) -> str:
    """`exit status 1`, `killed by SIGSEGV`"""
    return f"exit status {status}" if status >= 0 else f"killed by {_signal(-status)}"


def _signal(number: int) -> str:
    return Signals(number).name if number in set(Signals) else f"signal {number}"


def last_words(output: str) -> str:
    """The last line that says something."""
    return plain(next((line for line in reversed(lines(output[-4096:])) if line.strip()), ""), 200)


def _judged(result: CellResult, mine: UserCommand, name: str, ends: Sequence[End | None]) -> Row:
    """The row of one test, or of the command, from all its runs; a run that did not come to a test says nothing."""
    there = [it for it in ends if it is not None]
    counts = Counter(it.state for it in there)
    number = f"{counts[FAILED]} of {len(there)} runs" if len(ends) > 1 else ""
    answered = counts.keys() - {NO_ANSWER}
    if len(answered) > 1:  # a flake: neither of the kernel nor against it
        words = ", ".join(f"{state} {count} times" for state, count in counts.items())
        return _row(mine, name, NO_ANSWER, Verdict.NO_ANSWER, f"flaky: {words}", details={"flaky": dict(counts)})
    if counts[NO_ANSWER] and not counts[FAILED]:  # what some runs did not tell, the others do not make good
        why = next(it.why for it in there if it.state == NO_ANSWER)
        some = f"{counts[NO_ANSWER]} of {len(there)} runs: " if len(ends) > 1 else ""
        return _row(mine, name, NO_ANSWER, Verdict.NO_ANSWER, f"{some}{why}")
    end = next(it for it in there if it.state != NO_ANSWER)
    state, why = end.state, "; ".join(filter(None, (end.why, number if end.state == FAILED else "")))
    expectation = _expectation(result, mine, name)
    expected = expectation.answer if expectation else PASSED
    if state == expected:
        because = f" (expected: {expectation.why})" if expectation else ""
        return _row(mine, name, state, Verdict.HOLDS, f"{why}{because}".strip(), expected=expected)
    if state == SKIPPED:
        return _row(mine, name, state, Verdict.NOT_APPLICABLE, why or "it was skipped", expected=expected)
    cause = f"it {state}, though expected to be {expected}: {expectation.why}" if expectation else why
    return _row(mine, name, state, Verdict.BROKEN, cause or FAILED, expected=expected)


def _expectation(result: CellResult, mine: UserCommand, name: str) -> TestExpectation | None:
    return mine.expected(name, result.cell.kernel.judged_as)


def _row(mine: UserCommand, name: str, state: str, verdict: Verdict, cause: str, **more: object) -> Row:
    subject = f"{mine.id}/{name}" if name else mine.id
    given: dict[str, Any] = {"expected": PASSED, "observed": state, "answer": state, "cause": plain(cause), **more}
    return Row(kind=NAME, probe=subject, subject=subject, state=state, verdict=verdict, **given)


@lru_cache(maxsize=256)
def _log(output: str) -> str:
    """The end of what was printed."""
    return "\n".join(lines(output[-_LOG_CHARACTERS:])[-_LOG_LINES:]).strip("\n")
