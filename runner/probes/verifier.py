# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Reads what the verifier and libbpf said. The only place that knows their texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from pydantic import JsonValue

from runner.model import CellResult, State
from runner.model.words import ENOTSUPP, ERRNO, errno_name

# libbpf replaces a call of a kfunc that the kernel lacks, or an access to a field that it lacks, by a call of a helper
# with one of these impossible numbers (POISON_CALL_KFUNC_BASE, and bpf_core_poison_insn's).
_MISSING = re.compile(r"invalid func unknown#(200[2-9]\d{6}|195896080)")
_FAILURES = {ERRNO[name] for name in ("ENOMEM", "EAGAIN", "EINTR", "ENOSPC", "EMFILE", "ENFILE", "EBUSY", "ETIMEDOUT")}
_PROSE = "Verification failed:"  # v7.3 appends an explanation behind the old words
# Addresses and BTF ids differ from boot to boot and from build to build. `unknown#` has no BTF id behind it, but what
# libbpf says of a call that it did not find; verdicts look at that.
# each begins with letters, which are looked for four times as fast as either of the two
_ADDRESS = re.compile(r"0x(?<=\b0x)[0-9a-f]{12,16}\b")
_ID = re.compile(r"#(?<=\w#)(?<!unknown#)\d{3,}\b")
# The end of a log; "cur state" and "old state" come behind "infinite loop detected at insn 8".
_DULL = ("processed ", "max_states", "-- ", "verification time ", "stack depth ", "subprog ", "cur state", "old state")
_LEAK = "would lead to reference leak"  # the line before says which


@dataclass(frozen=True, slots=True)
class Reading:
    """What a refusal means for the question "may programs of this type call this kfunc?"."""

    state: State
    cause: str
    hidden: bool = False  # refused before the kernel looks at the program type: the answer stays hidden behind that


JIT_OFF = "the BPF JIT is off"  # or there is none: the kernel says the same
NO_JIT = "the kernel is built without a BPF JIT"
NO_KFUNCS = "the kernel has no kfuncs: upstream's verifier accepts calls of them since 5.13"
NO_CALLS = "BPF_CALL uses reserved fields"  # what such a verifier says of a call
NEEDS_DEVICE = "metadata kfuncs require device-bound program"
_CALL = re.compile(r"^\d+: \(85\) call ", re.MULTILINE)  # the verifier got as far as the call

# First match wins. The texts are the same from v6.1 to v7.3 except where it says otherwise.
_TABLE = (
    (NO_CALLS, State.ABSENT, NO_KFUNCS),
    ("JIT is required for calling kernel function", State.NO_ANSWER, JIT_OFF),
    ("JIT does not support calling kernel function", State.NO_ANSWER, "this architecture's JIT cannot call kfuncs"),
    ("not supported without CONFIG_DEBUG_INFO_BTF", State.NO_ANSWER, "the kernel has no BTF"),
    ("cannot call kernel function from non-GPL", State.NO_ANSWER, "the probe is wrong: not GPL"),
    ("kfunc offset > 0 without fd_array", State.NO_ANSWER, "the probe is wrong: no fd_array"),
    ("BTF fd for kfunc is not a module BTF", State.NO_ANSWER, "the probe is wrong: not a module's BTF"),
    ("invalid kernel function call not eliminated", State.NO_ANSWER, "the probe is wrong: no function"),
    ("is not a function", State.NO_ANSWER, "the probe is wrong: not a function"),
    ("functions are allowed for CAP_BPF", State.NO_ANSWER, "no privilege"),
    ("cannot find address for kernel function", State.NOT_ALLOWED, "only in BTF: the kernel has no such function"),
    ("unexpected __bpf_trap()", State.NOT_ALLOWED, "a compiler's mark of what is never reached: always refused"),
)
# v7.3 works out the types of a kfunc's parameters before all else. What it makes of this one depends on no program.
_NO_ARGUMENT = re.compile(r"^R\d+ pointer type UNKNOWN  must point to (void, )?scalar, or struct with scalar$")
_NOT_ALLOWED = re.compile(r"calling kernel function \S+ is not allowed")


