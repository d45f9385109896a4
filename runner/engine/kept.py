# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Answers that are kept: what the store has of the very same guest and the very same question is not asked again.

Only what was answered in an undisturbed cell is kept, and the newest answer decides: one that is missing, or of a guest
in which something went wrong, is asked again, whatever an older one said.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from runner.engine.fleet import Machine, machine_by_name
from runner.engine.keptanswers import Holds, KeptAnswers, by_probe
from runner.engine.plan import AGENT, CellOrder, KnownProbes, Plan
from runner.engine.storing import asked_of
from runner.errors import InfraError
from runner.model import Answer, Ask, AskedCell, Cell, CellResult, Kept
from runner.model.architecture import architecture
from runner.model.cells import AnswerKey, GuestKey, Tools, files_digest
from runner.probes.kinds import KINDS
from runner.results.packed import unbooted
from runner.results.store import ResultStore
from runner.results.stored import StoredResult


def keep(plan: Plan, store: ResultStore, *, holds: Holds, recheck_percent: float = 0) -> Plan:
    """The plan, with what need not be asked. Of the cells that need no boot, so many are booted, to see if it is so.

    Which ones changes with the id of the run. `holds`: what its programs counted may differ within what a claim says.
    """
    guests = _Guests(plan, store, machine_by_name(plan.machine, offline=plan.offline))
    keys = {order.cell.id: guests.of(order) for order in plan.orders}
    wanted = {key for each in keys.values() for key in each.digests}
    stored = store.keepable(wanted, snapshots=any(order.snapshot for order in plan.orders))
    asked = asked_of(plan.orders, plan.payload).cells
    kept: dict[str, KeptAnswers] = {}
    for order in plan.orders:
        mine = keys[order.cell.id]
        found = [_kept(order, asked[order.cell.id], store, it, stored[it]) for it in mine.digests if it in stored]
        if not mine.sure:  # the worker that prepares the kernel sees whether it is this one
            found = [it and replace(it, instead=False) for it in found]
        if best := max(filter(None, found), key=_reach, default=None):
            kept[order.cell.id] = best
    whole = [cell_id for cell_id, it in kept.items() if it.instead]
    number = math.ceil(len(whole) * recheck_percent / 100)
    for cell_id in random.Random(plan.run.id).sample(whole, number):  # noqa: S311
        kept[cell_id] = replace(kept[cell_id], instead=False, recheck=True, holds=holds)
    return replace(plan, kept=kept, orders=tuple(_order(order, kept.get(order.cell.id)) for order in plan.orders))


def _reach(kept: KeptAnswers) -> int:
    return len({answer.probe for answer in kept.result.answers})


def _order(order: CellOrder, kept: KeptAnswers | None) -> CellOrder:
    if kept is None or kept.instead:
        return order
    if kept.recheck:
        return order.model_copy(update={"snapshot": False})
    probes = tuple(dict.fromkeys(answer.probe for answer in kept.result.answers))
    return order.model_copy(update={"known": KnownProbes(guest=kept.result.guest, probes=probes)})


@dataclass(frozen=True, slots=True)
class _Keys:
    """Of the guests that a cell may get, one for each kind of host. `sure`: its kernel and image are known."""

    digests: tuple[str, ...] = ()
    sure: bool = True


class _Guests:
    """The keys of the guests that cells may get, for what is known of machines and of what their caches hold."""

    def __init__(self, plan: Plan, store: ResultStore, here: Machine) -> None:
        self._here = here
        self._store = store
        self._hosts = plan.fleet.hosts
        self._agents = {it: files_digest(files, AGENT) for it, files in plan.payload.items()}
        self._tools: dict[str, tuple[Tools, ...]] = {}  # by architecture

    def of(self, order: CellOrder) -> _Keys:
        """What this machine does not have in its cache is taken to be what it was in an earlier run."""
        cell = order.cell
        here, agent = self._here.digests(cell), self._agents.get(architecture(cell.arch).byte_order)
        digests = here or self._earlier(cell)
        if digests is None or agent is None or order.trace or order.gdb:
            return _Keys()
        if cell.arch not in self._tools:
            self._tools[cell.arch] = tuple(dict.fromkeys(self._of_hosts(cell)))
        kernel, image = digests
        keys = (
            GuestKey.of(cell, order.modules, tools, kernel=kernel, image=image, agent=agent)
            for tools in self._tools[cell.arch]
        )
        return _Keys(tuple(key.digest for key in keys), sure=here is not None)

    def _earlier(self, cell: Cell) -> tuple[str, str] | None:
        """The digests of the kernel and the image that were made of the same packages and files."""
        wanted = _made_of(cell)
        mine = (it for it in reversed(self._finals) if it.build.sha256 and _made_of(it.cell) == wanted)
        last = next(mine, None)
        return (last.build.sha256, self._store.result(last).image_sha256) if last and cell.kernel.digests else None

    @cached_property
    def _finals(self) -> tuple[StoredResult, ...]:
        return self._store.finals()

    def _of_hosts(self, cell: Cell) -> Iterator[Tools]:
        for host in self._hosts:
            if cell.arch not in host.slots:
                continue
            if host.ssh:
                yield from filter(None, [host.tools.get(cell.arch)])
                continue
            try:
                yield self._here.tools(cell)
            except InfraError:  # it is said when the cell is booted
                continue


