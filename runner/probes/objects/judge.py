# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Turns what a kernel answered about an object into rows. Pure.

No answer is the default: only libbpf's and the kernel's own words make anything else of it.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import JsonValue

from runner.model import NO_ANSWER, Answer, CellResult, Row, Verdict
from runner.probes.kind import CRASHED, built_without, not_asked, unready
from runner.probes.objects.causes import Cause, cause_of, not_attached, trouble
from runner.probes.objects.written import MAP, TOGETHER, ObjectExpectation, UserObject
from runner.probes.verifier import numbers

NAME = "objects"
LOADS, REFUSED = "loads", "refused"
_TYPES = {"sched_cls": "tc"}  # libbpf's words, where the program types have other ones here
_LARGEST_LOG = 17 << 20  # what the guest has for one, and the reason below it


def rows_of(result: CellResult, mine: UserObject) -> Iterator[Row]:
    """A row for each program and map, and one for the object as a whole."""
    answers = [answer for answer in result.of(NAME) if answer.probe == mine.id]
    items = {answer.item: answer for answer in answers if answer.item}
    whole = next((answer for answer in answers if not answer.item), None)
    ended = whole is not None and not whole.failed  # then it is known which programs this file has
    crashed = (crash.probe.partition(":") for crash in result.crashes)
    names = dict.fromkeys(
        (*items, *(() if ended else (*mine.names, TOGETHER)), *(item for probe, _, item in crashed if probe == mine.id))
    )
    names.pop("", None)
    types = whole.body.get("programs") if ended and whole else None
    known = types if isinstance(types, dict) else {}
    for name in sorted(names, key=lambda it: (it == TOGETHER, it.startswith(MAP))):
        yield _Question(result, mine, name, items, str(known.get(name, ""))).row(items.get(name), whole)


