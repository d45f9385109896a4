"""What the agent in the guest said, line by line. The lines are hostile until parsed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import ValidationError

from runner.model import Ask, CensusAsk, CensusObservation, Facts, Observation

_MAX_NOISE = 20


@dataclass(slots=True)
class Transcript:
    """Collects the answers to `asks`. A line that is no event, or answers what was not asked, is noise."""

    asks: tuple[Ask, ...]
    facts: Facts = field(default_factory=Facts)
    observations: dict[str, Observation] = field(default_factory=dict)
    census: dict[tuple[str, str], CensusObservation] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)  # census probes that came to their end
    in_flight: str = ""  # named before it is asked, so that we know who brought the guest down
    ended: bool = False
    noise: list[str] = field(default_factory=list)

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
            case "ask":
                self.in_flight = self._known(event["probe"])
            case "observation":
                observation = Observation.model_validate(event)
                self.observations[self._known(observation.probe)] = observation
                self.in_flight = ""
            case "census":
                answer = CensusObservation.model_validate(event)
                self.census[answer.kfunc, answer.prog_type] = answer
            case "done":
                self.done.add(self._known(event["probe"]))
                self.in_flight = ""
            case "end":
                self.ended = True
            case _:
                raise ValueError(kind)

    def _known(self, probe: object) -> str:
        for ask in self.asks:
            if ask.probe == probe:
                return ask.probe
        raise KeyError(probe)

    def unanswered(self, asks: Iterable[Ask]) -> tuple[Ask, ...]:
        """Those of `asks` that have no answer yet."""
        return tuple(ask for ask in asks if not self._answered(ask))

    def _answered(self, ask: Ask) -> bool:
        return ask.probe in (self.done if isinstance(ask, CensusAsk) else self.observations)