def _made_of(cell: Cell) -> tuple[object, ...]:
    return cell.kernel.release, cell.kernel.digests, cell.image


def _kept(
    order: CellOrder, asked: AskedCell, store: ResultStore, guest: str, stored: Iterable[StoredResult]
) -> KeptAnswers | None:
    """What the results of one guest have of an order; None: nothing."""
    stored = list(stored)
    steady = [ask for ask in order.asks if KINDS[ask.kind].steady]
    if stored[0].is_whole and len(steady) == len(order.asks) and store.was_asked(stored[0], asked):
        result = store.result(stored[0])
        same = result.cell == order.cell
        origin = _origins(stored[0], [ask.probe for ask in order.asks])
        return KeptAnswers(_as_kept(result, order.cell, origin, whole=True), stored[0].seq if same else 0, instead=True)
    keys = {ask.probe: _key(guest, ask, asked) for ask in steady}
    open_, taken, origins = dict(keys), dict[str, list[Answer]](), dict[str, Kept]()
    last: CellResult | None = None
    for each in stored:
        if not (open_ and (theirs := store.asked_of(each))):
            break
        result = store.result(each)
        where = {probe: it for it in each.kept for probe in it.probes}
        others = next((it for it in each.kept if not it.probes), each.source)
        answers = by_probe(result.answers)
        for ask in theirs.asks:
            if open_.get(ask.probe) != _key(guest, ask, theirs):
                continue
            del open_[ask.probe]
            if _is_complete(mine := answers.get(ask.probe, [])):
                taken[ask.probe] = mine
                origins[ask.probe] = where.get(ask.probe, others)
                last = _joined(last, result)
    if last is None:
        return None
    every = tuple(answer for ask in order.asks for answer in taken.get(ask.probe, ()))
    instead = len(taken) == len(order.asks)
    last = last.model_copy(update={"answers": every})
    return KeptAnswers(_as_kept(last, order.cell, _grouped(origins), whole=instead), instead=instead)


def _joined(newer: CellResult | None, result: CellResult) -> CellResult:
    """The newest one stands for all; but an answer of a guest that was started from a snapshot is no boot's."""
    if newer is None:
        return result
    return newer.model_copy(update={"start": "snapshot"}) if result.start == "snapshot" else newer


def _key(guest: str, ask: Ask, asked: AskedCell) -> AnswerKey:
    kind = KINDS[ask.kind]
    return AnswerKey(guest=guest, ask=kind.essence(ask), programs=kind.programs(ask, asked.programs))


def _is_complete(answers: Iterable[Answer]) -> bool:
    """Did it come to its end, and has each item an answer?"""
    answers = list(answers)
    return any(not it.item for it in answers) and not any(it.failed for it in answers)


def _as_kept(result: CellResult, cell: Cell, kept: tuple[Kept, ...], *, whole: bool) -> CellResult:
    if whole and len(kept) == 1:
        kept = (kept[0].model_copy(update={"probes": ()}),)
    return unbooted(result).model_copy(update={"cell": cell, "kept": kept, "unasked": ()})


def _origins(of: StoredResult, probes: Iterable[str]) -> tuple[Kept, ...]:
    """Where the answers of a result were given: there, or earlier."""
    if any(not it.probes for it in of.kept) or not of.kept:
        return of.kept or (of.source,)
    earlier = {probe for it in of.kept for probe in it.probes}
    rest = tuple(probe for probe in probes if probe not in earlier)
    return (*of.kept, of.source.model_copy(update={"probes": rest})) if rest else of.kept


def _grouped(origins: Mapping[str, Kept]) -> tuple[Kept, ...]:
    """One for each run, with its probes."""
    runs: dict[str, tuple[Kept, list[str]]] = {}
    for probe, origin in origins.items():
        runs.setdefault(origin.run, (origin, []))[1].append(probe)
    return tuple(it.model_copy(update={"probes": tuple(probes)}) for it, probes in runs.values())
