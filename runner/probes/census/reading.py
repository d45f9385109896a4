"""Reads a census: what one answer means, where a kfunc without an answer is, and which flags a kernel shows. Pure."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from functools import lru_cache

from runner.model import NETWORK_TYPES, CellResult, ProgType, State
from runner.probes.census.answers import CensusObservation, Taken, probe_of
from runner.probes.census.kfuncs import VMLINUX, KfuncList
from runner.probes.verifier import NEEDS_DEVICE, Reading, permission, verdict_line


def asked_types(asked: Taken) -> tuple[ProgType, ...]:
    """The program types that have states in a cell: TC and XDP, and what else it was asked about."""
    more = {answer.prog_type for answer in asked.answers} | asked.ended.keys()
    return tuple(it for it in ProgType if it in NETWORK_TYPES or it in more)


def read(answer: CensusObservation) -> Reading:
    """What an answer to a census means; `load_errno` is there.

    Some kfuncs are refused before the kernel looks whether the program type may call them. Where the obstacle can be
    taken away they were asked again, and that answer counts. When the kernel binds no program of this type to a device
    (-EINVAL without a word) then none can ever call what only device-bound programs may.
    """
    first = permission(answer.load_errno or 0, answer.log)
    if answer.again_errno is None:
        return first
    second = permission(answer.again_errno, answer.again_log)
    if second.state is not State.NO_ANSWER:
        return Reading(second.state, f"asked {answer.again}: {second.cause}" if second.cause else "")
    unbindable = answer.again_errno == errno.EINVAL and not answer.again_log.strip()
    if NEEDS_DEVICE in answer.log and unbindable and answer.prog_type is not ProgType.XDP:
        return Reading(State.NOT_ALLOWED, "for device-bound programs only, and none of this type can be bound")
    return first


def unanswered(result: CellResult, asked: Taken, prog_type: ProgType) -> str:
    """Why a whole census has no answer; empty when it came to its end."""
    failed = asked.ended.get(prog_type)
    if failed is not None:
        return failed
    if any(probe == probe_of(prog_type) for probe in result.crashed):
        return "the census crashed the kernel"
    return ""


def homes(
    result: CellResult, asked: Taken, claimed: Mapping[str, tuple[str, ...]], known: KfuncList
) -> dict[str, tuple[str, ...]]:
    """The kfuncs that a cell has states of, by name: those that claims are about, and those it was asked about.

    Each with the objects that hold it on some kernel; of the `claimed` ones at least the modules that they name.
    A name that became known later was not looked for; only a kernel whose BTF itself names all of its kfuncs has then
    still said that this is none of them.
    """
    names = {answer.kfunc for answer in asked.answers}.union(asked.missing, claimed, _deadly(result))
    if asked.tagged:
        names |= known.names
    elsewhere = known.homes()
    return {name: elsewhere.get(name) or claimed.get(name, ()) for name in sorted(names)}


def _deadly(result: CellResult) -> set[str]:
    """The kfuncs that took the guest down when they were asked about."""
    starts = tuple(f"{probe_of(prog_type)}:" for prog_type in ProgType)
    return {probe.rpartition(":")[2] for probe in result.crashed if probe.startswith(starts)}


def absence(result: CellResult, asked: Taken, kfunc: str, known: KfuncList, homes: Iterable[str]) -> tuple[State, str]:
    """A kfunc that has no answer in a census that ended, `homes` being where other kernels have it: absent, or unknown?

    Absent only when everything was there in which it could have been, or the kernel was built without it.
    """
    if VMLINUX not in result.facts.btf:
        return State.NO_ANSWER, "the kernel has no BTF"
    for module in homes:
        option = known.objects[module].config if module in known.objects else ""
        if module != VMLINUX and (missing := _without(result, module, option)):
            return missing
    if kfunc in asked.missing:
        return State.ABSENT, "not in the kernel's BTF"
    if not asked.tagged:
        return State.NO_ANSWER, "the census was not asked about it"
    return State.ABSENT, "the kernel's BTF calls no function of this name a kfunc"


def _without(result: CellResult, module: str, option: str) -> tuple[State, str] | None:
    """What it means for a module's kfuncs that the module is not there; None when it is. `option` builds it."""
    facts, built = result.facts, result.config.get(option, "")
    if built == "n":
        return State.ABSENT, f"CONFIG_{option} is not set"
    if built == "y":
        return None  # then vmlinux has them
    if module not in facts.modules:
        return State.NO_ANSWER, f"module {module} was not loaded"
    if reason := facts.modules[module]:
        return State.NO_ANSWER, f"module {module} did not load: {reason}"
    if module in facts.btf:
        return None
    if result.config.get("DEBUG_INFO_BTF_MODULES") == "n":
        return State.ABSENT, "CONFIG_DEBUG_INFO_BTF_MODULES is not set: no module has kfuncs"
    return State.NO_ANSWER, f"module {module} has no BTF in this kernel"


# What the verifier says when it comes to a flag. Most flags show only where a call goes wrong at just that point.
_FLAGS = (
    ("must be sleepable to call sleepable kfunc", "KF_SLEEPABLE"),
    ("must be a rcu pointer", "KF_RCU"),
    ("Unreleased reference id", "KF_ACQUIRE"),
    ("release kernel function", "KF_RELEASE"),
    ("release kfunc", "KF_RELEASE"),
    ("destructive kfunc calls require", "KF_DESTRUCTIVE"),
    ("CAP_PERFMON", "KF_PERFMON"),
)
_ITERATOR = "expected pointer to an iterator on stack"  # which the kernel takes by name as well
_ITERATOR_FLAGS = {"_new": "KF_ITER_NEW", "_next": "KF_ITER_NEXT", "_destroy": "KF_ITER_DESTROY"}
_TAG_FLAGS = {"bpf_fastcall": "KF_FASTCALL"}


def flags(answers: Iterable[CensusObservation]) -> tuple[str, ...]:
    """The KF_ flags of one kfunc as far as its tags, and the words that refused it, show them."""
    shown: set[str] = set()
    for answer in answers:
        shown |= _shown(answer.kfunc, answer.tags, answer.log, answer.again_log)
    return tuple(sorted(shown))


@lru_cache(maxsize=4096)  # every kernel of a series says the same
def _shown(kfunc: str, tags: tuple[str, ...], *logs: str) -> frozenset[str]:
    words = [verdict_line(log) for log in logs]
    shown = {_TAG_FLAGS[tag] for tag in tags if tag in _TAG_FLAGS}
    shown |= {flag for text, flag in _FLAGS for line in words if text in line}
    if any(_ITERATOR in line for line in words):
        shown |= {flag for end, flag in _ITERATOR_FLAGS.items() if kfunc.endswith(end)}
    return frozenset(shown)
