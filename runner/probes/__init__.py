"""Probes on the host: what to ask a kernel, and what its answers mean. Never sees a guest."""

from runner.probes.census.kfuncs import load_kfuncs
from runner.probes.claims import ClaimFile, questions
from runner.probes.claims.judge import Question
from runner.probes.compile import compile_objects
from runner.probes.expectations import Expectations
from runner.probes.issues import Issue, known_issue, load_issues
from runner.probes.kind import Kind, ProbeFile, Said
from runner.probes.kinds import KINDS, NO_ANSWER_WORD, OPTIONS
from runner.probes.old import (
    essences,
    judge,
    judge_one,
    states,
)

__all__ = [
    "KINDS",
    "NO_ANSWER_WORD",
    "OPTIONS",
    "ClaimFile",
    "Expectations",
    "Issue",
    "Kind",
    "ProbeFile",
    "Question",
    "Said",
    "compile_objects",
    "essences",
    "judge",
    "judge_one",
    "known_issue",
    "load_issues",
    "load_kfuncs",
    "questions",
    "states",
]