@dataclass(frozen=True)
class _Question:
    """One program, map (`map:NAME`) or the whole object of a cell."""

    result: CellResult
    mine: UserObject
    name: str
    others: Mapping[str, Answer]  # of the same object, by name
    type_known: str = ""  # in libbpf's words, whatever became of the question

    @property
    def what(self) -> str:
        return "together" if self.name == TOGETHER else "map" if self.name.startswith(MAP) else "program"

    @property
    def expectation(self) -> ObjectExpectation | None:
        return self.mine.expected(self.name, self.result.cell.kernel.judged_as)

    def row(self, seen: Answer | None, whole: Answer | None) -> Row:
        """`whole` is the answer of the object's probe, which ends those of its items."""
        if crash := self._crash(seen):
            return self._row(seen, state=REFUSED, verdict=Verdict.BROKEN, cause=crash, observed=CRASHED, crashed=True)
        errno = seen.body.get("errno") if seen else None
        if seen is None or seen.failed or not isinstance(errno, int):
            why = (seen and seen.failed) or (whole and whole.failed) or not_asked(self.result, self.mine.id)
            return self._row(seen, state=NO_ANSWER, verdict=Verdict.NO_ANSWER, cause=why)
        if (cause := refusal(seen)) is None:
            return self._loads(seen)
        if cause.word == "attach":
            return self._refused(seen, cause)
        if self.what == "together":
            cause = self._of_a_part(cause, _text(seen.body, "culprit"))
        if why := trouble(errno, _text(seen.body, "words"), _text(seen.body, "log")) or self._unready(cause, seen.body):
            return self._row(seen, state=NO_ANSWER, verdict=Verdict.NO_ANSWER, cause=why)
        return self._rivalled(self._refused(seen, cause))

    def _rivalled(self, row: Row) -> Row:
        """The row of a refused program; where another one counts in its place, nothing is expected of it."""
        others = {name: self.others.get(name) for name in self.mine.rivals(self.name)}
        errnos = {name: None if it is None or it.failed else it.body.get("errno") for name, it in others.items()}
        if row.verdict is not Verdict.BROKEN or not errnos:
            return row
        if loaded := next((name for name, errno in errnos.items() if errno == 0), ""):
            return replace(row, verdict=Verdict.NOT_APPLICABLE, cause=f"{row.cause} ({loaded} loads in its place)")
        if unknown := next((name for name, errno in errnos.items() if errno is None), ""):
            cause = f"{row.cause}; whether {unknown} loads in its place is not known"
            return replace(row, state=NO_ANSWER, verdict=Verdict.NO_ANSWER, cause=cause)
        return row

    def _of_a_part(self, cause: Cause, culprit: str) -> Cause:
        """As the part says it that was asked again for its words: the culprit, or one that lacks the same."""
        refused = {
            name: _cause(errno, other.body, is_map=False)
            for name, other in self.others.items()
            if name != TOGETHER and isinstance(errno := other.body.get("errno"), int) and errno
        }
        same = (it for it in refused.values() if it.name and (it.word, it.name) == (cause.word, cause.name))
        return refused.get(culprit) or next(same, cause)

    def _row(self, seen: Answer | None, **fields: Any) -> Row:
        body = seen.body if seen else {}
        errno = body.get("errno")
        return Row(
            kind=NAME,
            probe=f"{self.mine.id}/{self.name}",
            subject=f"{self.mine.id}/{self.name}",
            type=self._type(body),
            expected=str(self.expectation.answer) if self.expectation else LOADS,
            errno=errno if isinstance(errno, int) else None,
            log=_log(body) if errno else "",
            details={
                "what": self.what, "file": self.mine.file_name,
                "sha256": self.mine.digests.get(self.result.cell.arch, ""), "up_to": self.mine.settings.up_to,
                "libbpf": _text(body, "words")[-1000:],
                "modules": ", ".join(it for it in self.mine.modules if self.result.facts.modules.get(it) == ""),
                "numbers": numbers(body) if self.what == "program" else {}, **fields.pop("details", {}),
            },
            **fields,
        )  # fmt: skip

    def _type(self, body: Mapping[str, JsonValue]) -> str:
        word = _text(body, "type") or self.type_known
        return _TYPES.get(word, word) if self.what == "program" else ""

    def _crash(self, seen: Answer | None) -> str:
        """Why asking took the guest down; empty if it did not."""
        probes = {f"{self.mine.id}:{self.name}"} | ({self.mine.id} if seen is None else set())
        return next((crash.cause or CRASHED for crash in self.result.crashes if crash.probe in probes), "")

    def _loads(self, seen: Answer) -> Row:
        measured = numbers(seen.body)
        over = self._over(measured, seen.body.get("earlier")) if self.what == "program" else ""
        expectation = self.expectation
        held = not (over or expectation)
        cause = over or (f"it loads, though it was expected not to: {expectation.why}" if expectation else "")
        return self._row(
            seen,
            state=LOADS,
            verdict=Verdict.HOLDS if held else Verdict.BROKEN,
            cause=cause,
            observed=over or LOADS,
            details=self._attached(seen.body),
        )

    def _attached(self, body: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Whether a program was attached that should have been; only its own loader may know to what."""
        attached = body.get("attach")
        if self.what != "program" or not isinstance(attached, dict):
            return {}
        return {"attached": "yes" if attached else "no"}

    def _over(self, measured: Mapping[str, int], earlier: JsonValue) -> str:
        """The first limit that a program exceeds; empty when there is none. `earlier`: the last answer's insns."""
        limits = self.mine.settings.limits
        for name in ("insns", "states", "prog_bytes"):
            limit = getattr(limits, name)
            if limit is not None and measured.get(name, 0) > limit:
                return f"{name} {measured[name]}, and the limit is {limit}"
        if limits.growth and isinstance(earlier, int) and earlier > 0:
            grown = measured.get("insns", 0) / earlier - 1
            if grown > int(limits.growth.rstrip("%")) / 100:
                what = f"insns {measured['insns']}, {grown:.0%} more than the {earlier} of the last answer"
                return f"{what}, and the limit is {limits.growth}"
        return ""

    def _refused(self, seen: Answer, cause: Cause) -> Row:
        expectation = self.expectation
        verdict = Verdict.HOLDS if expectation and expectation.answer.fits(cause) else Verdict.BROKEN
        if self.result.cell.kernel.judged_as is None and self.mine.expects_by_version(self.name):
            verdict = Verdict.NOT_APPLICABLE
        if self.what == "together" and not expectation and self._part_is_expected_to_fail():
            verdict = Verdict.NOT_APPLICABLE
        return self._row(
            seen,
            state=REFUSED,
            verdict=verdict,
            cause=f"{cause} (expected: {expectation.why})" if expectation and verdict is Verdict.HOLDS else str(cause),
            observed=str(cause),
            answer=f"{cause.word} {cause.name}".strip(),
            details={"cause": cause.word, "name": cause.name},
        )

    def _part_is_expected_to_fail(self) -> bool:
        version = self.result.cell.kernel.judged_as
        return any(self.mine.expected(name, version) for name in self.mine.names)

    def _unready(self, cause: Cause, body: Mapping[str, JsonValue]) -> str:
        """What the guest lacked, so that a missing kfunc or map proves nothing; empty when it lacked nothing."""
        errno = body.get("map_errno") if cause.word == "map" else None
        if isinstance(errno, int) and (why := trouble(errno, "", "")):
            return f"map {cause.name}: {why}"
        homes = self.mine.homes.get(cause.name, {}).items() if cause.word == "extern" else ()
        unsure = (unready(self.result, *home) for home in homes if not built_without(self.result, *home))
        return next(filter(None, unsure), "")


def _cause(errno: int, body: Mapping[str, JsonValue], *, is_map: bool) -> Cause:
    supported = body.get("supported")
    known = supported if isinstance(supported, bool) else None
    cause = cause_of(errno, _text(body, "words"), _text(body, "log"), supported=known, is_map=is_map)
    if cause.word == "type" and body.get("bound"):
        return replace(cause, words="the kernel does not bind such a program to a device")
    if holder := _text(body, "held_by"):
        return replace(cause, words=f"{cause.name} is in {holder} with another prototype than the program's")
    return cause


def told_by(answer: Answer) -> str:
    """What another boot must answer too: neither addresses nor numbers of the verifier."""
    if answer.failed or not answer.item:
        return answer.failed or json.dumps(answer.body, sort_keys=True)
    if cause := refusal(answer):
        return f"{REFUSED}: {cause}"
    return LOADS if answer.body.get("errno") == 0 else "no answer"


def refusal(answer: Answer) -> Cause | None:
    """Why the program, map or object was refused, by its own answer; None: it was not, or there is no answer."""
    errno, attached = answer.body.get("errno"), answer.body.get("attach")
    if isinstance(attached, dict) and isinstance(number := attached.get("errno"), int) and number:
        return not_attached(number, _text(attached, "words"))
    if answer.failed or not isinstance(errno, int) or not errno:
        return None
    return _cause(errno, answer.body, is_map=answer.item.startswith(MAP))


def _log(body: Mapping[str, JsonValue]) -> str:
    """The verifier's, whole where it was asked for."""
    try:
        packed = base64.b64decode(_text(body, "whole_log"))
        whole = zlib.decompressobj().decompress(packed, _LARGEST_LOG) if packed else b""
    except (ValueError, zlib.error):
        whole = b""
    return whole.decode("utf-8", "replace") or _text(body, "log")


def _text(body: Mapping[str, JsonValue], key: str) -> str:
    return str(body.get(key, ""))
