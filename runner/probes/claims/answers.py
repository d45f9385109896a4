"""What a guest is asked about a claim, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, ValidationError

from runner.model import Answer, CellResult, Plain, ProgType, SafeName, Traffic
from runner.probes.kind import nonsense

NAME = "claims"


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


class Observation(Plain):
    """What a kernel answered to a claim, as it came. Not interpreted.

    `errno` is positive. `fields` are the members of the program's `result` global after the run; after a flow also what
    was seen of it and of its entry in the kernel's table, see FIELDS of runner/agent/traffic.py.
    `failed` says why the agent itself could not ask; then there is no answer.
    """

    probe: str
    load_errno: int | None = None  # 0: the verifier took it; None: never got that far
    log: str = ""  # libbpf's and the verifier's words
    run_errno: int | None = None
    retval: int | None = None
    fields: dict[str, int] = Field(default_factory=dict)
    failed: str = ""


def observations(result: CellResult) -> Mapping[str, Observation]:
    """What was answered to claims, by probe."""
    return {answer.probe: _observation(answer) for answer in result.answers if answer.kind == NAME}


def observation(result: CellResult, probe: str) -> Observation | None:
    """What was answered to one."""
    mine = (_observation(it) for it in result.answers if it.probe == probe and it.kind == NAME)
    return next(mine, None)


def _observation(answer: Answer) -> Observation:
    try:
        return Observation.model_validate({**answer.body, "probe": answer.probe, "failed": answer.failed})
    except ValidationError as error:
        return Observation(probe=answer.probe, failed=nonsense(error))
