"""The machine interface: one JSON document per run. Schema 1: fields are added, never renamed or removed."""

from __future__ import annotations

import base64
import zlib
from typing import Literal

from pydantic import AwareDatetime, Field

from runner.model import (
    Asked,
    AskedCell,
    Cell,
    CellId,
    ClaimVerdict,
    Level,
    Observation,
    Outcome,
    Plain,
    ProgType,
    Sha256,
    State,
    StructLayout,
    Timings,
    Verdict,
)
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


class ExportedClaim(Plain):
    id: str
    kfunc: str
    prog_type: ProgType
    verdict: Verdict
    expected: str
    observed: str
    crashed: bool
    cause: str  # why there is no answer, or why it does not apply
    known_issue: str  # why it is broken: the id of one of `known_issues`; empty when none explains it
    observation: Observation | None = None  # as it came; null: there is none


class ExportedState(Plain):
    kfunc: str
    object: str
    prog_type: ProgType
    state: State
    errno: int | None
    log: str
    cause: str  # why it is not usable
    hidden: bool = False  # "no answer", and asking again will not help: the kernel refuses before it looks
    prototype: str = ""  # from BTF
    layouts: tuple[StructLayout, ...] = ()  # of the structures that programs hand to it, from BTF
    flags: tuple[str, ...] = ()  # KF_..., as far as the kernel shows them
    level: Level  # the highest that was seen


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
    claims: tuple[ExportedClaim, ...]
    census: tuple[ExportedState, ...]
    config: dict[str, str] = Field(
        default_factory=dict
    )  # of the kernel's own .config, without CONFIG_: y, m, n, or another value
    recipe: ExportedRecipe | None = None


class ExportedIssue(Plain):
    id: str
    what: str
    reason: str
    link: str
    gone: bool  # its kernels were run, and it happens no more


class Export(Plain):
    """The whole document. Cells in the order of the matrix; claims and census by name, then program type."""

    schema_: Literal[1] = Field(default=1, serialization_alias="schema")
    run: ExportedRun
    cells: tuple[ExportedCell, ...]
    known_issues: tuple[ExportedIssue, ...] = ()  # those that this run shows, and those that are gone
    programs: dict[Sha256, str] = Field(default_factory=dict)  # the BPF objects that recipes name: zlib, then base64


def export(judged: JudgedRun, asked: Asked | None = None) -> Export:
    """Every cell that was to run is in it. `asked` is what the run asked, where it was kept."""
    recipes = asked.cells if asked else {}
    objects = asked.objects if asked else {}
    header = judged.run.model_dump(include=set(ExportedRun.model_fields))
    return Export(
        run=ExportedRun(**header),
        cells=tuple(exported_cell(cell, recipes.get(cell.id)) for cell in judged.cells),
        known_issues=tuple(ExportedIssue(**issue.model_dump()) for issue in judged.known_issues),
        programs={digest: base64.b64encode(zlib.compress(content)).decode() for digest, content in objects.items()},
    )


def exported_cell(cell: JudgedCell, asked: AskedCell | None = None) -> ExportedCell:
    """One cell of the document; also what `runner cell show --format json` prints."""
    result = cell.result
    locked = result.cell.kernel
    claims = sorted(cell.claims, key=lambda claim: (claim.id, claim.prog_type))
    seen = {observation.probe: observation for observation in result.observations}
    census = sorted(cell.states, key=lambda state: (state.kfunc, state.prog_type))
    return ExportedCell(
        id=cell.id,
        kernel=ExportedKernel(
            name=result.cell.name,
            version=locked.version,
            release=locked.release,
            source=locked.source,
            sha256=result.build.sha256 or None,
            variant=locked.variant,
            **result.build.model_dump(include={"compiler", "pahole", "lacks"}),
        ),
        arch=result.cell.arch,
        outcome=result.outcome,
        cause=result.cause,
        host=result.host,
        accel=result.accel,
        attempts=result.attempts,
        timings=result.timings,
        claims=tuple(_claim(claim, seen.get(claim.probe)) for claim in claims),
        census=tuple(ExportedState(**state.model_dump()) for state in census),
        config=result.config,
        recipe=ExportedRecipe(cell=result.cell, image_sha256=result.image_sha256 or None, asked=asked),
    )


def _claim(claim: ClaimVerdict, seen: Observation | None) -> ExportedClaim:
    return ExportedClaim(**claim.model_dump(include=set(ExportedClaim.model_fields)), observation=seen)


def to_json(document: Plain) -> str:
    """Indented, and ASCII only: guests choose some of the text, and C1 controls would reach the terminal."""
    return document.model_dump_json(indent=2, by_alias=True, ensure_ascii=True) + "\n"
