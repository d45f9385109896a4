"""How things are called in file names, addresses and style sheets of the site."""

from __future__ import annotations

import hashlib
import re

from runner.model import Outcome, State, Verdict
from runner.reports.marks import STATES, VERDICTS

# classes of style.css; the letter also stands in a row's data-states, for the filter
STATE_CSS = {
    State.USABLE: "u",
    State.REGISTERED: "r",
    State.NOT_ALLOWED: "x",
    State.ABSENT: "a",
    State.NO_ANSWER: "q",
}
VERDICT_CSS = {
    Verdict.HOLDS: "u",
    Verdict.BROKEN: "bad",
    Verdict.NOT_APPLICABLE: "a",
    Verdict.NO_ANSWER: "q",
}
OUTCOME_CSS = {Outcome.RAN: "u", Outcome.BOOT_FAILED: "bad"}  # any other: q

_SAFE = re.compile(r"[A-Za-z0-9_]{1,120}")


def slug(kfunc: str) -> str:
    """A file name. The names of kfuncs come out of a guest's BTF: what no C compiler makes is called by its digest."""
    return kfunc if _SAFE.fullmatch(kfunc) else f"x-{hashlib.sha256(kfunc.encode(errors='replace')).hexdigest()[:16]}"


def state_sign(state: State) -> str:
    return STATES[state].sign


def verdict_sign(verdict: Verdict) -> str:
    return VERDICTS[verdict].sign
