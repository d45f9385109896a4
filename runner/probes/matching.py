"""Holds one observation against one answer, and puts both into words. Pure."""

from __future__ import annotations

from runner.model import Observation
from runner.model.errnos import ERRNO, errno_name
from runner.probes.claims import Answer, Claim, Range, Refusal
from runner.probes.verifier import says, verdict_line

_UNTOUCHED = 0x12345678  # what the programs leave in opts.error before they call


def matches(answer: Answer, seen: Observation) -> bool:
    """Is the observation what the answer says? Both must be of a program that was given to the kernel."""
    if isinstance(answer.load, Refusal):
        return bool(seen.load_errno) and _refused_as(answer.load, seen)
    if answer.load == "refused":
        return bool(seen.load_errno)
    if seen.load_errno != 0 or seen.run_errno != 0:
        return False
    return all(name in seen.fields and _is(value, seen.fields[name]) for name, value in answer.fields.items())


def names_words(answer: Answer) -> bool:
    """Does the answer say with which words the kernel refuses the program?"""
    return isinstance(answer.load, Refusal) and bool(answer.load.log)


def statement_true(claim: Claim, seen: Observation) -> bool | None:
    """Is what the claim says true on the kernel that was seen? None when the kernel was not asked."""
    if seen.failed or seen.load_errno is None:
        return None
    return matches(claim.answer, seen)


def _refused_as(refusal: Refusal, seen: Observation) -> bool:
    if refusal.errno is not None and ERRNO[refusal.errno] != seen.load_errno:
        return False
    return not refusal.log or any(says(seen.log, words) for words in refusal.texts)


def _is(expected: int | str | Range, number: int) -> bool:
    if isinstance(expected, Range):
        return expected.min <= number <= expected.max
    return number == (_number(expected) if isinstance(expected, str) else expected)


def _number(name: str) -> int:
    """-EINVAL -> -22"""
    return -ERRNO[name[1:]] if name.startswith("-") else ERRNO[name]


def expected_words(answer: Answer) -> str:
    """`error -EINVAL, acquired 0`; `load refused: -EACCES, "..."`."""
    if isinstance(answer.load, Refusal):
        parts = [f"-{answer.load.errno}"] if answer.load.errno else []
        parts += [" or ".join(f'"{words}"' for words in answer.load.texts)] if answer.load.log else []
        return "load refused" + (": " + ", ".join(parts) if parts else "")
    if answer.load == "refused":
        return "load refused"
    return ", ".join(f"{name} {value_words(name, value)}" for name, value in answer.fields.items()) or "loads and runs"


def observed_words(answer: Answer, seen: Observation) -> str:
    """What was seen, as far as the answer is about it."""
    if seen.load_errno is None:
        return ""
    if seen.load_errno:
        line = verdict_line(seen.log)
        return f"load refused: -{errno_name(seen.load_errno)}" + (f', "{line}"' if line else "")
    if seen.run_errno:
        return f"run failed: -{errno_name(seen.run_errno)}"
    names = answer.fields or {name: value for name, value in seen.fields.items() if value}
    shown = [f"{name} {value_words(name, seen.fields[name])}" for name in names if name in seen.fields]
    return ", ".join(shown) or "loads and runs"


def value_words(name: str, value: int | str | Range) -> str:
    """A field's value as people read it: an errno, a hexadecimal status or address, a pattern as it is."""
    if isinstance(value, Range):
        return f"{value.min}..{value.max}"
    if isinstance(value, str):
        return value
    if value == _UNTOUCHED:
        return "not written"
    if value < 0 and name.endswith(("error", "ret")):
        return f"-{errno_name(-value)}"
    return hex(value) if any(part in name for part in ("status", "addr", "dirs")) else str(value)
