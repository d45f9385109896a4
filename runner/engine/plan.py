"""The two sides of `execute`: what is to be run, and who is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from runner.engine.fleet import Fleet
from runner.engine.orders import CellOrder, Progress
from runner.guest.interface import Guest
from runner.model import CellResult
from runner.results.model import RunHeader

KnownSeconds = Mapping[str, Mapping[str, float]]  # cell -> acceleration -> what it took
THIS_MACHINE = "runner.engine.machine:this_machine"


@dataclass(frozen=True, slots=True)
class Plan:
    """Cells of one run, or of a part of it, with all that is needed to run them. Pure data.

    `payload` holds, for each byte order, a tar of the agent and the BPF objects. Consoles are written below `folder`
    while the guests run. `known_s` are the seconds that cells took earlier.
    """

    run: RunHeader
    orders: tuple[CellOrder, ...]
    payload: Mapping[str, bytes]
    fleet: Fleet
    folder: Path
    known_s: KnownSeconds = field(default_factory=dict)
    offline: bool = False
    machine: str = THIS_MACHINE  # module:function, see machine_by_name; another one is a fake


@dataclass(frozen=True, slots=True)
class OpenGuests:
    """Who is given the open guest: `before` it was asked anything, and `after` it was asked everything."""

    before: Callable[[Guest], None] = lambda _: None
    after: Callable[[Guest], None] = lambda _: None


class Ended(StrEnum):
    """How an execution ended."""

    COMPLETE = "complete"  # every cell has a result
    INTERRUPTED = "interrupted"
    FAILED = "failed"  # an exception goes to the caller


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of one execution. `ran_s` is its own duration: a run that is resumed is executed several times."""

    run_id: str
    ended: Ended
    ran_s: float

    @property
    def complete(self) -> bool:
        return self.ended is Ended.COMPLETE


class Sink(Protocol):
    """Is told of everything, in the caller's thread: `began` first, `finished` last, also after an exception."""

    def began(self, plan: Plan, /) -> None: ...

    def progress(self, progress: Progress, /) -> None: ...

    def result(self, result: CellResult, /) -> None: ...

    def finished(self, end: RunEnd, /) -> None: ...
