"""A bisection on the disk, written anew after each reply: whatever ends this program, the next one resumes it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from runner.errors import InfraError
from runner.results.bisections import Bisection, BisectionQuestion, Candidate, Reply, bisection_path, load_bisections
from runner.results.model import RunKind, new_run_id
from runner.store import write_atomically


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

    def __init__(self, reports: Path, bisection: Bisection) -> None:
        self._path = bisection_path(reports, bisection.id)
        self.bisection = bisection
        self.replies = list(bisection.replies)

    @classmethod
    def open(cls, reports: Path, new: Bisection) -> Self:
        """The unfinished bisection with the key of `new`, or `new`. Raises InfraError.

        What was the machine's fault is dropped, and so asked once more.
        """
        for old in load_bisections(reports):
            if old.key == new.key and old.finished is None:
                kept = tuple(reply for reply in old.replies if not reply.machines_fault)
                return cls(
                    reports, old.model_copy(update={"replies": kept, "slots": new.slots, "samples": new.samples})
                )
        return cls(reports, new)

    @property
    def resumed(self) -> bool:
        return bool(self.bisection.replies)

    def count_round(self) -> None:
        self.bisection = self.bisection.model_copy(update={"rounds": self.bisection.rounds + 1})

    def add(self, candidate: Candidate, reply: Reply) -> None:
        """Write the reply of a candidate that was not known when the bisection began."""
        if all(it.key != candidate.key for it in self.bisection.candidates):
            candidates = (*self.bisection.candidates, candidate)
            self.bisection = self.bisection.model_copy(update={"candidates": candidates})
        self.replies.append(reply)
        self.keep()

    def keep(self) -> None:
        """Write what is known. Raises InfraError when that is not possible."""
        self._write(self.bisection.model_copy(update={"replies": tuple(self.replies)}))

    def finish(self, **found: object) -> Bisection:
        """Write the end of it, with what was found."""
        self._write(
            self.bisection.model_copy(update={**found, "replies": tuple(self.replies), "finished": datetime.now(UTC)})
        )
        return self.bisection

    def _write(self, bisection: Bisection) -> None:
        self.bisection = bisection
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, bisection.model_dump_json(indent=1).encode() + b"\n")
        except OSError as error:
            raise InfraError(f"cannot write {self._path}: {error.strerror}") from error
