"""A bisection on the disk, written anew after each reply: whatever ends this program, the next one goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from runner.errors import InfraError
from runner.results.bisections import Bisection, Candidate, Question, bisection_path, load_bisections
from runner.results.model import RunKind, new_run_id
from runner.store import write_atomically


def key_of(question: Question, candidates: Sequence[Candidate], *, every: bool) -> str:
    """Equal for the same question to the same kernels."""
    parts = (question.target, str(every), *(candidate.key for candidate in candidates))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class Journal:
    """The bisection that goes on. `replies` is what the search appends to."""

    def __init__(self, reports: Path, bisection: Bisection) -> None:
        self._path = bisection_path(reports, bisection.id)
        self.bisection = bisection
        self.replies = list(bisection.replies)

    @classmethod
    def open(
        cls,
        reports: Path,
        question: Question,
        candidates: Sequence[Candidate],
        *,
        slots: int,
        samples: int,
        every: bool = False,
    ) -> Journal:
        """The unfinished bisection of the same question to the same kernels, or a new one. InfraError.

        What was the machine's fault is forgotten, and so asked again.
        """
        key = key_of(question, candidates, every=every)
        for bisection in load_bisections(reports):
            if bisection.key == key and bisection.finished is None:
                kept = tuple(reply for reply in bisection.replies if not reply.machines_fault)
                return cls(reports, bisection.model_copy(update={"replies": kept, "slots": slots, "samples": samples}))
        started = datetime.now(UTC)
        return cls(
            reports,
            Bisection(
                id=f"{RunKind.BISECT}-{new_run_id(started)}",
                key=key,
                question=question,
                started=started,
                slots=slots,
                samples=samples,
                every=every,
                candidates=tuple(candidates),
            ),
        )

    @property
    def resumed(self) -> bool:
        return bool(self.bisection.replies)

    def round(self) -> None:
        self.bisection = self.bisection.model_copy(update={"rounds": self.bisection.rounds + 1})

    def keep(self) -> None:
        """Write what is known. InfraError when that is not possible."""
        self._write(self.bisection.model_copy(update={"replies": tuple(self.replies)}))

    def finish(self, bisection: Bisection) -> None:
        """Write what was found."""
        self._write(bisection.model_copy(update={"finished": datetime.now(UTC)}))

    def _write(self, bisection: Bisection) -> None:
        self.bisection = bisection
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, bisection.model_dump_json(indent=1).encode() + b"\n")
        except OSError as error:
            raise InfraError(f"cannot write {self._path}: {error.strerror}") from error
