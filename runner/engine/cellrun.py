# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What happens to one cell on a worker: prepare, boot, ask, and boot again when a probe brought the guest down."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from runner.caches import disk_fault
from runner.engine.cellrecord import CellRecord
from runner.engine.fleet import Machine
from runner.engine.plan import AGENT, CellOrder, Files, OpenGuests, Phase
from runner.engine.transcript import Transcript
from runner.errors import BootError, GuestLost, GuestSilent, InfraError
from runner.guest.boot import ASKS, TO_AGENT
from runner.guest.console import agent_lost
from runner.guest.interface import BootOrder, Guest, Warm
from runner.guest.share import pushed, without
from runner.guest.snapshots import SNAPSHOTS, Snapshots
from runner.kernels.config import read_config
from runner.kernels.needs import Abilities, build_of
from runner.model import Ask, Cell, CellResult, Outcome, Sha256, SharedFile
from runner.model.architecture import architecture
from runner.model.cells import GuestKey, files_digest
from runner.model.deadline import Deadline
from runner.probes import OPTIONS
from runner.probes.kinds import KINDS
from runner.text import counted

_SMALL = 16 << 20  # bytes, of a guest's memory twice
_AHEAD, _AHEAD_S = 1.5, 5.0  # of a guest's clock
_MAX_BOOTS = 16  # of one cell, besides those for what is asked alone: each probe that kills its guest costs two
# init/do_mounts.c, init/main.c, virtme-ng's initramfs
_NO_ROOT = re.compile(r"Unable to mount root fs|No working init found|Failed to mount .*We are stuck")

Tell = Callable[[Phase, str], None]


def run_cell(
    order: CellOrder, payload: Files, machine: Machine, folder: Path, tell: Tell, *, guests: OpenGuests | None = None
) -> CellResult:
    """Run one cell to its end, whatever happens. Never raises for a fault of the machine or the kernel.

    What becomes of a guest while `guests` has it open is not part of the result.
    """
    record = CellRecord(order, Transcript(order.asks))
    console = folder / ("console.log" if order.attempt == 1 else f"console-{order.attempt}.log")
    kept: list[CellResult] = []

    def answered(guest: Guest) -> None:
        if guests:
            record.end(Outcome.RAN)
            kept.append(record.freeze(machine.name, _text(console)))
            guests.after(guest)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        console.unlink(missing_ok=True)
        if prepared := _prepare(record, payload, machine, console, tell):
            before = guests.before if guests else lambda _: None
            _ask_everything(record, *prepared, machine, tell, before=before, answered=answered)
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


def boot_order(
    cell: Cell, payload: Files, machine: Machine, console: Path, *, gdb: bool = False
) -> tuple[BootOrder, Abilities]:
    """Prepares kernel and image: how to boot them, and what the kernel can do. Raises InfraError."""
    kernel, image = machine.prepare(cell, deadline=cell.limits.deadline("prepare_s"))
    able = Abilities.of(kernel)
    order = BootOrder(
        architecture=architecture(cell.arch),
        kernel=kernel,
        image=image,
        size=cell.guest,
        cmdline=cell.cmdline,
        accel=machine.accel(cell),
        console=console,
        scratch=machine.scratch,
        root=able.root,
        overlays=able.overlays,
        agent={name: content for name, content in payload.items() if name.startswith(AGENT)},
        gdb=gdb,
    )
    return order, able


