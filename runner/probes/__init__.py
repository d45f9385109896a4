"""Claims and census on the host: what to ask, and what the answers mean. Never sees a guest."""

from runner.probes.asks import asks_of, modules_of
from runner.probes.census import CONFIG_OPTIONS
from runner.probes.claims import Claim, ClaimFile, load_claims
from runner.probes.compile import compile_objects
from runner.probes.issues import Issue, explained, issues_of, known_issue, load_issues
from runner.probes.judge import Question, essences, judge, judge_one, questions, states
from runner.probes.kfuncs import KfuncList, kfuncs_path, load_kfuncs, tagged
from runner.probes.matching import statement_true

__all__ = [
    "CONFIG_OPTIONS",
    "Claim",
    "ClaimFile",
    "Issue",
    "KfuncList",
    "Question",
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
