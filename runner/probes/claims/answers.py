"""What a guest is asked about a claim, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from runner.model import CellResult, Observation, Plain, ProgType, SafeName, Traffic

NAME = "claims"


class Body(Plain):
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


def observations(result: CellResult) -> Mapping[str, Observation]:
    """What was answered to claims, by probe."""
    return {seen.probe: seen for seen in result.observations}
