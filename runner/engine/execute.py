# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`execute`: runs the cells of a plan; those whose answers are kept are not booted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from runner.engine.interrupts import held
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
    from runner.engine.machine import machine_by_name  # noqa: PLC0415

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
