"""Claims turned into questions for one kernel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import Field

from runner.model import NETWORK_TYPES, Ask, Plain, ProgType, SafeName, Traffic
from runner.model.version import KernelVersion
from runner.probes.claims import Claim, ClaimFile
from runner.probes.kfuncs import NO_KFUNCS, KfuncList

FLOW = "flow"  # the input by which every question has a connection of its own


class ClaimBody(Plain):
    """One program: load it with these constants, run it on these inputs, read everything back.

    Names in `constants` are `const volatile` globals of the BPF object (the verifier sees their values), names in
    `inputs` are its writable globals. `sysctl` is set before and restored after.
    With `load_as` or another `license` the program is loaded only: the question is whether the kernel takes it.
    With `netns` a network namespace has that id, as seen from the one in which the program runs.
    With `traffic` the program is attached and sees a flow, instead of being run once on a packet of ours.
    """

    object: SafeName  # bpf/<object>.bpf.c
    program: SafeName  # the function in it
    constants: dict[str, int] = Field(default_factory=dict)
    inputs: dict[str, int] = Field(default_factory=dict)
    sysctl: dict[str, str] = Field(default_factory=dict)
    load_as: ProgType | None = None
    license: str = "GPL"
    netns: int | None = None
    traffic: Traffic | None = None


class CensusBody(Plain):
    """May programs of this type call the kfuncs? One item for each that the kernel's BTF holds.

    The agent asks about all that BTF calls a kfunc, and about `kfuncs` where they are functions of any kind: old
    kernels' BTF does not tell.
    """

    prog_type: ProgType
    kfuncs: tuple[str, ...]


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


def _census(names: tuple[str, ...], prog_types: Iterable[ProgType]) -> Iterator[Ask]:
    for prog_type in prog_types if names else ():
        body = CensusBody(prog_type=prog_type, kfuncs=names)
        yield Ask(kind="census", probe=census_id(prog_type), body=body.model_dump(mode="json"), items=True)


def _claims(files: tuple[ClaimFile, ...], version: KernelVersion) -> Iterator[Ask]:
    number = 0
    for file in files:
        for claim in file.claims:
            for prog_type in claim.types:
                number += 1  # also for what is not asked: a question is the same on every kernel
                if version in claim.interval:
                    body = ClaimBody(
                        object=claim.object or file.object,
                        program=f"{prog_type}_{claim.program}",
                        constants=claim.constants,
                        inputs={FLOW: number, **claim.inputs},
                        sysctl=claim.sysctl,
                        load_as=claim.load_as,
                        license=claim.license,
                        netns=claim.netns,
                        traffic=claim.traffic,
                    )
                    yield Ask(kind="claims", probe=probe_id(claim, prog_type), body=body.model_dump(mode="json"))
