# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The machine interface: a run as one JSON document, or as CSV, and one cell read back from the document.

Schema 1: fields are added, never renamed or removed.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from runner.errors import UserError, first_of
from runner.model import NO_ANSWER, Asked, AskedCell, Build, Cell, CellResult, Crash, JudgedSplat, Plain, Sha256
from runner.probes.kinds import KINDS
from runner.results.model import JudgedCell, JudgedRun
from runner.text import nearest, plain

# `finished` is null while it runs, and when it was killed; `slots` are concurrent guests
_RUN_FIELDS = {"id", "started", "finished", "matrix_sha256", "runner_version", "slots"}
_BUILD_FIELDS = {"compiler", "pahole", "lacks"}  # `lacks`: options that the probes or the guest need
_MAX_PROGRAM_BYTES = 64 << 20


class ExportedRecipe(Plain):
    """All that it takes to boot the cell again and to ask it the same: `runner cell repro --from`."""

    cell: Cell  # with the exact packages of kernel and image
    image_sha256: Sha256 | None  # null: it was never prepared
    asked: AskedCell | None  # null: the run did not keep it


def export(judged: JudgedRun, asked: Asked | None = None) -> dict[str, object]:
    """The whole document: every cell that was to run, in the order of the matrix. `asked` is what the run asked, where
    it was kept: the `programs` are the BPF objects that recipes name, by digest, zlib, then base64.
    """
    recipes = asked.cells if asked else {}
    objects = asked.objects if asked else {}
    return {
        "schema": 1,
        "run": {**judged.run.model_dump(mode="json", include=_RUN_FIELDS), "kind": judged.run.kind},
        "cells": [exported_cell(cell, recipes.get(cell.id)) for cell in judged.cells],
        # that this run shows, or that are gone: their kernels were run, and they happen no more
        "known_issues": [issue.model_dump(mode="json") for issue in judged.known_issues],
        "programs": {digest: base64.b64encode(zlib.compress(content)).decode() for digest, content in objects.items()},
    }


def exported_cell(cell: JudgedCell, asked: AskedCell | None = None) -> dict[str, object]:
    """One cell of the document; also what `runner cell show --format json` prints.

    Rows stand by probe and subject, then type: their order does not tell in which they were asked.
    """
    result = cell.result
    pin = result.cell.kernel
    rows = sorted(
        cell.rows, key=lambda row: (row.probe.removesuffix(f":{row.type}"), row.state and row.subject, row.type)
    )
    return {
        "id": cell.id,
        "kernel": {
            "name": result.cell.name,  # in the matrix
            "version": pin.version,  # upstream
            "release": pin.release,  # uname -r
            "source": pin.source,
            "vendor": pin.vendor,
            "sha256": result.build.sha256 or None,  # null: it was never prepared
            "variant": pin.variant,  # Debian's flavour, but for the generic one
            **result.build.model_dump(mode="json", include=_BUILD_FIELDS),
        },
        "arch": result.cell.arch,
        **result.model_dump(mode="json", include={"outcome", "cause", "host", "accel"}),
        "attempts": result.attempts,  # 0: it never finished
        "timings": result.timings.model_dump(mode="json"),
        **reused_from(result),
        "start": result.start,  # of its guests: boot or snapshot
        "no_snapshot": result.no_snapshot or None,  # why a boot took the place of a snapshot
        "crashes": [{"probe": it.probe, "cause": it.cause} for it in result.crashes],  # they took the guest down
        "splats": [_splat(splat) for splat in cell.splats],
        **{it.name: it.exported(result, [row for row in rows if row.kind == it.name]) for it in KINDS.values()},
        "config": result.config,  # of the kernel's own .config, without CONFIG_: y, m, n, or another value
        "recipe": ExportedRecipe(cell=result.cell, image_sha256=result.image_sha256 or None, asked=asked).model_dump(
            mode="json"
        ),
    }


def reused_from(result: CellResult) -> dict[str, object]:
    """`reused_from`: the run whose answers the cell has, null: it was booted. `reused` names each run that gave some of
    them, with its `probes`, null: all. `rechecked`: of a cell that was booted although its answers were known, from
    which runs, and what differs; null: it was not."""
    kept, again = result.kept, result.rechecked
    return {
        "reused_from": kept[0].run if result.is_kept else None,
        "reused": [{**it.model_dump(mode="json"), "probes": it.probes or None} for it in kept],
        "rechecked": {"of": [it.run for it in again.of], "changed": [it.model_dump() for it in again.changed]}
        if again
        else None,
    }


def exported_probe(cell: JudgedCell, probe: str) -> dict[str, object]:
    """One probe of one cell: what `runner cell show --probe --format json` prints. `answers` are the kernel's, raw."""
    rows = [row for row in cell.rows if row.probe == probe]
    result = cell.result
    return {
        "probe": probe,
        "rows": {kind: KINDS[kind].exported(result, rows) for kind in dict.fromkeys(row.kind for row in rows)},
        "answers": [
            it.model_dump(mode="json") for it in result.answers if probe in (it.probe, f"{it.probe}/{it.item}")
        ],
        "crashes": [crash.model_dump(mode="json") for crash in result.crashes if crash.probe == probe],
        "splats": [_splat(splat) for splat in cell.splats if splat.probe == probe],
    }


