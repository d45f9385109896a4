"""What the agent in the guest said, line by line. The lines are hostile until parsed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import ValidationError

from runner.model import Answer, Ask, Facts, Look

_MAX_NOISE = 20


class InFlight(NamedTuple):
    """What is being asked: a probe, or one item of it."""

    probe: str
    item: str = ""

    def __str__(self) -> str:
        return f"{self.probe}:{self.item}" if self.item else self.probe


@dataclass(slots=True)
class Transcript:
    """Collects the answers to `asks`. A line that is no event, or answers what was not asked, is noise."""

    asks: tuple[Ask, ...]
    facts: Facts = field(default_factory=Facts)
    answers: dict[InFlight, Answer] = field(default_factory=dict)
    looks: dict[str, Look] = field(default_factory=dict)
    in_flight: InFlight | None = None  # named before it is asked, so that we know who brought the guest down
    careful: set[str] = field(default_factory=set)  # probes with items in which a guest was lost
    died: list[str] = field(default_factory=list)  # those in which the kernel died
    ended: bool = False
    noise: list[str] = field(default_factory=list)
    _named: dict[str, set[str]] = field(default_factory=dict)  # the items of careful probes

    def feed(self, line: str) -> None:
        """Take one line of the agent's output."""
        try:
            event = json.loads(line)
            kind = event.pop("event")
            self._take(kind, event)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ValidationError):
            if len(self.noise) < _MAX_NOISE:
                self.noise.append(line[:500])

    def _take(self, kind: str, event: dict[str, object]) -> None:
        match kind:
            case "hello":
                self.facts = Facts.model_validate(event["facts"])
            case "begin":
                ask, item = self._known(event["probe"]), str(event.get("item", ""))
                if item:
                    self._named.setdefault(ask.probe, set()).add(item)
                self.in_flight = InFlight(ask.probe, item)
            case "answer":
                ask = self._known(event["probe"])
                answer = Answer.model_validate({**event, "kind": ask.kind})
                self.answers[InFlight(ask.probe, answer.item)] = answer
                self.in_flight = InFlight(ask.probe) if answer.item else None
            case "look":
                look = Look.model_validate(event)
                self.looks[self._known(look.probe).probe] = look
                self.in_flight = None
            case "end":
                self.ended = True
            case _:
                raise ValueError(kind)

    def _known(self, probe: object) -> Ask:
        for ask in self.asks:
            if ask.probe == probe:
                return ask
        raise KeyError(probe)

    def unanswered(self, asks: Iterable[Ask]) -> tuple[Ask, ...]:
        """Those of `asks` that have no answer yet; of one with items, what is left of it."""
        return tuple(self._rest(ask) for ask in asks if InFlight(ask.probe) not in self.answers)

    def _rest(self, ask: Ask) -> Ask:
        if ask.probe not in self.careful:
            return ask
        skip = {item for probe, item in self.answers if probe == ask.probe} | self._named.get(ask.probe, set())
        return ask.model_copy(update={"careful": True, "skip": tuple(sorted(skip))})

    def look_closer(self, *, died: bool) -> bool:
        """The guest died or fell silent. In a probe that named no item? Then its rest is to be asked carefully."""
        if self.in_flight is None or self.in_flight.item:
            return False
        probe = self.in_flight.probe
        if probe in self.careful or not self._known(probe).items:
            return False
        self.careful.add(probe)
        self.in_flight = None
        if died:
            self.died.append(probe)
        return True

    def give_up(self, why: str) -> None:
        """What is in flight gets no answer."""
        if self.in_flight is not None:
            probe, item = self.in_flight
            self.answers[self.in_flight] = Answer(kind=self._known(probe).kind, probe=probe, item=item, failed=why)
            self.in_flight = None
