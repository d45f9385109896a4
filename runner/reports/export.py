"""The machine interface: one JSON document per run. Schema 1: fields are added, never renamed or removed."""

from __future__ import annotations

import base64
import json
import zlib

from pydantic import AwareDatetime

from runner.model import Asked, AskedCell, Cell, CellId, JudgedSplat, Outcome, Plain, Row, Sha256, Timings
from runner.probes.kinds import KINDS
from runner.results.model import JudgedCell, JudgedRun, RunId


class ExportedRun(Plain):
    id: RunId
    started: AwareDatetime
    finished: AwareDatetime | None  # null: it still goes on, or was killed
    matrix_sha256: Sha256
    runner_version: str
    slots: int | None  # guests at once


class ExportedKernel(Plain):
    name: str  # in the matrix
    version: str  # upstream
    release: str  # uname -r
    source: str
    sha256: Sha256 | None  # null: it was never prepared
    variant: str = ""  # Debian's flavour, but for the generic one
    compiler: str = ""  # as the kernel's own .config has it
    pahole: str = ""
    lacks: tuple[str, ...] = ()  # options that the probes or the guest need and it was built without


class ExportedCrash(Plain):
    """A probe that took the guest down."""

    probe: str
    cause: str


class ExportedSplat(Plain):
    """What the kernel reported by itself."""

    kind: str
    text: str
    lines: tuple[str, ...]
    probe: str  # in flight; empty: none was
    known_issue: str  # the id of one of `known_issues` that allows it


class ExportedRecipe(Plain):
    """All that it takes to boot the cell again and to ask it the same: `runner cell repro --from`."""

    cell: Cell  # with the exact packages of kernel and image
    image_sha256: Sha256 | None  # null: it was never prepared
    asked: AskedCell | None  # null: the run did not keep it


class ExportedCell(Plain):
    id: CellId
    kernel: ExportedKernel
    arch: str
    outcome: Outcome
    cause: str
    host: str
    accel: str
    attempts: int  # 0: it never finished
    timings: Timings
    crashes: tuple[ExportedCrash, ...]
    splats: tuple[ExportedSplat, ...]
    # here each kind of probe has its section: `claims`, `census`; see Kind.exported
    config: dict[str, str]  # of the kernel's own .config, without CONFIG_: y, m, n, or another value
    recipe: ExportedRecipe | None = None


class ExportedIssue(Plain):
    id: str
    what: str
    reason: str
    link: str
    gone: bool  # its kernels were run, and it happens no more


def export(judged: JudgedRun, asked: Asked | None = None) -> dict[str, object]:
    """The whole document: every cell that was to run, in the order of the matrix. `asked` is what the run asked, where
    it was kept: the `programs` are the BPF objects that recipes name, by digest, zlib, then base64.
    """
    recipes = asked.cells if asked else {}
    objects = asked.objects if asked else {}
    run = ExportedRun(**judged.run.model_dump(include=set(ExportedRun.model_fields)))
    issues = [ExportedIssue(**issue.model_dump()) for issue in judged.known_issues]
    return {
        "schema": 1,
        "run": run.model_dump(mode="json"),
        "cells": [exported_cell(cell, recipes.get(cell.id)) for cell in judged.cells],
        "known_issues": [issue.model_dump(mode="json") for issue in issues],  # that this run shows, or that are gone
        "programs": {digest: base64.b64encode(zlib.compress(content)).decode() for digest, content in objects.items()},
    }


def exported_cell(cell: JudgedCell, asked: AskedCell | None = None) -> dict[str, object]:
    """One cell of the document; also what `runner cell show --format json` prints.

    Rows stand by probe and subject, then type: their order does not tell in which they were asked.
    """
    result = cell.result
    pin = result.cell.kernel
    document = ExportedCell(
        id=cell.id,
        kernel=ExportedKernel(
            name=result.cell.name,
            version=pin.version,
            release=pin.release,
            source=pin.source,
            sha256=result.build.sha256 or None,
            variant=pin.variant,
            **result.build.model_dump(include={"compiler", "pahole", "lacks"}),
        ),
        arch=result.cell.arch,
        outcome=result.outcome,
        cause=result.cause,
        host=result.host,
        accel=result.accel,
        attempts=result.attempts,
        timings=result.timings,
        crashes=tuple(ExportedCrash(probe=it.probe, cause=it.cause) for it in result.crashes),
        splats=tuple(ExportedSplat.model_validate(it, from_attributes=True) for it in cell.splats),
        config=result.config,
        recipe=ExportedRecipe(cell=result.cell, image_sha256=result.image_sha256 or None, asked=asked),
    ).model_dump(mode="json")
    rows = sorted(cell.rows, key=lambda row: (_id(row), row.subject if row.state else "", row.type))
    sections = {
        kind.name: kind.exported(result, [row for row in rows if row.kind == kind.name]) for kind in KINDS.values()
    }
    last = {name: document.pop(name) for name in ("config", "recipe")}
    return {**document, **sections, **last}


def exported_probe(cell: JudgedCell, probe: str) -> dict[str, object]:
    """One probe of one cell: what `runner cell show --probe --format json` prints. `answers` are the kernel's, raw."""
    rows = [row for row in cell.rows if row.probe == probe]
    result = cell.result
    return {
        "probe": probe,
        "rows": {kind: KINDS[kind].exported(result, rows) for kind in dict.fromkeys(row.kind for row in rows)},
        "answers": [answer.model_dump(mode="json") for answer in result.answers if answer.probe == probe],
        "crashes": [crash.model_dump(mode="json") for crash in result.crashes if crash.probe == probe],
        "splats": [_splat(splat) for splat in cell.splats if splat.probe == probe],
    }


def _splat(splat: JudgedSplat) -> dict[str, object]:
    return ExportedSplat.model_validate(splat, from_attributes=True).model_dump(mode="json")


def _id(row: Row) -> str:
    return row.probe.removesuffix(f":{row.type}")


def to_json(document: object) -> str:
    """Indented, and ASCII only: guests choose some of the text, and C1 controls would reach the terminal."""
    return json.dumps(document, indent=2) + "\n"
