"""Reads what the verifier and libbpf said. The only place that knows their texts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runner.model import State
from runner.probes.claims import ENOTSUPP, ERRNO, errno_name

# libbpf replaces a call of a kfunc that the kernel lacks, or an access to a field that it lacks, by a call of a helper
# with one of these impossible numbers (POISON_CALL_KFUNC_BASE, and bpf_core_poison_insn's).
_MISSING = re.compile(r"invalid func unknown#(200[2-9]\d{6}|195896080)")
_MISSING_KFUNC = re.compile(r"invalid func unknown#200[2-9]\d{6}")
_FAILURES = {ERRNO[name] for name in ("ENOMEM", "EAGAIN", "EINTR", "ENOSPC", "EMFILE", "ENFILE", "EBUSY", "ETIMEDOUT")}
_PROSE = "Verification failed:"  # v7.3 appends an explanation behind the old words
_DULL = ("processed ", "max_states", "-- ", "BPF_EXIT instruction in ")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a refusal means for the question "may programs of this type call this kfunc?"."""

    state: State
    cause: str


# First match wins. The texts are the same from v6.1 to v7.3 except where it says otherwise.
_TABLE = (
    ("is not allowed", State.NOT_ALLOWED, "not registered for this program type"),
    ("JIT is required for calling kernel function", State.NO_ANSWER, "the BPF JIT is off"),
    ("JIT does not support calling kernel function", State.NO_ANSWER, "this architecture's JIT cannot call kfuncs"),
    ("not supported without CONFIG_DEBUG_INFO_BTF", State.NO_ANSWER, "the kernel has no BTF"),
    ("cannot call kernel function from non-GPL", State.NO_ANSWER, "the probe is wrong: not GPL"),
    ("kfunc offset > 0 without fd_array", State.NO_ANSWER, "the probe is wrong: no fd_array"),
    ("BTF fd for kfunc is not a module BTF", State.NO_ANSWER, "the probe is wrong: not a module's BTF"),
    ("invalid kernel function call not eliminated", State.NO_ANSWER, "the probe is wrong: no function"),
    ("is not a function", State.NO_ANSWER, "the probe is wrong: not a function"),
    ("functions are allowed for CAP_BPF", State.NO_ANSWER, "no privilege"),
    ("cannot find address for kernel function", State.NOT_ALLOWED, "only in BTF: the kernel has no such function"),
    # These two are said before the question whether the program type may call it
    ("metadata kfuncs require device-bound program", State.NO_ANSWER, "only device-bound programs may ask"),
    ("requires a program with an associated arena", State.NO_ANSWER, "only programs with an arena may ask"),  # v7.3
)


def permission(refused: int, log: str) -> Reading:
    """What loading the smallest program that calls a kfunc has shown."""
    if refused == 0:
        return Reading(State.REGISTERED, "")
    for text, state, cause in _TABLE:
        if text in log:
            return Reading(state, cause)
    if trouble := platform_trouble(refused, log):
        return Reading(State.NO_ANSWER, trouble)
    if not verdict_line(log):
        return Reading(State.NO_ANSWER, f"refused without a word: -{errno_name(refused)}")
    return Reading(State.REGISTERED, "")


def platform_trouble(refused: int, log: str) -> str:
    """Why a refusal says nothing about a kfunc: no memory, no privilege, no JIT. Empty when it does."""
    for text, state, cause in _TABLE:
        if state is State.NO_ANSWER and text in log:
            return cause
    if refused == ENOTSUPP:
        return verdict_line(log) or "the kernel says ENOTSUPP: this platform cannot call kfuncs"
    if refused in _FAILURES or (refused == ERRNO["EPERM"] and not verdict_line(log)):
        return f"loading failed: -{errno_name(refused)}"
    return ""


def calls_missing(log: str) -> bool:
    """Does the program call a kfunc, or read a field, that libbpf did not find in this kernel?"""
    return bool(_MISSING.search(log))


def lacks_kfunc(log: str) -> bool:
    """Does the program call a kfunc that libbpf did not find, or found with another prototype?"""
    return bool(_MISSING_KFUNC.search(log))


def verdict_line(log: str) -> str:
    """The line in which the verifier says why."""
    lines = [line.strip() for line in log.partition(_PROSE)[0].splitlines()]
    said = [line for line in lines if line and not line.startswith(_DULL)]
    return said[-1] if said else ""


def says(log: str, words: str) -> bool:
    """Are these words in the log, whole? `nf_conn` is not in `nf_conn___init`."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", log) is not None
