"""Who brought a kernel down. Nobody is convicted by the last line alone.

The agent names each probe on the console before it asks it: there the order is the kernel's own, and nothing is lost on
the way. Whoever is suspected is asked again, alone, on a fresh guest; only when the kernel dies again did the probe
crash it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from runner.engine.transcript import Place, Transcript
from runner.model import Ask, Crash, Splat

_FATAL = frozenset({"oops", "panic"})
_PROGRAM = re.compile(r"\bbpf_prog_[0-9a-f]{16}_(\w+)")  # kernel/bpf/core.c: bpf_prog_ksym_set_name


@dataclass(frozen=True, slots=True)
class Suspicion:
    """That what was asked at `place` took the kernel down. `named`: by the trace, while something else was asked."""

    place: Place
    cause: str
    named: bool = False

    def alone(self, ask: Ask) -> Ask:
        """The question, and nothing else."""
        return ask.model_copy(update={"careful": ask.items, "only": self.place.item})

    @property
    def unproven(self) -> str:
        """Why there is no answer after it was asked alone."""
        return f"{self.cause}, while this was asked; it did not when this was asked alone"


def is_fatal(splat: Splat) -> bool:
    """Did the kernel end with it?"""
    return splat.kind in _FATAL


def suspect(
    asks: Sequence[Ask], heard: Transcript, splats: Sequence[Splat], acquitted: Collection[Place]
) -> tuple[Place, bool] | None:
    """Who is suspected of what ended the kernel, and whether the trace names it while another one was in flight.

    `asks` is what this guest was asked, in order. None when nothing was in flight.
    """
    fatal = [splat for splat in splats if is_fatal(splat)]
    told = heard.place(fatal[0].probe) if fatal else None
    place = told or heard.in_flight
    if place is None:
        return None
    order = [ask.probe for ask in asks]
    begun = asks[: order.index(place.probe) + 1] if place.probe in order else ()
    names = set(_programs(line for splat in fatal for line in splat.lines))
    for ask in reversed(begun):
        if names.intersection(ask.programs) and Place(ask.probe) not in acquitted:
            return (place, False) if ask.probe == place.probe else (Place(ask.probe), True)
    return place, False


def _programs(lines: Iterable[str]) -> Iterable[str]:
    return (name for line in lines for name in _PROGRAM.findall(line))


def explained(splat: Splat, crashes: Iterable[Crash]) -> bool:
    """Does a crash tell of it already?"""
    return is_fatal(splat) and any(
        crash.probe == splat.probe or crash.probe.startswith(f"{splat.probe}:") for crash in crashes
    )
