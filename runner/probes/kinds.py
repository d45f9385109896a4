"""The kinds of probe, by name, with the states that each knows; the worst first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from runner.model import (
    NETWORK_TYPES,
    NO_ANSWER,
    CellResult,
    ClaimVerdict,
    KfuncState,
    Level,
    Mark,
    Row,
    State,
    StateWord,
    StructLayout,
)
from runner.model.errnos import errno_name, errno_words
from runner.model.layouts import layout_lines
from runner.probes.asks import census_id

NO_ANSWER_WORD = StateWord(NO_ANSWER, -1, Mark("?", "?", "bold magenta"))

Pairs = Iterator[tuple[str, str]]  # (word, text), in the order in which they are shown
Entry = Mapping[str, object]


def _no_pairs(result: CellResult, row: Row) -> Pairs:  # noqa: ARG001
    yield from ()


def _no_words(row: Row) -> str:  # noqa: ARG001
    return ""


def _no_lines(row: Row) -> Iterable[str]:  # noqa: ARG001
    return ()


def _as_it_is(result: CellResult, rows: Sequence[Row]) -> list[Entry]:  # noqa: ARG001
    return [
        {
            "probe": row.probe, "subject": row.subject, "type": row.type, "state": row.state, "verdict": row.verdict,
            "expected": row.expected, "observed": row.observed, "crashed": row.crashed, "cause": row.cause,
            "known_issue": row.known_issue, "hidden": row.hidden, "errno": row.errno, "log": row.log, **row.details,
        }
        for row in rows
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """What reports need to know of a kind of probe."""

    name: str  # also of its section in an export
    states: tuple[StateWord, ...] = ()
    noun: str = "answer"  # what one of its rows is called: "3648 claims"
    subject: str = "subject"  # what its rows are about: the head of that column
    # the types that a run must have an answer of, and that a grid shows unless all are wanted; None: all
    due: frozenset[str] | None = None
    shown: Callable[[CellResult, Row], Pairs] = _no_pairs  # the raw answer behind a row
    brief: Callable[[Row], str] = _no_words  # what a list of states shows besides the state and its cause
    declared: Callable[[Row], Iterable[str]] = _no_lines  # what the kernel declares its subject to be, in lines
    exported: Callable[[CellResult, Sequence[Row]], list[Entry]] = _as_it_is  # its section, JSON

    def word(self, state: str) -> StateWord:
        """How a state is shown."""
        return next((each for each in self.states if each.word == state), NO_ANSWER_WORD)

    def rank(self, state: str) -> int | None:
        """Of two ranks the lower is the worse one. None: not an answer."""
        return next((each.rank for each in self.states if each.word == state), None)

    @property
    def best(self) -> str:
        """The state that needs no explanation; empty where there are no states."""
        return self.states[-1].word if self.states else ""

    def is_due(self, row: Row) -> bool:
        """Does a run lack something when this row has no answer?"""
        return not row.hidden and (self.due is None or row.type in self.due)


# --- claims ----------------------------------------------------------------------------------------------------------


def _claim_shown(result: CellResult, row: Row) -> Pairs:
    for seen in (it for it in result.observations if it.probe == row.probe):
        yield "load", errno_words(seen.load_errno, "the verifier accepted it")
        yield "run", errno_words(seen.run_errno, "it ran")
        yield "returned", "nothing" if seen.retval is None else str(seen.retval)
        for name, value in seen.fields.items():
            yield name, f"{value} ({f'-{errno_name(-value)}' if value < 0 else f'{value:#x}'})"
        if seen.failed:
            yield "not asked", seen.failed


def _claims_exported(result: CellResult, rows: Sequence[Row]) -> list[Entry]:
    seen = {it.probe: it for it in result.observations}
    return [
        {
            "id": row.probe.removesuffix(f":{row.type}"), "kfunc": row.subject, "prog_type": row.type,
            "verdict": row.verdict, "expected": row.expected, "observed": row.observed, "crashed": row.crashed,
            "cause": row.cause, "known_issue": row.known_issue,
            "observation": seen[row.probe].model_dump(mode="json") if row.probe in seen else None,
        }
        for row in rows
    ]  # fmt: skip


# --- census ----------------------------------------------------------------------------------------------------------

_LEVELS = {str(level): f"{at}/{len(Level) - 1} {level}" for at, level in enumerate(Level)}


def _census_shown(result: CellResult, row: Row) -> Pairs:  # noqa: ARG001
    yield "found in", str(row.details["object"]) or "no BTF of this kernel"
    if row.errno is not None and row.state != State.USABLE:  # a bare call is refused where a good one works
        yield "load", errno_words(row.errno, "the verifier accepted it")
    yield "level", _LEVELS[str(row.details["level"])]
    if flags := row.details["flags"]:
        yield "flags", ", ".join(cast("list[str]", flags))


def _census_brief(row: Row) -> str:
    return f"{_LEVELS[str(row.details['level'])]}, in {row.details['object'] or 'no BTF'}"


def _census_declared(row: Row) -> Iterator[str]:
    """The prototype, then each structure that programs hand to it, from BTF."""
    if prototype := str(row.details["prototype"]):
        yield prototype
    for layout in cast("list[object]", row.details["layouts"]):
        yield ""
        yield from layout_lines(StructLayout.model_validate(layout))


def _census_exported(result: CellResult, rows: Sequence[Row]) -> list[Entry]:  # noqa: ARG001
    return [
        {
            "kfunc": row.subject, "object": row.details["object"], "prog_type": row.type, "state": row.state,
            "errno": row.errno, "log": row.log, "cause": row.cause, "hidden": row.hidden,
            **{name: row.details[name] for name in ("prototype", "layouts", "flags", "level")},
        }
        for row in rows
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------

CLAIMS = Kind("claims", noun="claim", subject="kfunc", shown=_claim_shown, exported=_claims_exported)
CENSUS = Kind(
    "census",
    (
        StateWord(State.ABSENT, 0, Mark("-", "-", "bright_black")),
        StateWord(State.NOT_ALLOWED, 0, Mark("✗", "x", "yellow")),
        StateWord(State.REGISTERED, 1, Mark("○", "o", "cyan")),
        StateWord(State.USABLE, 2, Mark("✓", "+", "green")),
    ),
    noun="kfunc",
    subject="kfunc",
    due=frozenset(NETWORK_TYPES),
    shown=_census_shown,
    brief=_census_brief,
    declared=_census_declared,
    exported=_census_exported,
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (CLAIMS, CENSUS)}


def rows_of(result: CellResult, claims: Sequence[ClaimVerdict], states: Sequence[KfuncState]) -> tuple[Row, ...]:
    """The verdicts and states of one cell as rows, in their order."""
    return (*_claims(result, claims), *map(_state, states))


def _claims(result: CellResult, claims: Sequence[ClaimVerdict]) -> Iterator[Row]:
    seen = {observation.probe: observation for observation in result.observations}
    for claim in claims:
        observation = seen.get(claim.probe)
        yield Row(
            kind=CLAIMS.name,
            probe=claim.probe,
            subject=claim.kfunc,
            type=claim.prog_type,
            verdict=claim.verdict,
            cause=claim.cause,
            expected=claim.expected,
            observed=claim.observed,
            crashed=claim.crashed,
            known_issue=claim.known_issue,
            errno=observation.load_errno if observation else None,
            log=observation.log if observation else "",
        )


def _state(state: KfuncState) -> Row:
    return Row(
        kind=CENSUS.name,
        probe=census_id(state.prog_type),
        subject=state.kfunc,
        type=state.prog_type,
        state=state.state,
        cause=state.cause,
        hidden=state.hidden,
        errno=state.errno,
        log=state.log,
        details=state.model_dump(mode="json", include={"object", "prototype", "layouts", "flags", "level"}),
    )
