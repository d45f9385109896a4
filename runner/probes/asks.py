"""Claims turned into questions for one kernel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runner.model import NETWORK_TYPES, Ask, CensusAsk, ClaimAsk, ProgType
from runner.model.version import KernelVersion
from runner.probes.claims import Claim, ClaimFile
from runner.probes.kfuncs import NO_KFUNCS, KfuncList

FLOW = "flow"  # the input by which every question has a connection of its own


def probe_id(claim: Claim, prog_type: ProgType) -> str:
    return f"{claim.id}:{prog_type}"


def census_id(prog_type: ProgType) -> str:
    return f"census:{prog_type}"


def asks_of(
    files: Iterable[ClaimFile],
    version: KernelVersion,
    known: KfuncList = NO_KFUNCS,
    prog_types: Iterable[ProgType] = NETWORK_TYPES,
) -> tuple[Ask, ...]:
    """Everything to ask a kernel of this version. What a claim says nothing about is not asked.

    What may take the kernel down comes last: each such boot costs seconds, and what was answered before is kept.
    `known` are the kfuncs to ask about besides those that the kernel's BTF tells, `prog_types` those of the census.
    """
    files = tuple(files)
    risky = {probe_id(claim, kind) for file in files for claim in file.claims for kind in claim.types if claim.risky}
    names = known.names.union(*(file.kfunc_names for file in files))
    return (
        *_census(tuple(sorted(names)), prog_types),
        *sorted(_claims(files, version), key=lambda ask: ask.probe in risky),
    )


def modules_of(files: Iterable[ClaimFile], known: KfuncList = NO_KFUNCS) -> tuple[str, ...]:
    """The modules to load first, each once, in the order of the files."""
    return tuple(dict.fromkeys([*(module for file in files for module in file.modules), *known.modules]))


def _census(names: tuple[str, ...], prog_types: Iterable[ProgType]) -> Iterator[CensusAsk]:
    for prog_type in prog_types if names else ():
        yield CensusAsk(probe=census_id(prog_type), prog_type=prog_type, kfuncs=names)


def _claims(files: tuple[ClaimFile, ...], version: KernelVersion) -> Iterator[ClaimAsk]:
    number = 0
    for file in files:
        for claim in file.claims:
            for prog_type in claim.types:
                number += 1  # also for what is not asked: a question is the same on every kernel
                if version in claim.interval:
                    yield ClaimAsk(
                        probe=probe_id(claim, prog_type),
                        object=claim.object or file.object,
                        program=f"{prog_type}_{claim.program}",
                        prog_type=prog_type,
                        constants=claim.constants,
                        inputs={FLOW: number, **claim.inputs},
                        sysctl=claim.sysctl,
                        load_as=claim.load_as,
                        license=claim.license,
                        netns=claim.netns,
                        traffic=claim.traffic,
                    )