def _prepare(
    record: CellRecord, payload: Files, machine: Machine, console: Path, tell: Tell
) -> tuple[BootOrder, Files] | None:
    """How to boot it, and what is pushed. None: the kernel is not to be booted, and the record says why."""
    tell(Phase.PREPARING, "")
    order, able = boot_order(record.order.cell, payload, machine, console, gdb=record.order.gdb)
    record.prepare_s = round(time.monotonic() - record.started, 3)
    record.image_sha256, record.accel = order.image.sha256, order.accel
    record.config = read_config(Path(order.kernel.config), OPTIONS)
    record.build = build_of(order.kernel)
    if why := able.cannot_boot() or (order.image.container and able.cannot_mount()):
        record.end(Outcome.SKIPPED, why)
        return None
    record.guest = _guest_key(record.order, order, payload, machine)
    record.spare(record.order.known)
    record.leave_out(able.cannot_answer({ask.kind for ask in record.order.asks}))
    record.root = order.root
    if record.order.known and record.done:
        record.end(Outcome.RAN)
        return None
    order, files = showing(order, able, record.order.asks, payload)
    if not record.order.snapshot or record.order.attempt > 1 or order.gdb:
        return order, files

    def boots_instead(why: str) -> None:
        record.boots_instead(why)
        tell(Phase.BOOTING, why)

    record.starts()
    return warmed(record.order, order, payload, machine, boots_instead), files


def showing(boot: BootOrder, able: Abilities, asks: Iterable[Ask], payload: Files) -> tuple[BootOrder, Files]:
    """`boot` with the folder that its guest is shown, and what is pushed. Raises InfraError when a file changed."""
    shown: dict[str, SharedFile] = {}
    for ask in asks:
        shown |= KINDS[ask.kind].shared(ask, boot.architecture.uname, payload)
    if shown and able.shares:
        return replace(boot, shared=shown), without(payload)
    return boot, pushed(payload) if shown else without(payload)


def _guest_key(order: CellOrder, boot: BootOrder, payload: Files, machine: Machine) -> Sha256:
    tools, agent = machine.tools(order.cell), files_digest(payload, AGENT)
    kernel, image = boot.kernel.sha256, boot.image.sha256
    return GuestKey.of(order.cell, order.modules, tools, kernel=kernel, image=image, agent=agent).digest


def warmed(
    order: CellOrder, boot: BootOrder, payload: Files, machine: Machine, tell: Callable[[str], None]
) -> BootOrder:
    """`boot`, with what lets its guest start from a snapshot; `tell` is told why it does not."""
    against = {
        "the guest is shown a folder of its host": bool(boot.shared),
        "the guest reaches its host's network": boot.size.network,
        f"the guest's root comes over {boot.root}": boot.root != "disk",
        "the guest's root is written to": not boot.overlays,
    }
    if why := next((why for why, is_so in against.items() if is_so), ""):
        tell(f"no snapshots: {why}")
        return boot
    warm = Warm(
        key=_guest_key(order, boot, payload, machine),
        modules=order.modules,
        kinds=tuple(sorted(KINDS.keys() - Abilities.of(boot.kernel).cannot_answer(KINDS).keys())),
        snapshots=machine.scratch.with_name(SNAPSHOTS),
        name=order.cell.id,
        limit=lambda: order.cell.limits.deadline("boot_s"),
        tell=tell,
    )
    return replace(boot, warm=warm)


def _ask_everything(
    record: CellRecord,
    boot: BootOrder,
    payload: Files,
    machine: Machine,
    tell: Tell,
    *,
    before: Callable[[Guest], None],
    answered: Callable[[Guest], None],
) -> None:
    cell = record.order.cell
    deadline = cell.limits.deadline("cell_s")
    most = _MAX_BOOTS + sum(ask.alone for ask in record.order.asks)
    for number in range(1, most + 1):
        asks = record.boots()
        tell(Phase.BOOTING, _how(boot, number))
        guest: Guest | None = None
        try:
            begun = time.monotonic()
            boot_deadline = cell.limits.deadline("boot_s").sooner(deadline)
            files = {**payload, ASKS: _questions(asks, record.order)}
            with machine.boot(_with_all(boot, files), deadline=boot_deadline) as guest:
                if record.boot_s is None:
                    record.boot_s = round(time.monotonic() - begun, 3)
                before(guest)
                tell(Phase.PROBING, counted(len(asks), "probe"))
                _check_clock(record, boot, _ask(record, guest, files, deadline))
                record.lived(guest.splats)
                if record.done:
                    answered(guest)
        except BootError as error:
            if not record.died(error, guest.splats if guest else ()) and not record.is_over(deadline):
                _did_not_boot(record, error, deadline)
                return
        except GuestSilent as error:
            known = record.fell_silent(error, guest.splats if guest else ())
            if not record.is_over(deadline) and (not known or deadline.expired):
                raise
        if record.done or record.is_over(deadline):
            record.end(Outcome.RAN, "" if record.done else f"its {cell.limits.cell_s:g} s were over (limits: cell_s)")
            return
    record.end(Outcome.RAN, f"gave up after {most} boots")


