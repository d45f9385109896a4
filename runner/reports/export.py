"""The machine interface: one JSON document per run. Schema 1: fields are added, never renamed or removed."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from runner.model import CellId, Level, Outcome, Plain, ProgType, Sha256, State, StructLayout, Timings, Verdict
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


def export(judged: JudgedRun) -> Export:
    """Every cell that was to run is in it."""
    header = judged.run.model_dump(include=set(ExportedRun.model_fields))
    return Export(
        run=ExportedRun(**header),
        cells=tuple(exported_cell(cell) for cell in judged.cells),
        known_issues=tuple(ExportedIssue(**issue.model_dump()) for issue in judged.known_issues),
    )


def exported_cell(cell: JudgedCell) -> ExportedCell:
    """One cell of the document; also what `runner cell show --format json` prints."""
    result = cell.result
    locked = result.cell.kernel
    claims = sorted(cell.claims, key=lambda claim: (claim.id, claim.prog_type))
    census = sorted(cell.states, key=lambda state: (state.kfunc, state.prog_type))
    return ExportedCell(
        id=cell.id,
        kernel=ExportedKernel(
            name=result.cell.name,
            version=locked.version,
            release=locked.release,
            source=locked.source,
            sha256=result.kernel_sha256 or None,
        ),
        arch=result.cell.arch,
        outcome=result.outcome,
        cause=result.cause,
        host=result.host,
        accel=result.accel,
        attempts=result.attempts,
        timings=result.timings,
        claims=tuple(ExportedClaim(**claim.model_dump(include=set(ExportedClaim.model_fields))) for claim in claims),
        census=tuple(ExportedState(**state.model_dump()) for state in census),
        config=result.config,
    )


def to_json(document: Plain) -> str:
    """Indented, and ASCII only: guests choose some of the text, and C1 controls would reach the terminal."""
    return document.model_dump_json(indent=2, by_alias=True, ensure_ascii=True) + "\n"
