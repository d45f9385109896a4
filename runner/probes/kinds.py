"""The kinds of probe, by name, with the states that each knows; the worst first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runner.model import (
    NO_ANSWER,
    CellResult,
    ClaimVerdict,
    KfuncState,
    Mark,
    Row,
    State,
    StateWord,
)
from runner.probes.asks import census_id


@dataclass(frozen=True, slots=True)
class Kind:
    """What reports need to know of a kind of probe."""

    name: str
    states: tuple[StateWord, ...] = ()

    def rank(self, state: str) -> int | None:
        """Of two ranks the lower is the worse one. None: not an answer."""
        return next((each.rank for each in self.states if each.word == state), None)


CLAIMS = Kind("claims")
CENSUS = Kind(
    "census",
    (
        StateWord(State.ABSENT, 0, Mark("-", "-", "bright_black")),
        StateWord(State.NOT_ALLOWED, 0, Mark("✗", "x", "yellow")),
        StateWord(State.REGISTERED, 1, Mark("○", "o", "cyan")),
        StateWord(State.USABLE, 2, Mark("✓", "+", "green")),
    ),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (CLAIMS, CENSUS)}
NO_ANSWER_WORD = StateWord(NO_ANSWER, -1, Mark("?", "?", "bold magenta"))


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
