# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is known of a cell while it is run, over all its boots, and who is suspected of what ended a kernel."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from runner.engine.plan import CellOrder, KnownProbes
from runner.engine.transcript import ProbeItem, Transcript
from runner.errors import BootError, GuestSilent
from runner.model import Ask, Build, CellResult, Crash, Outcome, Root, Splat, Timings
from runner.model.deadline import Deadline
from runner.probes.kinds import KINDS

_FATAL = frozenset({"oops", "panic"})
_PROGRAM = re.compile(r"\bbpf_prog_[0-9a-f]{16}_(\w+)")  # kernel/bpf/core.c: bpf_prog_ksym_set_name


@dataclass(frozen=True, slots=True)
class Suspicion:
    """That what was asked at `place` took the kernel down. `named`: by the trace, while something else was asked."""

    place: ProbeItem
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
    asks: Sequence[Ask], heard: Transcript, splats: Sequence[Splat], acquitted: Collection[ProbeItem]
) -> tuple[ProbeItem, bool] | None:
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
        if names.intersection(ask.programs) and ProbeItem(ask.probe) not in acquitted:
            return (place, False) if ask.probe == place.probe else (ProbeItem(ask.probe), True)
    return place, False


def _programs(lines: Iterable[str]) -> Iterable[str]:
    return (name for line in lines for name in _PROGRAM.findall(line))


def explained(splat: Splat, crashes: Iterable[Crash]) -> bool:
    """Does a crash tell of it already?"""
    return is_fatal(splat) and any(
        crash.probe == splat.probe or crash.probe.startswith(f"{splat.probe}:") for crash in crashes
    )


_STUCK = "stuck"


