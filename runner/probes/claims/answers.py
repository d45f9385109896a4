# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a guest is asked about a claim, what it answers, and whether that is what was predicted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field, ValidationError

from runner.model import Answer, CellResult, Plain, ProgType, SafeName, Traffic
from runner.model.words import ERRNO, errno_name
from runner.probes.claims.written import Claim, Packet, Pattern, Range, Refusal, Wire
from runner.probes.kind import nonsense
from runner.probes.verifier import says, steady, verdict_line

NAME = "claims"
UNTOUCHED = 0x12345678  # what the programs leave in opts.error before they call
NOT_WRITTEN = "not written"
_MOST_WRITTEN = 200  # characters of a stream that are shown


class RunSetting(Plain):
    """What a run needs besides the program. `namespace` has the commands that make it in NAME.ip, beside the agent."""

    namespace: str = ""
    prepare: str = ""  # this program is run first
    packet: Packet = Packet()
    wire: Wire | None = None
    bound: str = ""  # to this device
    later: bool = False  # wait for `result.done`
    streams: bool = False  # read what the program writes to them


class ClaimBody(Plain):
    """One program: load it with these constants, run it on these inputs, read everything back.

    Names in `constants` are `const volatile` globals of the BPF object (the verifier sees their values), names in
    `inputs` are its writable globals. `sysctl` is set before and restored after.
    With `load_as` or another `license` the program is loaded only: the question is whether the kernel takes it.
    With `netns` a network namespace has that id, as seen from the one in which the program runs.
    With `traffic` the program is attached and sees a flow, instead of being run once on a packet of ours.
    `module` holds the kfunc: where it is not loaded nothing is asked. Where all `modules` are loaded the kernel looks
    for no others.
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
    run: bool = True
    refused: bool = False  # the claim says so: for speed alone
    setting: RunSetting | None = None
    module: str = ""
    modules: tuple[SafeName, ...] = ()


class Observation(Plain):
    """What a kernel answered to a claim, as it came. Not interpreted.

    `errno` is positive. `fields` are the members of the program's `result` global after the run; after a flow also what
    was seen of it and of its entry in the kernel's table, see FIELDS of runner/agent/traffic.py.
    `failed` says why the agent itself could not ask; then there is no answer.
    """

    probe: str
    load_errno: int | None = None  # 0: the verifier took it; None: never got that far
    log: str = ""  # libbpf's and the verifier's words
    unresolved: str = ""  # the kfunc of the refused call, which libbpf did not find, or with another prototype only
    run_errno: int | None = None
    retval: int | None = None
    fields: dict[str, int] = Field(default_factory=dict)
    stdout: str = ""  # what the program wrote to its streams, of claims that are about them
    stderr: str = ""
    failed: str = ""


def observations(result: CellResult) -> Mapping[str, Observation]:
    """What was answered to claims, by probe."""
    return {answer.probe: _observation(answer) for answer in result.of(NAME)}


def observation(result: CellResult, probe: str) -> Observation | None:
    """What was answered to one."""
    return next((_observation(it) for it in result.of(NAME) if it.probe == probe), None)


def _observation(answer: Answer) -> Observation:
    try:
        return Observation.model_validate({**answer.body, "probe": answer.probe, "failed": answer.failed})
    except ValidationError as error:
        return Observation(probe=answer.probe, failed=nonsense(error))


# --- held against what a claim predicts ------------------------------------------------------------------------------


def matches(pattern: Pattern, seen: Observation) -> bool:
    """Is the observation what the pattern says? Both must be of a program that was given to the kernel."""
    if isinstance(pattern.load, Refusal):
        return bool(seen.load_errno) and _refused_as(pattern.load, seen)
    if pattern.load == "refused":
        return bool(seen.load_errno)
    if seen.load_errno != 0 or (seen.run_errno != 0 and pattern.load == "ok"):
        return False
    written = pattern.stdout in seen.stdout and pattern.stderr in seen.stderr
    return written and all(name in seen.fields and _is(it, seen.fields[name]) for name, it in pattern.fields.items())


def names_words(pattern: Pattern) -> bool:
    """Does the pattern say with which words the kernel refuses the program?"""
    return isinstance(pattern.load, Refusal) and bool(pattern.load.log)


def statement_true(claim: Claim, seen: Observation) -> bool | None:
    """Is what the claim says true on the kernel that was seen? None when the kernel was not asked."""
    if seen.failed or seen.load_errno is None:
        return None
    return matches(claim.answer, seen)


def _refused_as(refusal: Refusal, seen: Observation) -> bool:
    if refusal.errno is not None and ERRNO[refusal.errno] != seen.load_errno:
        return False
    return not refusal.log or any(says(seen.log, words) for words in refusal.log)


def _is(expected: int | str | Range, number: int) -> bool:
    if isinstance(expected, Range):
        return expected.min <= number <= expected.max
    return number == (_number(expected) if isinstance(expected, str) else expected)


def _number(name: str) -> int:
    """-EINVAL -> -22"""
    return -ERRNO[name[1:]] if name.startswith("-") else ERRNO[name]


def expected_words(pattern: Pattern) -> str:
    """`error -EINVAL, acquired 0`; `load refused: -EACCES, "..."`."""
    if isinstance(pattern.load, Refusal):
        parts = [f"-{pattern.load.errno}"] if pattern.load.errno else []
        parts += [" or ".join(f'"{words}"' for words in pattern.load.log)] if pattern.load.log else []
        return "load refused" + (": " + ", ".join(parts) if parts else "")
    if pattern.load != "ok":
        return "loads" if pattern.load == "loads" else "load refused"
    parts = [f"{name} {value_words(name, value)}" for name, value in pattern.fields.items()]
    parts += [f"{name} {text!r}" for name, text in _texts(pattern)]
    return ", ".join(parts) or "loads and runs"


def _texts(pattern: Pattern) -> Iterable[tuple[str, str]]:
    """The streams of which something is expected, and what."""
    return ((name, text) for name, text in (("stdout", pattern.stdout), ("stderr", pattern.stderr)) if text)


def observed_words(pattern: Pattern, seen: Observation) -> str:
    """What was seen, as far as the pattern is about it."""
    if seen.load_errno is None:
        return ""
    if seen.load_errno:
        line = verdict_line(seen.log)
        return f"load refused: -{errno_name(seen.load_errno)}" + (f', "{line}"' if line else "")
    if seen.run_errno:
        return f"run failed: -{errno_name(seen.run_errno)}"
    names = pattern.fields or {name: value for name, value in seen.fields.items() if value}
    shown = [f"{name} {value_words(name, seen.fields[name])}" for name in names if name in seen.fields]
    shown += [_written((text,), name, seen) for name, text in _texts(pattern)]
    return ", ".join(shown) or "loads and runs"


def answer_words(claim: Claim, seen: Observation) -> str:
    """What was answered, in words that are equal where kernels behave alike.

    Only the fields that the claim names count; all values within one of its ranges are one answer.
    """
    if seen.load_errno:
        words = f"load refused: -{errno_name(seen.load_errno)}"
        return (
            f"{words}, for another reason" if names_words(claim.answer) and not matches(claim.answer, seen) else words
        )
    if seen.run_errno:
        return f"run failed: -{errno_name(seen.run_errno)}"
    patterns = claim.answers
    names = dict.fromkeys(name for pattern in patterns for name in pattern.fields)
    parts = [_field(patterns, name, seen) for name in names if name in seen.fields]
    streams: dict[str, list[str]] = {}
    for pattern in patterns:
        for name, text in _texts(pattern):
            streams.setdefault(name, []).append(text)
    parts += [_written(texts, name, seen) for name, texts in streams.items()]
    return ", ".join(parts) or "loads and runs"


def _written(texts: Iterable[str], name: str, seen: Observation) -> str:
    """What a stream has: of these texts the one that is in it, or else all of it."""
    whole: str = getattr(seen, name)
    return f"{name} {next((text for text in texts if text in whole), steady(whole)[-_MOST_WRITTEN:])!r}"


def _field(patterns: Iterable[Pattern], name: str, seen: Observation) -> str:
    for pattern in patterns:
        expected = pattern.fields.get(name)
        if isinstance(expected, Range) and _is(expected, seen.fields[name]):
            return f"{name} {value_words(name, expected)}"
    return f"{name} {value_words(name, seen.fields[name])}"


def value_words(name: str, value: int | str | Range) -> str:
    """A field's value as people read it: an errno, a hexadecimal status or address, a pattern as it is."""
    if isinstance(value, Range):
        return f"{value.min}..{value.max}"
    if isinstance(value, str):
        return value
    if value == UNTOUCHED:
        return NOT_WRITTEN
    if value < 0 and name.endswith(("error", "ret")):
        return f"-{errno_name(-value)}"
    return hex(value) if any(part in name for part in ("status", "addr", "dirs")) else str(value)
