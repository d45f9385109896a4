# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the agent in the guest said, line by line. The lines are hostile until parsed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import ValidationError

from runner.model import Answer, Ask, Facts, Trace

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_MAX_NOISE = 20
_MAX_PARTS = 64 << 20  # characters
_MAX_DROPPED = 1000


class ProbeItem(NamedTuple):
    """A probe, or one item of it."""

    probe: str
    item: str = ""

    def __str__(self) -> str:
        return f"{self.probe}:{self.item}" if self.item else self.probe


@dataclass(slots=True)
class Transcript:
    """Collects the answers to `asks`. A line that is no event, or answers what was not asked, is noise."""

    asks: tuple[Ask, ...]
    facts: Facts = field(default_factory=Facts)
    answers: dict[ProbeItem, Answer] = field(default_factory=dict)
    traces: dict[str, Trace] = field(default_factory=dict)
    in_flight: ProbeItem | None = None
    careful: set[str] = field(default_factory=set)  # probes with items in which a guest was lost
    ended: bool = False
    noise: list[str] = field(default_factory=list)
    guest_s: float = 0.0  # from the first line to the last one, by the guest's clock
    _parts: dict[str, list[str]] = field(default_factory=dict)  # of the next answer, by name
    _parts_size: int = 0  # characters that were sent of them
    _dropped: dict[str, None] = field(default_factory=dict)  # the names of those for which there was no room
    _closed: set[ProbeItem] = field(default_factory=set)  # items that are not asked any more
    _by_probe: dict[str, Ask] = field(init=False)

    def __post_init__(self) -> None:
        self._by_probe = {ask.probe: ask for ask in self.asks}

    def feed(self, line: str) -> None:
        """Take one line of the agent's output."""
        try:
            event = _parsed(line)
            kind = event.pop("event")
            self._take(kind, event)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ValidationError):
            if len(self.noise) < _MAX_NOISE:
                self.noise.append(line[:500])

    def _take(self, kind: str, event: dict[str, object]) -> None:
        match kind:
            case "hello":
                self.facts = Facts.model_validate(event["facts"])
                self.guest_s = -_clock(event)
            case "begin":
                self.in_flight = ProbeItem(self.ask(str(event["probe"])).probe, str(event.get("item", "")))
                self._parts, self._parts_size, self._dropped = {}, 0, {}
            case "answer":
                ask = self.ask(str(event["probe"]))
                answer = Answer.model_validate({**event, "kind": ask.kind})
                if self._parts or self._dropped:
                    parts = {name: "".join(data) for name, data in self._parts.items() if name not in self._dropped}
                    more = {"parts": parts, **({"dropped": list(self._dropped)} if self._dropped else {})}
                    answer = answer.model_copy(update={"body": {**answer.body, **more}})
                self._parts, self._parts_size, self._dropped = {}, 0, {}
                self.answers[ProbeItem(ask.probe, answer.item)] = answer
                self.in_flight = ProbeItem(ask.probe) if answer.item else None
            case "trace":
                trace = Trace.model_validate(event)
                self.traces[self.ask(trace.probe).probe] = trace
                self.in_flight = None
            case "part":
                self._take_part(str(event["name"]), str(event["data"]))
            case "alive":
                pass  # what is asked takes its time
            case "end":
                self.ended = True
                self.guest_s += _clock(event)
            case _:
                raise ValueError(kind)

    def _take_part(self, name: str, data: str) -> None:
        """Of one that does not fit, nothing is kept but its name."""
        self._parts_size += len(name) + len(data)
        if self._parts_size <= _MAX_PARTS:
            self._parts.setdefault(name, []).append(data)
        elif len(self._dropped) < _MAX_DROPPED:
            self._dropped[name[:500]] = None

    def ask(self, probe: str) -> Ask:
        """Raises KeyError when `probe` was not asked."""
        return self._by_probe[probe]

    def begins(self, name: str) -> None:
        """The console named this last. Its own lines, and those before it, may be lost with the guest."""
        place = self.place(name)
        if place and place not in self.answers:
            self.in_flight = place

    def place(self, name: str) -> ProbeItem | None:
        """What a name on the console means; None when nothing of the kind was asked."""
        for ask in self.asks:
            if name == ask.probe:
                return ProbeItem(name)
            if ask.items and name.startswith(f"{ask.probe}:"):
                return ProbeItem(ask.probe, name.removeprefix(f"{ask.probe}:"))
        return None

    def unanswered(self, asks: Iterable[Ask]) -> tuple[Ask, ...]:
        """Those of `asks` that have no answer yet; of one with items, what is left of it."""
        return tuple(self._rest(ask) for ask in asks if ProbeItem(ask.probe) not in self.answers)

    def _rest(self, ask: Ask) -> Ask:
        if not ask.careful and ask.probe not in self.careful:
            return ask
        skip = {place.item for place in (*self.answers, *self._closed) if place.probe == ask.probe}
        return ask.model_copy(update={"careful": True, "skip": tuple(sorted(skip))})

    def ask_carefully(self, place: ProbeItem) -> bool:
        """The guest was lost at `place`. If that is a probe with items that named none, ask its rest carefully."""
        if place.item or place.probe in self.careful or not self.ask(place.probe).items:
            return False
        self.careful.add(place.probe)
        return True

    def give_up(self, place: ProbeItem, why: str) -> None:
        """It gets no answer, or the one that it has does not count."""
        kind = self.ask(place.probe).kind
        self.answers[place] = Answer(kind=kind, probe=place.probe, item=place.item, failed=why)

    def distrust(self, asks: Iterable[Ask], why: str) -> None:
        """What was answered to `asks` does not count."""
        asked = {ask.probe for ask in asks}
        for place in [place for place in self.answers if place.probe in asked]:
            self.give_up(place, why)

    def close(self, place: ProbeItem) -> None:
        """It is not asked any more, and has no answer: it took the kernel down."""
        self.answers.pop(place, None)
        self._closed.add(place)


def _parsed(line: str) -> Any:
    """JSON; half a surrogate pair is no text, as Python makes of a file's name that is not UTF-8: a question mark."""
    event = json.loads(line)
    if _SURROGATE.search(line):
        event = json.loads(json.dumps(event, ensure_ascii=False).encode(errors="replace"))
    return event


def _clock(event: dict[str, object]) -> float:
    """Seconds of the guest's CLOCK_MONOTONIC."""
    return float(str(event.get("clock_s", 0.0)))
