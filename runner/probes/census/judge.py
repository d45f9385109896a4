"""What the census of a kernel means. Pure; only the kernel's own words make anything but "no answer" of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from runner.model import CellResult, Level, ProgType, Row, State, StructLayout
from runner.model.errnos import errno_name
from runner.probes.census.answers import NAME, CensusObservation, probe_of, taken
from runner.probes.census.kfuncs import KfuncList
from runner.probes.census.reading import absence, asked_types, flags, homes, read, unanswered
from runner.probes.kind import CRASHED, Family, not_asked
from runner.probes.verifier import calls_missing, permission, plain_words, verdict_line, without_jit


@dataclass(frozen=True, slots=True)
class CensusNames:
    """What a project knows about kfuncs: the list, and the kfuncs that its files are about."""

    kfuncs: KfuncList
    families: tuple[Family, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        return self.kfuncs.names.union(*(family.kfunc_names for family in self.families))


class CensusJudge:
    """Judges one cell. `earlier` are rows of probes that ran programs with these kfuncs."""

    def __init__(self, result: CellResult, known: CensusNames, earlier: Sequence[Row]) -> None:
        self._result, self._known, self._asked = result, known, taken(result)
        self._answers = {(answer.kfunc, answer.prog_type): answer for answer in self._asked.answers}
        self._owners = {name: it for it in reversed(known.families) for name in it.kfunc_names}
        self._homes = homes(result, self._asked, {name: it.modules for name, it in self._owners.items()}, known.kfuncs)
        self._shown: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in earlier:
            self._shown[row.subject, row.type].append(row)
        self._flags: dict[str, list[CensusObservation]] = defaultdict(list)
        for answer in self._asked.answers:
            self._flags[answer.kfunc].append(answer)

    def rows(self) -> Iterable[Row]:
        """One for every kfunc that is known or that the cell was asked about, and each program type."""
        types = asked_types(self._asked)
        for kfunc in self._homes:
            shown = flags(self._flags.get(kfunc, ()))
            for prog_type in types:
                yield self._row(kfunc, prog_type, shown)

    def _row(self, kfunc: str, prog_type: ProgType, flags: tuple[str, ...]) -> Row:
        answer, shown = self._answers.get((kfunc, prog_type)), self._shown.get((kfunc, prog_type), ())
        level = max((_reached(shown), _of_census(answer)), key=_RANK.__getitem__)
        refused, log = (answer.load_errno, answer.log) if answer else (None, "")
        hidden = False
        if level is Level.EFFECT:  # it ran: whatever became of the census, the kernel has said yes
            state, cause = State.USABLE, ""
        elif answer is not None and answer.failed:
            state, cause = State.NO_ANSWER, answer.failed
        elif answer is None or refused is None:
            state, cause = self._without_answer(kfunc, prog_type)
        else:
            reading = read(answer)
            state, cause, hidden = reading.state, without_jit(self._result, reading.cause), reading.hidden
            if state is State.REGISTERED:
                more, why = self._unshown(kfunc, shown, loads=refused == 0)
                cause, log = cause or more, why or log
            if answer.again:
                log = f"{plain_words(log).rstrip()}\n\n{answer.again}:\n{answer.again_log}"
        return Row(
            kind=NAME,
            probe=probe_of(prog_type),
            subject=kfunc,
            type=prog_type,
            state=state,
            cause=cause,
            hidden=hidden,
            errno=refused,
            log="" if state is State.USABLE else plain_words(log),
            details=_details(answer, flags, level),
        )

    def _without_answer(self, kfunc: str, prog_type: ProgType) -> tuple[State, str]:
        result = self._result
        if f"{probe_of(prog_type)}:{kfunc}" in result.crashed:
            return State.NO_ANSWER, f"asking {CRASHED}: {result.cause}"
        if cause := unanswered(result, self._asked, prog_type):
            return State.NO_ANSWER, cause
        if prog_type not in self._asked.ended:
            return State.NO_ANSWER, not_asked(result, "the census")
        return absence(result, self._asked, kfunc, self._known.kfuncs, self._homes[kfunc])

    def _unshown(self, kfunc: str, rows: Sequence[Row], *, loads: bool) -> tuple[str, str]:
        """Why a kfunc that may be called was not seen at work, and the log that says so.

        That the smallest call of it loads shows no more than that it may be called: it was not run.
        """
        if kfunc not in self._owners:
            return "a call of it loads; no claim runs it" if loads else "may be called; no claim runs it", ""
        showing = [row for row in rows if row.details.get("usable")]
        answers = [row for row in showing or rows if "level" in row.details]
        for row in answers:
            if row.errno and calls_missing(row.log):
                return str(row.details["missing"]), row.log
            if row.errno:
                return verdict_line(row.log) or f"load refused: -{errno_name(row.errno)}", row.log
        if not showing:
            return "no claim runs it from this program type", ""
        return (
            "may be called; that it works was not seen" if answers else "the claim that would show more was not asked",
            "",
        )


_RANK = {level: rank for rank, level in enumerate(Level)}


def _reached(rows: Iterable[Row]) -> Level:
    """How far programs were seen to get with a kfunc: a program that runs has shown the levels below it as well."""
    return max(
        (Level(str(row.details.get("level", Level.NONE))) for row in rows), key=_RANK.__getitem__, default=Level.NONE
    )


def _of_census(answer: CensusObservation | None) -> Level:
    if answer is None:
        return Level.NONE
    if answer.load_errno is not None and permission(answer.load_errno, answer.log).state is State.REGISTERED:
        return Level.MAY_BE_CALLED
    return Level.IN_BTF if answer.object else Level.NONE


def _details(answer: CensusObservation | None, flags: tuple[str, ...], level: Level) -> dict[str, object]:
    """`object` is whose BTF holds it; `prototype` and `layouts`, of the structures that programs hand to it, are BTF's;
    `flags` are KF_..., as far as the kernel shows them; `level` is how far programs got with it."""
    return {
        "object": answer.object if answer else "",
        "prototype": answer.prototype if answer else "",
        "layouts": _json(answer.layouts) if answer else [],
        "flags": list(flags),
        "level": str(level),
    }


@lru_cache(maxsize=4096)  # the kfuncs of a kernel share them, and so do kernels
def _json(layouts: tuple[StructLayout, ...]) -> list[object]:
    return [layout.model_dump(mode="json") for layout in layouts]