def _splat(splat: JudgedSplat) -> dict[str, object]:
    """What the kernel reported by itself. `probe` was in flight, empty: none was; `known_issue` allows it."""
    return {name: getattr(splat, name) for name in ("kind", "text", "lines", "probe", "known_issue")}


def to_json(document: object) -> str:
    """Indented, and ASCII only: guests choose some of the text, and C1 controls would reach the terminal."""
    return json.dumps(document, indent=2) + "\n"


# --- CSV, for spreadsheets and data frames: one line per cell, and per verdict and state of each program type

COLUMNS = (
    "run", "started", "cell", "kernel", "version", "release", "arch",
    "about",  # cell, or what the kind of probe calls its rows
    "id",  # of the cell, or of what is expected; empty for a state
    "kfunc",  # what the row is about
    "prog_type",
    "answer",  # the cell's outcome, the row's verdict or state
    "expected", "observed", "errno", "object", "crashed", "cause", "seconds", "splats",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@")

_Row = dict[str, str | int | float | None]


def csv_table(judged: JudgedRun) -> str:
    """As RFC 4180 has it, in UTF-8; the first line names the columns. A field that does not apply is empty.

    A text that a spreadsheet would take for a formula begins with an apostrophe: guests choose some of the texts.
    """
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    for cell in judged.cells:
        kernel = cell.result.cell.kernel
        of = (judged.run_of(cell.id), judged.started_of(cell.id).isoformat(), cell.id, cell.result.cell.name)
        same = dict(zip(COLUMNS, (*of, kernel.version, kernel.release, cell.result.cell.arch), strict=False))
        for part in _parts(cell):
            line = {name: _safe(it) if isinstance(it, str) else it for name, it in (same | part).items()}
            writer.writerow(line)
    return out.getvalue()


def _parts(cell: JudgedCell) -> Iterator[_Row]:
    result = cell.result
    yield {
        "about": "cell",
        "id": cell.id,
        "answer": str(result.outcome),
        "crashed": len(result.crashed),
        "splats": len(cell.splats),
        "cause": result.cause,
        "seconds": result.timings.total_s,
    }
    for row in cell.rows:
        judged = row.verdict is not None
        yield {
            "about": KINDS[row.kind].noun,
            "id": row.probe.removesuffix(f":{row.type}") if judged else "",
            "kfunc": row.subject,
            "prog_type": row.type,
            "answer": str(row.verdict) if judged else row.state,
            "expected": row.expected,
            "observed": row.observed,
            "errno": None if judged else row.errno,
            "object": str(row.details.get("object", "")),
            "crashed": int(row.crashed) if judged else None,
            "cause": row.cause,
        }


def _safe(text: str) -> str:
    line = plain(text)
    return f"'{line}" if line.startswith(_FORMULA) else line


# --- CSV as `veristat -C` and `-R` read it: the programs that were given to the verifier, from their exported form

# The columns of veristat 0.5's CSV, in its order, and the number that each shows.
_VERISTAT = {
    "total_insns": "insns",
    "total_states": "states",
    "peak_states": "peak_states",
    "max_states_per_insn": "max_states_per_insn",
    "max_mark_read_len": "mark_read",
    "prog_size": "prog_insns",
    "prog_size_jited": "jited_bytes",
}


def veristat_csv(cell: JudgedCell) -> str:
    """As veristat prints it: by file and program. Empty when no program was given to the verifier."""
    lines = [_veristat_line(program) for program in _programs(cell)]
    if not lines:
        return ""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, lines[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(lines, key=lambda line: (line["file_name"], line["prog_name"])))
    return out.getvalue()


def _programs(cell: JudgedCell) -> Iterator[Mapping[str, Any]]:
    """The entries of an export, of any kind, that are of programs with an answer."""
    for name, kind in KINDS.items():
        for entry in kind.exported(cell.result, [row for row in cell.rows if row.kind == name]):
            if entry.get("what") == "program" and entry.get("answer") not in (None, NO_ANSWER):
                yield entry


def _veristat_line(entry: Mapping[str, Any]) -> dict[str, Any]:
    """By veristat's columns. What was not counted is 0, memory -1."""
    numbers, raw = entry["numbers"], entry["raw"]
    return {
        "file_name": entry["file"],
        "prog_name": entry["name"],
        "verdict": "failure" if entry["errno"] else "success",
        "duration": raw.get("duration_us", 0),
        **{column: numbers.get(name, 0) for column, name in _VERISTAT.items()},
        "prog_type": raw.get("type") or "unspec",
        "attach_type": raw.get("attach_type") or "N/A",
        "stack_depth": numbers.get("stack_depth_bytes", 0),
        "mem_peak": numbers.get("peak_mem_mib", -1),
    }


# --- read back, of this machine or another: the text is hostile until parsed -----------------------------------------


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
        reason = first_of(error) if isinstance(error, ValidationError) else str(error) or type(error).__name__
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
        (answer.probe, answer.item): answer
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
