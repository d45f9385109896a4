# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a guest is asked in a census, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, JsonValue, ValidationError

from runner.model import Answer, CellResult, Plain, ProgType, StructLayout
from runner.probes.kind import nonsense
from runner.probes.verifier import NO_CALLS

NAME = "census"
TAG = "bpf_kfunc"


class CensusBody(Plain):
    """May programs of this type call the kfuncs? One item for each that the kernel's BTF holds.

    The agent asks about all that BTF calls a kfunc, and about `kfuncs` where they are functions of any kind: old
    kernels' BTF does not tell.
    """

    prog_type: ProgType
    kfuncs: tuple[str, ...]


@lru_cache(maxsize=4096)
def _once(layouts: tuple[StructLayout, ...]) -> tuple[StructLayout, ...]:
    """Equal layouts are one object in memory: the kfuncs of a kernel share them, and so do kernels."""
    return layouts


class CensusObservation(Plain):
    """What a kernel answered to "may a program of this type call this kfunc".

    Where the kernel refuses for a reason that can be removed, it was asked `again`: "bound to eth0", "with an arena".
    """

    kfunc: str
    prog_type: ProgType
    object: str = ""  # whose BTF holds it: `vmlinux` or a module; empty: in none that is loaded
    load_errno: int | None = None
    log: str = ""
    failed: str = ""
    again: str = ""
    again_errno: int | None = None
    again_log: str = ""
    prototype: str = ""  # from BTF; empty where it has none
    # of the structures that programs hand to it, as far as they are small
    layouts: Annotated[tuple[StructLayout, ...], AfterValidator(_once)] = ()
    tags: tuple[str, ...] = ()  # the function's declaration tags: bpf_kfunc, bpf_fastcall


@dataclass(frozen=True)
class Taken:
    """The census of one kernel, of all program types."""

    answers: tuple[CensusObservation, ...]  # each with what any answer says of its kfunc
    ended: Mapping[ProgType, str]  # whose census came to its end: empty, or why nothing could be asked
    missing: frozenset[str]  # looked for, and no BTF of the kernel has such a function
    tagged: frozenset[tuple[str, str]]  # that the kernel's own BTF calls kfuncs, each with what holds it
    without_kfuncs: bool  # does the kernel not know what a kfunc is?


def probe_of(prog_type: str) -> str:
    return f"{NAME}:{prog_type}"


def tagged(result: CellResult) -> Iterator[tuple[str, str]]:
    """The kfuncs that the kernel's own BTF calls so, each with what holds it."""
    for it in result.of(NAME):
        if it.item and isinstance(tags := it.body.get("tags"), list) and TAG in tags:
            yield it.item, str(it.body.get("object") or "")


def taken(result: CellResult) -> Taken:
    """What was answered to a census."""
    mine = result.of(NAME)
    told = {it.item: it.body for it in mine if it.item and "object" in it.body}
    names = [it.body.get("missing") for it in mine if not it.item]
    return Taken(
        answers=tuple(_observation(it, told.get(it.item, {})) for it in mine if it.item),
        ended={_prog_type(it): it.failed for it in mine if not it.item},
        missing=frozenset(str(name) for some in names if isinstance(some, list) for name in some),
        tagged=frozenset(tagged(result)),
        without_kfuncs=without_kfuncs(result),
    )


def without_kfuncs(result: CellResult) -> bool:
    """Does the kernel not know what a kfunc is?"""
    return any(NO_CALLS in str(it.body.get("log")) for it in result.of(NAME) if it.item)


def held(result: CellResult) -> frozenset[str]:
    """The names that some BTF of the kernel has. Many times faster than `taken`."""
    return frozenset(it.item for it in result.of(NAME) if it.item and it.body.get("object"))


_ABOUT = ("object", "prototype", "tags", "layouts")


def _prog_type(answer: Answer) -> ProgType:
    return ProgType(answer.probe.partition(":")[2])


def _observation(answer: Answer, told: Mapping[str, JsonValue]) -> CensusObservation:
    about = {name: told[name] for name in _ABOUT if name in told}
    known = {"kfunc": answer.item, "prog_type": _prog_type(answer), "failed": answer.failed}
    try:
        return CensusObservation.model_validate({**about, **answer.body, **known})
    except ValidationError as error:
        return CensusObservation.model_validate({**known, "failed": nonsense(error)})
