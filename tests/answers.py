# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What tests have kernels answer to claims and to a census."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pydantic import JsonValue

from runner.model import Answer, CellResult, ProgType
from runner.probes.census.answers import CensusObservation, Taken, probe_of, taken
from runner.probes.claims.answers import Observation, observations


def seen_of(result: CellResult) -> tuple[Observation, ...]:
    """What was answered to claims, in its order."""
    return tuple(observations(result).values())


def answers_of(
    claims: Iterable[Observation] = (),
    census: Iterable[CensusObservation] = (),
    ended: Mapping[ProgType, str] | None = None,
    missing: Iterable[str] = (),
) -> tuple[Answer, ...]:
    """As an agent says it."""
    return (*_of_census(census, ended or {}, sorted(missing)), *map(_of_claim, claims))


def with_answers(
    result: CellResult,
    *,
    claims: Iterable[Observation] | None = None,
    census: Iterable[CensusObservation] | None = None,
    ended: Mapping[ProgType, str] | None = None,
    missing: Iterable[str] | None = None,
) -> CellResult:
    """The same result with these answers instead."""
    asked: Taken = taken(result)
    answers = answers_of(
        seen_of(result) if claims is None else claims,
        asked.answers if census is None else census,
        asked.ended if ended is None else ended,
        asked.missing if missing is None else missing,
    )
    return result.model_copy(update={"answers": answers})


def _of_claim(seen: Observation) -> Answer:
    body = seen.model_dump(mode="json", exclude={"probe", "failed"}, exclude_defaults=True)
    return Answer(kind="claims", probe=seen.probe, failed=seen.failed, body=body)


def _of_census(
    census: Iterable[CensusObservation], ended: Mapping[ProgType, str], missing: list[str]
) -> Iterator[Answer]:
    for seen in census:
        body = seen.model_dump(mode="json", exclude={"kfunc", "prog_type", "failed"}, exclude_defaults=True)
        yield Answer(kind="census", probe=probe_of(seen.prog_type), item=seen.kfunc, failed=seen.failed, body=body)
    for prog_type, failed in ended.items():
        names: dict[str, JsonValue] = {"missing": [*missing]} if missing else {}
        yield Answer(kind="census", probe=probe_of(prog_type), failed=failed, body=names)