@dataclass(slots=True)
class CellRecord:
    """Starts as `nothing was answered`; evidence improves it. After each boot one of `lived`, `died`, `fell_silent`."""

    order: CellOrder
    transcript: Transcript
    started: float = field(default_factory=time.monotonic)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    outcome: Outcome = Outcome.INFRA_FAILED
    cause: str = "the cell was not run to its end"
    crashes: list[Crash] = field(default_factory=list)
    splats: list[Splat] = field(default_factory=list)
    prepare_s: float | None = None
    boot_s: float | None = None
    probe_s: float = 0.0
    image_sha256: str = ""
    guest: str = ""  # digest of its GuestKey
    number: int = 0  # of boots
    accel: str = ""
    root: Root | Literal[""] = ""
    start: Literal["boot", "snapshot"] = "boot"
    no_snapshot: str = ""
    config: dict[str, str] = field(default_factory=dict)
    build: Build = field(default_factory=Build)
    asks: tuple[Ask, ...] = ()  # of the present boot
    heard: Transcript = field(default_factory=lambda: Transcript(()))  # in it; another one when a suspect is alone
    _suspicion: Suspicion | None = None
    _acquitted: set[ProbeItem] = field(default_factory=set)

    def spare(self, known: KnownProbes | None) -> None:
        """Do not ask what is known of this very guest."""
        if known and known.guest == self.guest:
            asks = tuple(ask for ask in self.order.asks if ask.probe not in known.probes)
            self.order, self.transcript = self.order.model_copy(update={"asks": asks}), Transcript(asks)

    def leave_out(self, kinds: Mapping[str, str]) -> None:
        """Do not ask these kinds of probe, each for a reason."""
        for ask in self.order.asks:
            if ask.kind in kinds:
                self.transcript.give_up(ProbeItem(ask.probe), kinds[ask.kind])

    def end(self, outcome: Outcome, cause: str = "") -> None:
        self.outcome, self.cause = outcome, cause

    @property
    def left(self) -> tuple[Ask, ...]:
        """What still is to be asked."""
        crashed = {crash.probe for crash in self.crashes}
        return tuple(ask for ask in self.transcript.unanswered(self.order.asks) if ask.probe not in crashed)

    @property
    def done(self) -> bool:
        """Is nothing to be asked any more?"""
        return self._suspicion is None and not self.left

    def is_over(self, deadline: Deadline) -> bool:
        """Is there no time for what is left? Of what is asked item by item, the answers so far count."""
        return deadline.expired and bool(self.transcript.answers) and all(ask.careful for ask in self.left)

    def starts(self) -> None:
        """Its guests are started from a snapshot, until the next word."""
        self.start = "snapshot"

    def boots_instead(self, why: str) -> None:
        """A boot takes the place of a snapshot."""
        self.start, self.no_snapshot = "boot", self.no_snapshot or why

    def boots(self) -> tuple[Ask, ...]:
        """A guest is about to boot: what to ask it."""
        self.number += 1
        if self._suspicion:
            place = self._suspicion.place
            self.asks = self._resumed((self._suspicion.alone(self.transcript.ask(place.probe)),))
            self.heard = Transcript(self.asks)
        else:
            left = self.left
            self.asks = self._resumed(tuple(ask for ask in left if not ask.alone) or left[:1])
            self.heard = self.transcript
        self.heard.in_flight, self.heard.ended = None, False
        return self.asks

    def _resumed(self, asks: Iterable[Ask]) -> tuple[Ask, ...]:
        return tuple(KINDS[ask.kind].resumed(ask, self.transcript.answers.values()) for ask in asks)

    def lived(self, splats: Iterable[Splat]) -> None:
        """The guest was asked everything."""
        if self._suspicion:
            self._acquit(self._suspicion, self._suspicion.unproven)
        else:
            self._note(splats)

    def died(self, error: BootError, splats: Iterable[Splat]) -> bool:
        """The kernel died. Was it while something was asked? Then that is suspected, or convicted when it was alone."""
        splats = tuple(splats)
        found = suspect(self.asks, self.heard, splats, self._acquitted)
        if found is None:
            return False
        place, named = found
        before = self._suspicion
        if before is None:
            fatal = {"probe": str(place)}
            self._note(splat.model_copy(update=fatal) if is_fatal(splat) else splat for splat in splats)
            if not self.transcript.ask_carefully(place):
                self._suspicion = Suspicion(place, error.what, named)
        elif place == before.place:
            self.crashes.append(Crash(probe=str(place), cause=error.what, oops=error.console_tail))
            self.transcript.close(place)
            self._suspicion = None
        elif place.item:  # it was not known which one
            self._suspicion = Suspicion(place, error.what)
        else:
            self._acquit(before, before.unproven)
        return True

    def fell_silent(self, error: GuestSilent, splats: Iterable[Splat]) -> bool:
        """The guest lives, or starves, and sends nothing: what is in flight gets no answer, others are asked again."""
        splats = tuple(splats)
        if self._suspicion:
            self._acquit(self._suspicion, f"{self._suspicion.cause}, while this was asked; asked alone: {error.what}")
            return True
        told = [place for splat in splats if splat.kind == _STUCK and (place := self.heard.place(splat.probe))]
        place = told[0] if told else self.heard.in_flight
        self._note(splats)
        if place is None:
            return False
        if not self.transcript.ask_carefully(place):
            self.transcript.give_up(place, error.what)
        return True

    def _acquit(self, suspicion: Suspicion, why: str) -> None:
        """Alone it did not do it again. Who was in flight has no answer; whom the trace named keeps its own."""
        self._suspicion = None
        self._acquitted.add(suspicion.place)
        if not suspicion.named:
            self.transcript.give_up(suspicion.place, why)

    def _note(self, splats: Iterable[Splat]) -> None:
        """Keep what the kernel reported. An answer that came while it was stuck does not count."""
        for splat in splats:
            self.splats.append(splat)
            place = self.transcript.place(splat.probe)
            if splat.kind == _STUCK and place in self.transcript.answers:
                self.transcript.give_up(place, f"the kernel hangs: {splat.text}")

    def freeze(self, host: str, console: str) -> CellResult:
        """The result, as far as it is known."""
        return CellResult(
            cell=self.order.cell,
            outcome=self.outcome,
            cause=self.cause,
            image_sha256=self.image_sha256,
            host=host,
            accel=self.accel,
            root=self.root,
            start=self.start,
            no_snapshot=self.no_snapshot,
            attempts=self.order.attempt,
            began=self.began,
            timings=Timings(
                prepare_s=self.prepare_s,
                boot_s=self.boot_s,
                probe_s=self.probe_s or None,
                total_s=round(time.monotonic() - self.started, 3),
            ),
            facts=self.transcript.facts,
            answers=tuple(self.transcript.answers.values()),
            config=self.config,
            build=self.build,
            crashes=tuple(self.crashes),
            splats=tuple(splat for splat in self.splats if not explained(splat, self.crashes)),
            unasked=tuple(ask.probe for ask in self.left),
            traces=tuple(self.transcript.traces.values()),
            console=console,
            guest=self.guest,
            boots=self.number,
        )
