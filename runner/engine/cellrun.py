"""What happens to one cell on a worker: prepare, boot, ask, and boot again when a probe brought the guest down."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from runner.caches import disk_fault
from runner.engine.machine import Machine
from runner.engine.orders import CellOrder, Phase
from runner.engine.transcript import Transcript
from runner.errors import BootError, GuestLost, GuestSilent, InfraError
from runner.guest.boot import agent_lost
from runner.guest.interface import BootOrder, Guest
from runner.kernels.config import read_config
from runner.kernels.needs import build_of, cannot_answer
from runner.model import Ask, Build, CellResult, Crash, Outcome, Timings
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.probes import OPTIONS

_MAX_BOOTS = 8  # of one cell: each probe that kills its guest costs one
_UNPACK = "mkdir -p /dev/shm/runner && tar xf - -C /dev/shm/runner"
_AGENT = "cd /dev/shm/runner && exec python3 -m agent asks.json 2>agent.err"

Tell = Callable[[Phase, str], None]
Keep = Callable[[CellResult, Guest], None]


@dataclass(slots=True)
class _Record:
    """What is known so far. Starts as `nothing was answered`; evidence improves it."""

    order: CellOrder
    transcript: Transcript
    started: float = field(default_factory=time.monotonic)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    outcome: Outcome = Outcome.INFRA_FAILED
    cause: str = "the cell was not run to its end"
    crashes: list[Crash] = field(default_factory=list)
    prepare_s: float | None = None
    boot_s: float | None = None
    probe_s: float = 0.0
    image_sha256: str = ""
    accel: str = ""
    config: dict[str, str] = field(default_factory=dict)
    build: Build = field(default_factory=Build)

    def crashed(self, probe: str) -> bool:
        return any(crash.probe == probe for crash in self.crashes)

    def end(self, outcome: Outcome, cause: str = "") -> None:
        self.outcome, self.cause = outcome, cause

    def freeze(self, host: str, console: str) -> CellResult:
        left = self.transcript.unanswered(self.order.asks)
        return CellResult(
            cell=self.order.cell,
            outcome=self.outcome,
            cause=self.cause,
            image_sha256=self.image_sha256,
            host=host,
            accel=self.accel,
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
            crashes=(*self.crashes, *self._unexplained()),
            unasked=tuple(ask.probe for ask in left if not self.crashed(ask.probe)),
            looks=tuple(self.transcript.looks.values()),
            console=console,
        )

    def _unexplained(self) -> list[Crash]:
        """Probes with items in which the kernel died, and did not when each item was named before it was asked."""
        named = {crash.probe.rpartition(":")[0] for crash in self.crashes}
        died = (probe for probe in self.transcript.died if probe not in named and not self.crashed(probe))
        return [Crash(probe=probe) for probe in died]


def run_cell(
    order: CellOrder, payload: bytes, machine: Machine, folder: Path, tell: Tell, *, keep: Keep | None = None
) -> CellResult:
    """Run one cell to its end, whatever happens. Never raises for a fault of the machine or the kernel.

    `keep` gets the result, before it is returned, and the guest that was asked last, when that one lives: it is open
    until `keep` returns.
    """
    record = _Record(order, Transcript(order.asks))
    console = folder / ("console.log" if order.attempt == 1 else f"console-{order.attempt}.log")
    kept: list[CellResult] = []

    def answered(guest: Guest) -> None:
        if keep:
            record.end(Outcome.RAN)
            kept.append(record.freeze(machine.name, _text(console)))
            keep(kept[0], guest)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        console.unlink(missing_ok=True)
        boot_order = _prepare(record, machine, console, tell)
        if why := cannot_answer(boot_order.kernel, record.build, {ask.kind for ask in order.asks}):
            record.end(Outcome.SKIPPED, why)
        else:
            _ask_everything(record, boot_order, machine, payload, tell, answered=answered)
    except InfraError as error:
        lost = isinstance(error, GuestLost)
        record.end(Outcome.LOST if lost else Outcome.INFRA_FAILED, str(error))
    except OSError as error:
        record.end(Outcome.INFRA_FAILED, str(disk_fault(error, str(error.filename or "this host"))))
    return kept[0] if kept else record.freeze(machine.name, _text(console))


def _text(console: Path) -> str:
    with suppress(OSError):  # what is wrong with the disk is said elsewhere
        return console.read_bytes().decode(errors="replace")
    return ""


def _prepare(record: _Record, machine: Machine, console: Path, tell: Tell) -> BootOrder:
    cell = record.order.cell
    tell(Phase.PREPARING, "")
    kernel, image = machine.prepare(cell, deadline=cell.limits.deadline("prepare_s"))
    accel = machine.accel(cell)
    record.prepare_s = round(time.monotonic() - record.started, 3)
    record.image_sha256, record.accel = image.sha256, accel
    record.config = read_config(Path(kernel.config), OPTIONS)
    record.build = build_of(kernel)
    return BootOrder(
        architecture=architecture(cell.arch),
        kernel=kernel,
        image=image,
        size=cell.guest,
        accel=accel,
        console=console,
        scratch=machine.scratch,
        gdb=record.order.gdb,
    )


def _ask_everything(
    record: _Record,
    boot: BootOrder,
    machine: Machine,
    payload: bytes,
    tell: Tell,
    *,
    answered: Callable[[Guest], None],
) -> None:
    cell = record.order.cell
    deadline = cell.limits.deadline("cell_s")
    for number in range(1, _MAX_BOOTS + 1):
        left = _left(record)
        tell(Phase.BOOTING, f"boot {number}" if number > 1 else "")
        try:
            begun = time.monotonic()
            boot_deadline = cell.limits.deadline("boot_s").sooner(deadline)
            with machine.boot(boot, deadline=boot_deadline) as guest:
                if record.boot_s is None:
                    record.boot_s = round(time.monotonic() - begun, 3)
                tell(Phase.PROBING, f"{len(left)} probes")
                _ask(record, left, guest, payload, deadline)
                if not _left(record):
                    answered(guest)
        except BootError as error:
            if not record.transcript.look_closer(died=True) and not _blamed(record, error):
                record.end(Outcome.BOOT_FAILED, error.what)
                return
        except GuestSilent as error:
            if not record.transcript.look_closer(died=False) and not _gave_up(record, error):
                raise
        if not _left(record):
            record.end(Outcome.RAN)
            return
    record.end(Outcome.RAN, f"gave up after {_MAX_BOOTS} boots")


def _left(record: _Record) -> tuple[Ask, ...]:
    return tuple(ask for ask in record.transcript.unanswered(record.order.asks) if not record.crashed(ask.probe))


def _ask(record: _Record, asks: tuple[Ask, ...], guest: Guest, payload: bytes, deadline: Deadline) -> None:
    """Push the agent and let it ask. Raises what the guest raises, and InfraError when the agent itself fails."""
    transcript, limits = record.transcript, record.order.cell.limits
    transcript.ended = False
    pushed = guest.run(
        _UNPACK,
        stdin=_with_asks(payload, asks, record.order),
        deadline=limits.deadline("probe_s").sooner(deadline),
    )
    if pushed.returncode != 0:
        raise InfraError(f"the agent could not be pushed: {pushed.stdout.strip()[-500:]}")
    begun = time.monotonic()
    try:
        for line in guest.lines(_AGENT, silence_s=limits.probe_s, deadline=deadline):
            transcript.feed(line)
    finally:
        record.probe_s = round(record.probe_s + time.monotonic() - begun, 3)
    if not transcript.ended:
        if lost := agent_lost(guest):
            raise lost
        limit = limits.deadline("probe_s").sooner(deadline)
        said = guest.run("tail -c 2000 /dev/shm/runner/agent.err", deadline=limit).stdout.strip()
        noise = "\n".join(transcript.noise)
        raise InfraError(f"the agent ended too early:\n{said or noise or '(it said nothing)'}")


def _with_asks(payload: bytes, asks: tuple[Ask, ...], order: CellOrder) -> bytes:
    """The payload and the questions as one tar."""
    questions = [ask.model_dump(mode="json") for ask in asks]
    document = {"modules": order.modules, "asks": questions, "look": order.look}
    content = json.dumps(document).encode()
    stream = io.BytesIO(payload)
    with tarfile.open(fileobj=stream, mode="a") as archive:
        info = tarfile.TarInfo("asks.json")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def _blamed(record: _Record, error: BootError) -> bool:
    """The kernel died: was it while a probe was in flight? Then that probe did it."""
    suspect = record.transcript.in_flight
    if suspect is None:
        return False
    record.crashes.append(Crash(probe=str(suspect), cause=error.what, oops=error.console_tail))
    record.transcript.in_flight = None
    record.cause = error.what
    return True


def _gave_up(record: _Record, error: GuestSilent) -> bool:
    """The guest fell silent in a probe: that one has no answer, the others are asked again on a fresh boot."""
    if not record.transcript.in_flight:
        return False
    record.transcript.give_up(error.what)
    return True