@lru_cache(maxsize=4096)  # most kfuncs are refused in the same words, by every kernel of a series
def permission(refused: int, log: str) -> Reading:
    """What loading the smallest program that calls a kfunc has shown."""
    if refused == 0:
        return Reading(State.REGISTERED, "")
    words = plain_words(log)
    if _NOT_ALLOWED.search(words):
        return Reading(State.NOT_ALLOWED, "not registered for this program type")
    for text, state, cause in _TABLE:
        if text in words:
            return Reading(state, cause)
    if trouble := platform_trouble(refused, log):
        return Reading(State.NO_ANSWER, trouble)
    if not verdict_line(log):
        return Reading(State.NO_ANSWER, f"refused without a word: -{errno_name(refused)}")
    if not _CALL.search(words):
        if _NO_ARGUMENT.search(verdict_line(log)):
            return Reading(State.NOT_ALLOWED, f"no program can pass its arguments: {verdict_line(log)}")
        return Reading(State.NO_ANSWER, f"hidden by an earlier refusal: {verdict_line(log)}", hidden=True)
    return Reading(State.REGISTERED, "")


def platform_trouble(refused: int, log: str) -> str:
    """Why a refusal says nothing about a kfunc: no memory, no privilege, no JIT. Empty when it does."""
    words = plain_words(log)
    for text, state, cause in _TABLE:
        if state is State.NO_ANSWER and text in words:
            return cause
    if refused == ENOTSUPP:
        return verdict_line(log) or "the kernel says ENOTSUPP: this platform cannot call kfuncs"
    if refused in _FAILURES or (refused == ERRNO["EPERM"] and not verdict_line(log)):
        return f"loading failed: -{errno_name(refused)}"
    return ""


def without_jit(result: CellResult, cause: str) -> str:
    """A kernel says the same of a JIT that is off and of one that it does not have; its configuration tells."""
    return NO_JIT if cause == JIT_OFF and result.config.get("BPF_JIT") == "n" else cause


def calls_missing(log: str) -> bool:
    """Does the program call a kfunc, or read a field, that libbpf did not find in this kernel?"""
    return bool(_MISSING.search(log))


def plain_words(log: str) -> str:
    """What every kernel says, without the explanation that v7.3 appends and that repeats it in other words."""
    return log.partition(_PROSE)[0]


@lru_cache(maxsize=64)  # a claim is held against one log several times in a row
def steady(log: str) -> str:
    """A log without its particulars: equal for two boots in which the verifier said the same."""
    return _ADDRESS.sub("0xADDRESS", _ID.sub("#ID", log))


@lru_cache(maxsize=4096)  # asked again and again of the same logs
def verdict_line(log: str) -> str:
    """The line in which the verifier says why, without particulars."""
    lines = [line.strip() for line in plain_words(log).splitlines()]
    said = [line for line in lines if line and not line.startswith(_DULL) and not line.endswith(_LEAK)]
    return steady(said[-1]) if said else ""


def says(log: str, words: str) -> bool:
    """Are these words in the log, whole? `nf_conn` is not in `nf_conn___init`. Particulars are not looked at."""
    whole = re.escape(words)  # first: a pattern that begins with letters is searched for much faster
    return re.search(rf"{whole}(?<!\w{whole})(?!\w)", steady(log)) is not None


# --- what was counted while a program was loaded ----------------------------------------------------------------------

# kernel/bpf/verifier.c, print_verification_stats: the last lines of a log of level 4
_COUNTED = re.compile(
    r"^processed (?P<insns>\d+) insns \(limit \d+\) max_states_per_insn (?P<max_states_per_insn>\d+) "
    r"total_states (?P<states>\d+) peak_states (?P<peak_states>\d+)(?: mark_read (?P<mark_read>\d+))?",
    re.MULTILINE,
)
# Of each function; 7.3 has a line for each, and calls the deepest chain of calls "stack depth max".
_STACKS = re.compile(r"^stack depth ([0-9+]+)", re.MULTILINE)
_STACK = re.compile(r"^subprog \d+ .* stack (\d+)$", re.MULTILINE)
_SIZES = ("prog_insns", "prog_bytes", "jited_bytes")  # what no log says
COUNTS = (*_COUNTED.groupindex, "stack_depth_bytes", *_SIZES)


def numbers(body: Mapping[str, JsonValue]) -> dict[str, int]:
    """The numbers by name; none for a map. `stack_depth_bytes` is the sum over the functions, as in veristat."""
    log = str(body.get("log", ""))
    seen = _COUNTED.search(log)
    found = {name: int(value) for name, value in seen.groupdict("0").items()} if seen else {}
    stacks = _STACKS.search(log)
    if depths := stacks[1].split("+") if stacks else _STACK.findall(log):
        found["stack_depth_bytes"] = sum(int(depth) for depth in depths if depth)
    return found | {name: size for name in _SIZES if isinstance(size := body.get(name), int)}
