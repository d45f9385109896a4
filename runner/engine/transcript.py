"""What the agent in the guest said, line by line. The lines are hostile until parsed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import ValidationError

from runner.model import Ask, CensusAsk, CensusObservation, Facts, Look, Observation, ProgType

_MAX_NOISE = 20


@dataclass(slots=True)
class Transcript:
    """Collects the answers to `asks`. A line that is no event, or answers what was not asked, is noise."""

    asks: tuple[Ask, ...]
    facts: Facts = field(default_factory=Facts)
    observations: dict[str, Observation] = field(default_factory=dict)
    kfuncs: dict[str, CensusObservation] = field(default_factory=dict)  # what is known of each, without an answer
    missing: tuple[str, ...] = ()  # names that were looked for and are in no BTF
    census: dict[tuple[str, str], CensusObservation] = field(default_factory=dict)
    looks: dict[str, Look] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)  # census probes that came to their end: why nothing was asked
    in_flight: str = ""  # named before it is asked, so that we know who brought the guest down
    careful: set[str] = field(default_factory=set)  # census probes in which a guest was lost
    died: list[str] = field(default_factory=list)  # those in which the kernel died
    ended: bool = False
    noise: list[str] = field(default_factory=list)
    _named: set[tuple[str, str]] = field(default_factory=set)  # probe, kfunc: of a careful census
    _asking: tuple[Ask, str] | None = None  # the last of them; a kfunc's name may hold anything

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
                self.in_flight = self._known(event["probe"]).probe
            case "observation":
                observation = Observation.model_validate(event)
                self.observations[self._known(observation.probe).probe] = observation
                self.in_flight = ""
            case "look":
                look = Look.model_validate(event)
                self.looks[self._known(look.probe).probe] = look
                self.in_flight = ""
            case "kfuncs":
                self._take_kfuncs(event["kfuncs"], event["missing"])
            case "asking":
                self._asking = (self._known(event["probe"]), str(event["kfunc"]))
                self._named.add((self._asking[0].probe, self._asking[1]))
                self.in_flight = f"{self._asking[0].probe}:{self._asking[1]}"
            case "census":
                ask = self._known(event["probe"])
                self._take_answers(ask.prog_type, event["answers"])
                self.in_flight = ask.probe
            case "done":
                self.done[self._known(event["probe"]).probe] = str(event.get("failed", ""))
                self.in_flight = ""
            case "end":
                self.ended = True
            case _:
                raise ValueError(kind)

    def _take_kfuncs(self, told: object, missing: object) -> None:
        for facts in _objects(told):
            kfunc = CensusObservation.model_validate({**facts, "prog_type": ProgType.TC})
            self.kfuncs[kfunc.kfunc] = kfunc
        asked = {name for ask in self.asks if isinstance(ask, CensusAsk) for name in ask.kfuncs}
        names = missing if isinstance(missing, list) else []
        self.missing = tuple(sorted(asked.intersection(name for name in names if isinstance(name, str))))

    def _take_answers(self, prog_type: ProgType, answers: object) -> None:
        """Each with what was said before of its kfunc."""
        for answer in _objects(answers):
            facts = self.kfuncs[str(answer["kfunc"])].model_dump(exclude_defaults=True)
            observation = CensusObservation.model_validate({**facts, **answer, "prog_type": prog_type})
            self.census[observation.kfunc, prog_type] = observation

    def _known(self, probe: object) -> Ask:
        for ask in self.asks:
            if ask.probe == probe:
                return ask
        raise KeyError(probe)

    def unanswered(self, asks: Iterable[Ask]) -> tuple[Ask, ...]:
        """Those of `asks` that have no answer yet; of a census, what is left of it."""
        return tuple(self._rest(ask) for ask in asks if not self._answered(ask))

    def _answered(self, ask: Ask) -> bool:
        return ask.probe in (self.done if isinstance(ask, CensusAsk) else self.observations)

    def _rest(self, ask: Ask) -> Ask:
        if not isinstance(ask, CensusAsk) or ask.probe not in self.careful:
            return ask
        skip = {kfunc for kfunc, prog_type in self.census if prog_type == ask.prog_type}
        skip |= {kfunc for probe, kfunc in self._named if probe == ask.probe}
        return ask.model_copy(update={"careful": True, "skip": tuple(sorted(skip))})

    def look_closer(self, *, died: bool) -> bool:
        """The guest died or fell silent. In a census that named no kfunc? Then it is to be asked again, carefully."""
        probe = self.in_flight
        if probe in self.careful or not any(isinstance(ask, CensusAsk) and ask.probe == probe for ask in self.asks):
            return False
        self.careful.add(probe)
        self.in_flight = ""
        if died:
            self.died.append(probe)
        return True

    def give_up(self, why: str) -> None:
        """What is in flight gets no answer."""
        probe, self.in_flight = self.in_flight, ""
        if any(ask.probe == probe and not isinstance(ask, CensusAsk) for ask in self.asks):
            self.observations[probe] = Observation(probe=probe, failed=why)
        elif any(ask.probe == probe for ask in self.asks):
            self.done[probe] = why
        elif self._asking and isinstance(self._asking[0], CensusAsk):
            ask, kfunc = self._asking
            facts = self.kfuncs.get(kfunc, CensusObservation(kfunc=kfunc, prog_type=ask.prog_type))
            self.census[kfunc, ask.prog_type] = facts.model_copy(update={"prog_type": ask.prog_type, "failed": why})


def _objects(value: object) -> list[dict[str, object]]:
    """A list of JSON objects. Raises TypeError."""
    if not isinstance(value, list) or not all(isinstance(it, dict) for it in value):
        raise TypeError("not a list of objects")
    return value
