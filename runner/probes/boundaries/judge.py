# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Turns what a guest did with calls at the edge into rows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pydantic import Field, ValidationError

from runner.model import NO_ANSWER, Answer, CellResult, Plain, Row, Splat, State, Verdict
from runner.model.errnos import ERRNO, errno_words
from runner.probes.kind import CRASHED, nonsense
from runner.probes.verifier import permission, platform_trouble, verdict_line

NAME = "boundaries"
DIED, SPLAT, WROTE, GREW = "the kernel died", "the kernel complained", "wrote behind", "keeps memory"
FINDINGS = (DIED, SPLAT, WROTE, GREW)
UNDERIVED, UNREACHED, REFUSED, SURVIVED = "not derived", "not reached", "refused", "survived"
_EXPECTED = "the kernel lives, writes only to what it was given, and keeps nothing"


class _Sweep(Plain):
    """What the verifier said of the calls of one kfunc; see runner/agent/boundaries.py."""

    right: bool
    why: str = ""
    calls: Mapping[str, tuple[int, str]] = Field(default_factory=dict)


class _Once(Plain):
    """One run: what the call returned (None: it was not reached), and where memory behind that it was given changed."""

    ret: int | None
    wrote: tuple[tuple[str, int], ...]


class _Run(Plain):
    """A call that was accepted, by how the memory that it is given was filled."""

    runs: Mapping[str, _Once]
    grew: Mapping[str, int]
    killed: int = 0  # the signal that ended the process whose program made the call


def rows_of(result: CellResult) -> Iterator[Row]:
    """Of every kfunc that was asked about, and of a call that was asked about alone."""
    answers = [it for it in result.answers if it.kind == NAME and it.item]
    runs = {(it.probe, it.item): it for it in answers if " " in it.item}
    told = set()
    for answer in answers:
        if " " not in answer.item:
            told.add((answer.probe, answer.item))
            yield from _of_kfunc(result, answer, runs)
    crashed = (place for it in result.crashes if (place := _place(it.probe)))
    for probe, item in dict.fromkeys((*runs, *crashed)):
        if (probe, item.partition(" ")[0]) not in told:
            yield _of_run(result, probe, item, runs.get((probe, item)))


def _place(words: str) -> tuple[str, str] | None:
    """Probe and item of `boundaries:tc:ITEM`; None: of another kind."""
    kind, _, rest = words.partition(":")
    prog_type, _, item = rest.partition(":")
    return (f"{kind}:{prog_type}", item) if kind == NAME and item else None


def said_of(result: CellResult) -> Iterator[tuple[str, str, str]]:
    """What another boot must answer too: the state of each call."""
    for row in rows_of(result):
        yield row.probe.partition("/")[0], row.subject, row.state


def _of_kfunc(result: CellResult, answer: Answer, runs: Mapping[tuple[str, str], Answer]) -> Iterator[Row]:
    try:
        sweep = _Sweep.model_validate(answer.body) if not answer.failed else None
    except ValidationError as error:
        yield _row(answer.probe, answer.item, NO_ANSWER, nonsense(error))
        return
    if sweep is None:
        yield _row(answer.probe, answer.item, NO_ANSWER, answer.failed)
        return
    if not sweep.right:
        if permission(ERRNO["EINVAL"], sweep.why).state is State.NOT_ALLOWED:
            return  # the census says that
        yield _row(answer.probe, answer.item, UNDERIVED, verdict_line(sweep.why) or sweep.why)
        return
    for label, (errno, log) in sweep.calls.items():
        subject = f"{answer.item} {label}"
        if errno == 0:
            row = _of_run(result, answer.probe, subject, runs.get((answer.probe, subject)))
            yield replace(row, details={"call": log, **row.details})
        elif errno < 0:
            yield _row(answer.probe, subject, UNDERIVED, log)
        elif trouble := platform_trouble(errno, log):
            yield _row(answer.probe, subject, NO_ANSWER, trouble)
        else:
            yield _row(answer.probe, subject, REFUSED, verdict_line(log) or errno_words(errno, ""))


def _of_run(result: CellResult, probe: str, subject: str, answer: Answer | None) -> Row:
    place = f"{probe}:{subject}"
    if crash := next((it for it in result.crashes if it.probe == place), None):
        return _finding(probe, subject, DIED, crash.cause or CRASHED, crashed=True)
    if splat := _splat(result, place):
        return _finding(probe, subject, SPLAT, splat.title)
    if answer is None or answer.failed:
        return _row(probe, subject, NO_ANSWER, answer.failed if answer else result.cause or "it was not run")
    try:
        run = _Run.model_validate(answer.body)
    except ValidationError as error:
        return _row(probe, subject, NO_ANSWER, nonsense(error))
    returned = ", ".join(f"{name}: {_returned(once.ret)}" for name, once in run.runs.items())
    details = {"returned": returned or f"its process was ended by signal {run.killed}"}
    wrote = {(what, at) for once in run.runs.values() for what, at in once.wrote}
    if wrote:
        what, first = min(wrote, key=lambda it: it[1])
        cause = f"{len(wrote)} bytes from {first} behind what it was given as {what}"
        return _finding(probe, subject, WROTE, cause, details=details)
    if run.grew:
        name, by = max(run.grew.items(), key=lambda it: it[1])
        return _finding(probe, subject, GREW, f"{by} objects of {name} more after 256 calls", details=details)
    if run.runs and all(once.ret is None for once in run.runs.values()):
        return _row(probe, subject, UNREACHED, "nothing gave it the object that it needs", details)
    return replace(_row(probe, subject, SURVIVED, "", details), answer=details["returned"])


def _splat(result: CellResult, place: str) -> Splat | None:
    return next((it for it in result.splats if it.probe == place and it.blames_kernel), None)


def _returned(value: int | None) -> str:
    if value is None:
        return "not reached"
    return "an address" if abs(value) > 1 << 32 else str(value if value < 1 << 31 else value - (1 << 32))


def _row(probe: str, subject: str, state: str, cause: str, details: Mapping[str, object] | None = None) -> Row:
    """`probe/subject` is what `cell show` and `cell repro` take."""
    prog_type = probe.partition(":")[2]
    return Row(
        kind=NAME, probe=f"{probe}/{subject}", subject=subject, type=prog_type, state=state, cause=cause,
        details=details or {},
    )  # fmt: skip


def _finding(
    probe: str,
    subject: str,
    state: str,
    cause: str,
    *,
    crashed: bool = False,
    details: Mapping[str, object] | None = None,
) -> Row:
    row = _row(probe, subject, state, cause, details)
    return replace(row, verdict=Verdict.BROKEN, expected=_EXPECTED, observed=cause, crashed=crashed)
