"""What comes of answers that are held against what is expected. Computed on the host, never stored."""

from __future__ import annotations

from runner.model.answers import Splat
from runner.model.words import Plain


class JudgedSplat(Splat):
    """A splat, and the id of the KnownIssue that allows it."""

    known_issue: str = ""


class KnownIssue(Plain):
    """A deviation whose cause is understood. What it explains is shown apart, and does not fail a run."""

    id: str
    what: str
    reason: str
    link: str
    # its kernels were run, every probe that it is about was answered, and none of the answers is the deviation any more
    gone: bool = False
