"""Did another run get the same answers? Cell by cell: outcome, errnos, verdicts, states; not what may vary, such as the
milliseconds left of a timeout, addresses in a log, or which host ran it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runner.model import CellResult, Observation, Plain
from runner.results.model import JudgedCell, JudgedRun

_NOTHING = "nothing"


class Difference(Plain):
    """`what`: a probe, `kfunc (type)`, or `outcome`."""

    cell: str
    what: str
    before: str
    after: str


def differences(before: JudgedRun, after: JudgedRun) -> tuple[Difference, ...]:
    """Empty when both runs have the same cells and each gave the same answers. In the order of `before`."""
    cells = {cell.id: cell for cell in after.cells}
    found: list[Difference] = []
    for cell in before.cells:
        other = cells.pop(cell.id, None)
        if other is None:
            found.append(Difference(cell=cell.id, what="cell", before="in the run", after="not in the run"))
        else:
            found += _between(cell.id, _answers(cell), _answers(other))
    found += [Difference(cell=name, what="cell", before="not in the run", after="in the run") for name in cells]
    return tuple(found)


def _between(cell: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    for what in dict.fromkeys((*before, *after)):
        was, now = before.get(what, _NOTHING), after.get(what, _NOTHING)
        if was != now:
            yield Difference(cell=cell, what=what, before=was, after=now)


def _answers(cell: JudgedCell) -> dict[str, str]:
    result = cell.result
    answers = {"outcome": str(result.outcome), "kernel": result.kernel_sha256}
    errnos = {seen.probe: _errnos(seen) for seen in result.observations}
    for claim in cell.claims:
        parts = [str(claim.verdict), errnos.get(claim.probe, ""), "crashed the kernel" if claim.crashed else ""]
        answers[claim.probe] = ", ".join(filter(None, parts))
    for state in cell.states:
        where = state.object or "no BTF"
        errno = "" if state.errno is None else f", errno {state.errno}"
        answers[f"{state.kfunc} ({state.prog_type})"] = f"{state.state}, {state.level}, in {where}{errno}"
    answers |= _open(result)
    return answers


def _errnos(seen: Observation) -> str:
    if seen.failed:
        return "failed"
    return f"load {_number(seen.load_errno)}, run {_number(seen.run_errno)}"


def _open(result: CellResult) -> dict[str, str]:
    return {f"{probe} asked": "never answered" for probe in result.unasked}


def _number(errno: int | None) -> str:
    return "not reached" if errno is None else str(errno)
