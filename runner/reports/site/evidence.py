"""What a click on a square shows, as scripts: a page from the disk may load scripts, and may not fetch.

data/kfunc/<kfunc>.js      states and verdicts of a kfunc in every cell
data/logs/<cell>/<kfunc>.js  the raw observations of its claims in one cell, with the verifier's logs
data/cell/<cell>.js        the guest, and the last lines of its console
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from runner.model import ClaimVerdict, KfuncState, Observation, Outcome, Plain, ProgType, State
from runner.model.errnos import errno_words
from runner.reports.findings import show_command
from runner.reports.layouts import layout_lines
from runner.reports.site.names import OUTCOME_CSS, STATE_CSS, VERDICT_CSS, slug, state_sign, verdict_sign
from runner.results.availability import Availability, Row
from runner.results.model import JudgedCell
from runner.text import counted, lines, plain

Said = Mapping[str, tuple[str, str]]  # claim -> its words, and who says them

_CONSOLE_LINES = 200
_LOG_LINES = 2000
_SHOWN_STATE = frozenset(
    {"kfunc", "object", "prog_type", "state", "cause", "errno", "log", "hidden", "prototype", "layouts"}
)
_SHOWN_CLAIM = frozenset({"id", "probe", "kfunc", "prog_type", "verdict", "expected", "observed", "cause", "crashed"})

_Json = dict[str, object]


@dataclass(slots=True)
class _Texts:
    """Each text once: most kernels say the same."""

    texts: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, text: str) -> int:
        if text not in self.numbers:
            self.numbers[text] = len(self.texts)
            self.texts.append(readable(text))
        return self.numbers[text]


def readable(text: str) -> str:
    """A log without what only a terminal understands; the end of one that never ends."""
    kept = lines(text.rstrip())
    cut = len(kept) - _LOG_LINES
    return "\n".join([f"[{counted(cut, 'line')} before these]", *kept[cut:]] if cut > 0 else kept)


def script(key: str, data: _Json) -> str:
    """A file that hands `data` to the page. ASCII only, so that no byte of it depends on an encoding."""
    return f"evidence({json.dumps(key)}, {json.dumps(data, separators=(',', ':'))});\n"


def kfunc_scripts(grid: Availability, run_id: str, said: Said) -> Iterator[tuple[str, str]]:
    """(path, content) for every kfunc of the grid, and for the logs of its claims."""
    types: dict[str, list[ProgType]] = {}
    for row in grid.rows:
        types.setdefault(row.kfunc, []).append(row.prog_type)
    claims: dict[tuple[str, str], list[ClaimVerdict]] = {}
    for column in grid.columns:
        for claim in column.cell.claims:
            claims.setdefault((column.cell.id, claim.kfunc), []).append(claim)
    for kfunc, prog_types in types.items():
        texts = _Texts()
        cells: dict[str, dict[str, _Json]] = {}
        for column in grid.columns:
            mine = claims.get((column.cell.id, kfunc), [])
            cells[column.cell.id] = {
                prog_type: _square(
                    grid.state(Row(kfunc, prog_type), column), column.cell, mine, run_id=run_id, texts=texts
                )
                for prog_type in prog_types
            }
            if mine:
                key = f"logs/{column.cell.id}/{slug(kfunc)}"
                yield f"data/{key}.js", script(key, _logs(column.cell, mine, said, run_id))
        key = f"kfunc/{slug(kfunc)}"
        yield f"data/{key}.js", script(key, {"kfunc": plain(kfunc), "texts": texts.texts, "cells": cells})


def cell_scripts(grid: Availability, run_id: str) -> Iterator[tuple[str, str]]:
    for column in grid.columns:
        key = f"cell/{column.cell.id}"
        yield f"data/{key}.js", script(key, _cell(column.cell, run_id))


def _square(state: KfuncState, cell: JudgedCell, claims: list[ClaimVerdict], *, run_id: str, texts: _Texts) -> _Json:
    return {
        "state": state.state,
        "css": STATE_CSS[state.state],
        "sign": state_sign(state.state),
        "facts": list(_state_facts(state)),
        "log": texts.number(state.log) if state.log.strip() else None,
        "declared": texts.number(declared) if (declared := declaration(state)) else None,
        "show": show_command(cell.id, run_id=run_id),
        "again": _again(cell),
        "claims": [_claim(claim) for claim in claims if claim.prog_type is state.prog_type],
    }


def _state_facts(state: KfuncState) -> Iterator[tuple[str, str]]:
    if state.cause:
        yield "cause", plain(state.cause)
    yield "found in", plain(state.object) or "no BTF of this kernel"
    if state.errno is not None and state.state is not State.USABLE:  # a bare call is refused where a good one works
        yield "load", errno_words(state.errno, "the verifier accepted it")
    yield from _others(state, _SHOWN_STATE)


def declaration(state: KfuncState) -> str:
    """What the kernel's BTF says: the prototype, then each structure that programs hand to it."""
    blocks = [plain(state.prototype), *("\n".join(layout_lines(layout)) for layout in state.layouts)]
    return "\n\n".join(filter(None, blocks))


