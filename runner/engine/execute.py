# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`execute`: runs the cells of a plan, and what Ctrl-C, SIGTERM and SIGHUP do meanwhile.

The first signal stops cleanly, the second one ends at once. Cells whose answers are kept are not booted.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType

from runner.engine.plan import Ended, OpenGuests, Phase, Plan, Progress, RunEnd, Sink
from runner.guest.share import pushed
from runner.model.architecture import architecture
from runner.steps import heard


def execute(plan: Plan, sinks: Sequence[Sink], *, guests: OpenGuests | None = None) -> RunEnd:
    """Run every cell; what was lost or did not boot is repeated once, on another host where there is one.

    Each sink is told of each event before the next one is, in this order: a store stands before a display. A result
    comes as soon as its cell is done; first come those of cells of which nothing is left to ask. Raises InfraError when
    no worker comes up, and what a sink raises; then nothing more is run. A KeyboardInterrupt ends the run; it is not
    raised.

    With `guests` cells run once each in this process, on this machine, so that their guests can be left open.
    """
    begun = time.monotonic()
    told: list[Sink] = []
    ended = Ended.FAILED
    try:
        for sink in sinks:
            told.append(sink)
            sink.began(plan)
        ended = _run_here(plan, sinks, guests) if guests else _run(plan, sinks)
    except KeyboardInterrupt:
        ended = Ended.INTERRUPTED
    finally:
        end = RunEnd(plan.run.id, ended, time.monotonic() - begun)
        with ExitStack() as last:  # each is told, whatever another one raises
            for sink in reversed(told):
                last.callback(sink.finished, end)
    return end


def _run(plan: Plan, sinks: Sequence[Sink]) -> Ended:
    unbooted = plan.unbooted
    for cell_id in (order.cell.id for order in plan.orders if order.cell.id in unbooted):
        result = plan.kept[cell_id].result
        with held():
            for sink in sinks:
                sink.result(result)
        for sink in sinks:
            sink.progress(Progress(cell_id=cell_id, phase=Phase.DONE, note=result.outcome))
    rest = tuple(order for order in plan.orders if order.cell.id not in unbooted)
    if not rest:
        return Ended.COMPLETE
    if any(host.ssh for host in plan.fleet.hosts):  # no folder of this machine is shown to their guests
        plan = replace(plan, payload={it: pushed(files) for it, files in plan.payload.items()})
    # late: it brings pytest, which takes longer than a hundred cells whose answers are kept
    from runner.engine.controller import run_on_workers  # noqa: PLC0415

    return run_on_workers(replace(plan, orders=rest), sinks)


def _run_here(plan: Plan, sinks: Sequence[Sink], guests: OpenGuests) -> Ended:
    # late: it brings paramiko, which takes 17 MiB
    from runner.engine.cellrun import run_cell  # noqa: PLC0415
    from runner.engine.fleet import machine_by_name  # noqa: PLC0415

    machine = machine_by_name(plan.machine, offline=plan.offline)
    for order in plan.orders:
        cell_id, payload = order.cell.id, plan.payload[architecture(order.cell.arch).byte_order]

        def tell(phase: Phase, note: str, part: float | None = None, *, cell_id: str = cell_id) -> None:
            for sink in sinks:
                sink.progress(Progress(cell_id=cell_id, phase=phase, note=note, part=part))

        with heard(partial(tell, Phase.PREPARING)):
            result = run_cell(order, payload, machine, plan.folder / cell_id, tell, guests=guests)
        for sink in sinks:
            sink.result(result)
    return Ended.COMPLETE


# --- what signals do --------------------------------------------------------------------------------------------------

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # systemd and CI send SIGTERM, a closed terminal SIGHUP


@dataclass(slots=True)
class _State:
    came: bool = False
    pending: bool = False  # one came while it was held
    held: int = 0
    at_once: Callable[[], None] = lambda: None


_state = _State()


@contextmanager
def handled(at_once: Callable[[], None]) -> Iterator[None]:
    """Inside, the first signal is a KeyboardInterrupt, and the second one calls `at_once`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.came = _state.pending = False
    _state.at_once = at_once
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup, and & in scripts
    before = {number: signal.signal(number, _handle) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[None]:
    """Inside, the first signal waits for the end of the block: what is finished is written down, or not begun."""
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1
    if _state.pending and not _state.held:
        _state.pending = False
        raise KeyboardInterrupt


def _handle(_number: int, _frame: FrameType | None) -> None:
    if _state.came:
        _state.at_once()
    _state.came = True
    if _state.held:
        _state.pending = True
        return
    raise KeyboardInterrupt


def signal_workers(number: signal.Signals) -> None:
    """Send it to the children of this process that are not supervisors. Threads and children may end meanwhile."""
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            for pid in children.read_text().split():
                with suppress(OSError):
                    command = Path("/proc", pid, "cmdline").read_bytes()
                    if command and b"supervise.py" not in command:  # empty while a program is being started
                        os.kill(int(pid), number)
