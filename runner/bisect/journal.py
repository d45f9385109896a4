# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A bisection in the store, written anew after each reply: whatever ends this program, the next one resumes it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Self

from runner import __version__
from runner.results.bisections import Bisection, BisectionQuestion, Candidate, Reply, load_bisections, write_bisection
from runner.results.model import Run, RunKind, new_run_id
from runner.results.store import ResultStore


def digest(*words: str) -> str:
    """Equal for equal words."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]


def begun(key: str, question: BisectionQuestion, candidates: tuple[Candidate, ...] = ()) -> Bisection:
    """A new bisection; `key` is equal for the same question to the same kernels."""
    now = datetime.now(UTC)
    run_id = new_run_id(now, RunKind.BISECT)
    return Bisection(id=run_id, key=key, question=question, started=now, candidates=candidates)


class Journal:
    """The current bisection. `replies` is what the search appends to, before `keep` writes it."""

    def __init__(self, store: ResultStore, bisection: Bisection) -> None:
        self._store = store
        self.bisection = bisection
        self.replies = list(bisection.replies)

    @classmethod
    def open(cls, store: ResultStore, new: Bisection, matrix_sha256: str) -> Self:
        """The unfinished bisection with the key of `new`, or `new`, whose run begins.

        What was the machine's fault is dropped, and so asked once more.
        """
        for old in load_bisections(store):
            if old.key == new.key and old.finished is None:
                kept = tuple(reply for reply in old.replies if not reply.machines_fault)
                more = {"replies": kept, "slots": new.slots, "samples": new.samples}
                return cls(store, old.model_copy(update=more))
        store.begin(
            Run(
                id=new.id,
                started=new.started,
                matrix_sha256=matrix_sha256,
                runner_version=__version__,
                slots=new.slots,
                cells=(),
            )
        )
        return cls(store, new)

    @property
    def resumed(self) -> bool:
        return bool(self.bisection.replies)

    def count_round(self) -> None:
        self._change(rounds=self.bisection.rounds + 1)

    def add(self, candidate: Candidate, reply: Reply) -> None:
        """Write the reply of a candidate that was not known when the bisection began."""
        if all(it.key != candidate.key for it in self.bisection.candidates):
            self._change(candidates=(*self.bisection.candidates, candidate))
        self.replies.append(reply)
        self.keep()

    def keep(self) -> None:
        """Write what is known. Raises InfraError when that is not possible."""
        self._change(replies=tuple(self.replies))
        write_bisection(self._store, self.bisection)

    def finish(self, **found: object) -> Bisection:
        """Write the end of it, with what was found."""
        self._change(**found, finished=datetime.now(UTC))
        self.keep()
        return self.bisection

    def _change(self, **changes: object) -> None:
        self.bisection = self.bisection.model_copy(update=changes)