def _claim(claim: ClaimVerdict) -> _Json:
    facts = [("expected", plain(claim.expected)), ("observed", plain(claim.observed) or "nothing")]
    if claim.cause:
        facts.append(("cause", plain(claim.cause)))
    facts += _others(claim, _SHOWN_CLAIM)
    return {
        "probe": plain(claim.probe),
        "verdict": "crashed the kernel" if claim.crashed else claim.verdict,
        "css": "bad" if claim.crashed else VERDICT_CSS[claim.verdict],
        "sign": "✗" if claim.crashed else verdict_sign(claim.verdict),
        "facts": facts,
    }


def _logs(cell: JudgedCell, claims: list[ClaimVerdict], said: Said, run_id: str) -> _Json:
    seen = {observation.probe: observation for observation in cell.result.observations}
    made: _Json = {}
    for claim in claims:
        says, source = said.get(claim.id, ("", ""))
        facts = [("says", plain(says))] if says else []
        facts += [("source", plain(source))] if source else []
        observation = seen.get(claim.probe)
        if observation:
            facts += _observed(observation)
        made[plain(claim.probe)] = {
            "facts": facts,
            "log": readable(observation.log) if observation else "",
            "show": show_command(cell.id, claim.probe, run_id),
        }
    return made


def _observed(seen: Observation) -> Iterator[tuple[str, str]]:
    yield "load", errno_words(seen.load_errno, "the verifier accepted it")
    if seen.load_errno == 0:
        yield "run", errno_words(seen.run_errno, "it ran")
    if seen.retval is not None:
        yield "returned", str(seen.retval)
    if seen.fields:
        yield "fields", "  ".join(f"{plain(name)}={_number(value)}" for name, value in seen.fields.items())
    yield from _others(seen, frozenset({"probe", "log", "fields", "load_errno", "run_errno", "retval"}))


def _number(value: int) -> str:
    return str(value) if -4096 < value < 256 else f"{value:#x}"


def _cell(cell: JudgedCell, run_id: str) -> _Json:
    result = cell.result
    locked = result.cell.kernel
    facts = [
        ("outcome", f"{result.outcome}{result.cause and f': {plain(result.cause)}'}"),
        ("kernel", f"{locked.version}, {locked.release}"),
        ("source", locked.source),
        ("built", plain(result.facts.build)),
        ("host", " ".join(filter(None, (plain(result.host), result.accel and f"({plain(result.accel)})")))),
        ("attempts", str(result.attempts)),
        ("JIT", plain(result.facts.jit)),
        ("command line", plain(result.facts.cmdline)),
    ]
    facts += [(f"module {plain(module)}", plain(error) or "loaded") for module, error in result.facts.modules.items()]
    kept = lines(result.console.rstrip()) if result.console.strip() else []
    return {
        "css": OUTCOME_CSS.get(result.outcome, "q"),
        "sign": "✓" if result.outcome is Outcome.RAN else "✗",
        "state": str(result.outcome),
        "facts": [fact for fact in facts if fact[1]],
        "console": "\n".join(kept[-_CONSOLE_LINES:]),
        "show": show_command(cell.id, run_id=run_id),
        "again": _again(cell),
    }


def _again(cell: JudgedCell) -> str:
    """The command that asks this kernel again."""
    wanted = f"arch={cell.result.cell.arch},kernel={cell.result.cell.name}"
    return shlex.join(["runner", "matrix", "run", "--only", wanted])


def _others(of: Plain, shown: frozenset[str]) -> list[tuple[str, str]]:
    """Every further field that has a value, whatever it is."""
    found = of.model_dump(mode="json", exclude=set(shown))
    return [(name.replace("_", " "), _written(value)) for name, value in found.items() if value not in ("", None, [])]


def _written(value: object) -> str:
    return plain(", ".join(map(str, value)) if isinstance(value, list) else str(value))
