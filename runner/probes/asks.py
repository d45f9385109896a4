"""Claims turned into questions for one kernel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runner.model import Ask, CensusAsk, ClaimAsk, ProgType
from runner.probes.claims import Claim, ClaimFile
from runner.version import KernelVersion

FLOW = "flow"  # the input by which every question has a connection of its own


def probe_id(claim: Claim, prog_type: ProgType) -> str:
    return f"{claim.id}:{prog_type}"


def census_id(prog_type: ProgType) -> str:
    return f"census:{prog_type}"


def asks_of(files: Iterable[ClaimFile], version: KernelVersion) -> tuple[Ask, ...]:
    """Everything to ask a kernel of this version. What a claim says nothing about is not asked."""
    files = tuple(files)
    return (*_census(files), *_claims(files, version))


def modules_of(files: Iterable[ClaimFile]) -> tuple[str, ...]:
    """The modules to load first, each once, in the order of the files."""
    return tuple(dict.fromkeys(module for file in files for module in file.modules))


def _census(files: tuple[ClaimFile, ...]) -> Iterator[CensusAsk]:
    names = tuple(sorted({name for file in files for name in file.kfunc_names}))
    for prog_type in ProgType if names else ():
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
