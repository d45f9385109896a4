"""A cell as it was booted before, from the store or from another machine's export, ready to be booted again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.caches import cache_root
from runner.cli.judging import judged_run, run_of
from runner.cli.options import Project
from runner.engine.orders import CellOrder
from runner.engine.prepare import cell_orders, order_again, payload
from runner.errors import UserError
from runner.model import AskedCell, CellResult
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.probes import Expectations, compile_objects
from runner.reports.imported import imported_cell
from runner.results.asked import read_asked


@dataclass(frozen=True, slots=True)
class Earlier:
    """`asked` is what the claims say now where the run did not keep it: `kept` is False then.

    `objects` are the BPF objects by their digest, as far as they are known.
    """

    where: str
    run_id: str  # empty: not of this store
    result: CellResult
    asked: AskedCell
    kept: bool
    objects: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Payload:
    """What goes into the guest; `same`: with the very programs of then."""

    tar: bytes
    same: bool


def earlier_of_store(project: Project, expectations: Expectations, cell_id: str, run_id: str | None) -> Earlier:
    """From a run, by default the one with its newest answer. UserError when it has no such cell."""
    judged = judged_run(project, run_id or run_of(project, cell_id))
    cell, run = judged.cell(cell_id), judged.run.id
    asked = read_asked(project.reports, run)
    kept = asked.cells.get(cell.id) if asked else None
    return Earlier(
        where=f"run {run}",
        run_id=run,
        result=cell.result,
        asked=kept or _asked_now(expectations, cell.result),
        kept=kept is not None,
        objects=asked.objects if asked else {},
    )


def earlier_of_file(expectations: Expectations, path: Path, cell_id: str) -> Earlier:
    """From what `runner report export` or `runner cell show --format json` printed. UserError."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    found = imported_cell(text, cell_id, str(path))
    return Earlier(
        where=str(path),
        run_id="",
        result=found.result,
        asked=found.asked or _asked_now(expectations, found.result),
        kept=found.asked is not None,
        objects=found.objects,
    )


def _asked_now(expectations: Expectations, result: CellResult) -> AskedCell:
    (order,) = cell_orders((result.cell,), expectations)
    return AskedCell(asks=order.asks, modules=order.modules, programs={})


def order_of(earlier: Earlier, probe: str = "", *, trace: bool = False) -> CellOrder:
    """What to ask again: one probe, or all. UserError when it was not asked."""
    return order_again(earlier.result.cell, earlier.asked, probe, trace=trace)


def payload_of(project: Project, earlier: Earlier, *, offline: bool, deadline: Deadline) -> Payload:
    """The agent with the programs of then; where they are not at hand, with those that this project compiles to."""
    cell, cache, wanted = earlier.result.cell, cache_root(), earlier.asked.programs
    same = bool(wanted) and all(digest in earlier.objects for digest in wanted.values())
    if same:
        objects = {name: earlier.objects[digest] for name, digest in wanted.items()}
    else:
        order = architecture(cell.arch).byte_order
        names = {str(ask.body["object"]) for ask in earlier.asked.asks if "object" in ask.body}
        objects = compile_objects(project.root, sorted(names), (order,), cache, deadline=deadline)[order]
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in objects.items()}
        same = bool(wanted) and all(wanted.get(name) == digest for name, digest in digests.items())
    return Payload(payload(cell.image, objects, cache, offline=offline, deadline=deadline), same)
