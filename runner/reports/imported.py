"""Reads one cell back from an export, of this machine or another. The text is hostile until parsed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from runner.errors import UserError
from runner.model import AskedCell, Build, CellResult, Crash
from runner.probes.kinds import KINDS
from runner.reports.export import ExportedRecipe
from runner.text import nearest

_MAX_PROGRAM_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Imported:
    """`result` holds the answers to whole probes; those to the items of one are not exported as they came."""

    result: CellResult
    asked: AskedCell | None
    objects: dict[str, bytes]  # by digest


def imported_cell(text: bytes, cell_id: str, where: str) -> Imported:
    """Of `runner report export`, or `runner cell show --format json`. UserError, which names the file `where`."""
    try:
        document = json.loads(text)
        cell = _find(document, cell_id, where)
        if not cell.get("recipe"):
            raise UserError(
                f"{where} does not say how to boot {cell_id} again", hint="export it anew, with a newer version"
            )
        recipe = ExportedRecipe.model_validate(cell["recipe"])
        return Imported(_result(cell, recipe), recipe.asked, dict(_objects(document.get("programs", {}))))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = _first(error) if isinstance(error, ValidationError) else str(error) or type(error).__name__
        raise UserError(
            f"{where} is not an export that this version can read: {reason}",
            hint="`runner report export --format json` makes one",
        ) from None


def _find(document: dict[str, Any], cell_id: str, where: str) -> dict[str, Any]:
    cells = {str(cell["id"]): cell for cell in document.get("cells", [document])}
    if cell_id in cells:
        found: dict[str, Any] = cells[cell_id]
        return found
    hint = nearest(cell_id, cells, f"its cells: {', '.join(cells)[:1000] or 'none'}")
    raise UserError(f"{where} has no cell {cell_id!r}", hint=hint)


def _result(cell: dict[str, Any], recipe: ExportedRecipe) -> CellResult:
    answers = {
        answer.probe: answer
        for kind in KINDS.values()
        for entry in cell.get(kind.name, ())
        if (answer := kind.imported(entry))
    }
    return CellResult(
        cell=recipe.cell,
        outcome=cell["outcome"],
        cause=cell["cause"],
        build=Build(sha256=cell["kernel"]["sha256"] or ""),
        image_sha256=recipe.image_sha256 or "",
        host=cell["host"],
        accel=cell["accel"],
        answers=tuple(answers.values()),
        crashes=tuple(Crash(probe=str(it["probe"]), cause=str(it["cause"])) for it in cell["crashes"]),
    )


def _objects(programs: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """By digest, which is checked. Raises ValueError."""
    for digest, packed in programs.items():
        try:
            content = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), _MAX_PROGRAM_BYTES)
        except (zlib.error, binascii.Error) as error:
            raise ValueError(f"program {digest[:12]}: {error}") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(f"program {digest[:12]} is not what its digest says")
        yield digest, content


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
