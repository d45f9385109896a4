"""Probes on the host: what to ask a kernel, and what its answers mean. Never sees a guest."""

from runner.probes.census.kfuncs import KfuncList, kfuncs_path, load_kfuncs, tagged
from runner.probes.claims import Claim, ClaimFile, questions
from runner.probes.claims.judge import Question
from runner.probes.claims.matching import statement_true
from runner.probes.compile import compile_objects
from runner.probes.expectations import Expectations
from runner.probes.issues import Issue, known_issue, load_issues
from runner.probes.kind import Kind, ProbeFile, Said
from runner.probes.kinds import KINDS, NO_ANSWER_WORD, OPTIONS
from runner.probes.old import (
    asks_of,
    essences,
    explained,
    issues_of,
    judge,
    judge_one,
    load_claims,
    modules_of,
    states,
)

__all__ = [
    "KINDS",
    "NO_ANSWER_WORD",
    "OPTIONS",
    "Claim",
    "ClaimFile",
    "Expectations",
    "Issue",
    "KfuncList",
    "Kind",
    "ProbeFile",
    "Question",
    "Said",
    "asks_of",
    "compile_objects",
    "essences",
    "explained",
    "issues_of",
    "judge",
    "judge_one",
    "kfuncs_path",
    "known_issue",
    "load_claims",
    "load_issues",
    "load_kfuncs",
    "modules_of",
    "questions",
    "statement_true",
    "states",
    "tagged",
]
