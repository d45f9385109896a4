"""How far programs of each type were seen to get with a kfunc: computed from what was observed, nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from runner.model import CellResult, CensusObservation, Level, Observation, ProgType, State
from runner.probes.asks import probe_id
from runner.probes.claims import ClaimFile
from runner.probes.matching import matches
from runner.probes.verifier import permission

_RANK = {level: rank for rank, level in enumerate(Level)}


def levels(result: CellResult, files: Iterable[ClaimFile]) -> dict[tuple[str, ProgType], Level]:
    """The highest level of every (kfunc, program type) of which anything was seen. What is not in it is NONE.

    A program that runs has shown the levels below it as well, whatever became of the census.
    """
    found: dict[tuple[str, ProgType], Level] = {}

    def reached(kfunc: str, prog_type: ProgType, level: Level) -> None:
        key = (kfunc, prog_type)
        if key not in found or _RANK[level] > _RANK[found[key]]:
            found[key] = level

    for answer in result.census:
        reached(answer.kfunc, answer.prog_type, _of_census(answer))
    seen = {observation.probe: observation for observation in result.observations}
    for file in files:
        for claim in file.claims:
            for prog_type in claim.types:
                observation = seen.get(probe_id(claim, prog_type))
                if observation:
                    shows = claim.usable and not observation.failed and matches(claim.answer, observation)
                    level = Level.EFFECT if shows else _of_claim(observation)
                    reached(file.kfunc(claim, prog_type), prog_type, level)
    return found


def _of_census(answer: CensusObservation) -> Level:
    if answer.load_errno is not None and permission(answer.load_errno, answer.log).state is State.REGISTERED:
        return Level.MAY_BE_CALLED
    return Level.IN_BTF if answer.object else Level.NONE


def _of_claim(seen: Observation) -> Level:
    """A refused program shows nothing: it may have been refused for another kfunc that it calls."""
    if seen.failed or seen.load_errno != 0:
        return Level.NONE
    return Level.RUNS if seen.run_errno == 0 else Level.LOADS