def _with_all(boot: BootOrder, files: Files) -> BootOrder:
    """`boot`, whose guest starts with all that would be pushed: under emulation ssh is slow. Not where it is much."""
    return boot if boot.warm or sum(map(len, files.values())) > _SMALL else replace(boot, agent=files)


def _did_not_boot(record: CellRecord, error: BootError, deadline: Deadline) -> None:
    if not record.config and _NO_ROOT.search(f"{error.what}\n{error.console_tail}"):
        record.end(Outcome.SKIPPED, f"its options are not known; {error.what}")
    else:  # a boot that gets only what others left of the cell's time says nothing about the kernel
        record.end(Outcome.LOST if deadline.expired else Outcome.BOOT_FAILED, error.what)


def _how(boot: BootOrder, number: int) -> str:
    """In what way the guest starts, for people."""
    way = ""
    if boot.warm:
        way = "from a snapshot" if (boot.warm.snapshots / boot.warm.key).is_dir() else "a snapshot is made"
    return ", ".join(filter(None, (f"boot {number}" if number > 1 else "", way)))


def _ask(record: CellRecord, guest: Guest, files: Files, deadline: Deadline) -> float:
    """Push the agent and let it ask. The seconds from its first line to its last.

    Raises what the guest raises, and InfraError when the agent itself fails.
    """
    transcript, limits = record.heard, record.order.cell.limits
    heard = begun = time.monotonic()
    try:
        for number, line in enumerate(guest.ask(files, silence=lambda: limits.deadline("probe_s"), deadline=deadline)):
            transcript.feed(line)
            heard = heard if number else time.monotonic()
    finally:
        record.probe_s = round(record.probe_s + time.monotonic() - begun, 3)
        transcript.begins(guest.begun)
    if not transcript.ended:
        if lost := agent_lost(guest):
            raise lost
        limit = limits.deadline("probe_s").sooner(deadline)
        said = guest.run(f"{TO_AGENT} && tail -c 2000 agent.err 2>/dev/null", deadline=limit).stdout.strip()
        noise = "\n".join(transcript.noise)
        raise InfraError(f"the agent ended too early:\n{said or noise or '(it said nothing)'}")
    return time.monotonic() - heard


def _check_clock(record: CellRecord, boot: BootOrder, host_s: float) -> None:
    """Raises GuestLost when the guest's clock ran ahead: what it says of time is then not its kernel's.

    x86_64 calibrates the TSC against an emulated timer, which goes wrong on a host that starves its guests.
    """
    guest_s = record.heard.guest_s
    if guest_s > _AHEAD * host_s + _AHEAD_S:
        why = f"the guest's clock went {guest_s:.0f} s ahead in {host_s:.0f} s: its kernel measured it wrongly"
        record.heard.distrust(record.asks, why)
        if boot.warm:
            Snapshots(boot.warm.snapshots).remove(boot.warm.key)
        raise GuestLost(why, hint="this host is overloaded: fewer concurrent guests (-n)")


def _questions(asks: tuple[Ask, ...], order: CellOrder) -> bytes:
    questions = [ask.model_dump(mode="json") for ask in asks]
    return json.dumps({"modules": order.modules, "asks": questions, "trace": order.trace}).encode()
