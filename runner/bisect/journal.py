"""A hunt on the disk, written anew after each reply: whatever ends this program, the next one goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from runner.errors import InfraError
from runner.results.hunts import Candidate, Hunt, Question, hunt_path, load_hunts
from runner.results.model import HUNTS, new_run_id
from runner.store import write_atomically


def key_of(question: Question, candidates: Sequence[Candidate], *, every: bool) -> str:
    """Equal for the same question to the same kernels."""
    parts = (question.target, str(every), *(candidate.key for candidate in candidates))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class Journal:
    """The hunt that goes on. `replies` is what the search appends to."""

    def __init__(self, reports: Path, hunt: Hunt) -> None:
        self._path = hunt_path(reports, hunt.id)
        self.hunt = hunt
        self.replies = list(hunt.replies)

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
        """The unfinished hunt of the same question to the same kernels, or a new one. InfraError.

        What was the machine's fault is forgotten, and so asked again.
        """
        key = key_of(question, candidates, every=every)
        for hunt in load_hunts(reports):
            if hunt.key == key and hunt.finished is None:
                kept = tuple(reply for reply in hunt.replies if not reply.machines_fault)
                return cls(reports, hunt.model_copy(update={"replies": kept, "slots": slots, "samples": samples}))
        started = datetime.now(UTC)
        return cls(
            reports,
            Hunt(
                id=HUNTS + new_run_id(started),
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
        return bool(self.hunt.replies)

    def round(self) -> None:
        self.hunt = self.hunt.model_copy(update={"rounds": self.hunt.rounds + 1})

    def keep(self) -> None:
        """Write what is known. InfraError when that is not possible."""
        self._write(self.hunt.model_copy(update={"replies": tuple(self.replies)}))

    def finish(self, hunt: Hunt) -> None:
        """Write what was found."""
        self._write(hunt.model_copy(update={"finished": datetime.now(UTC)}))

    def _write(self, hunt: Hunt) -> None:
        self.hunt = hunt
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, hunt.model_dump_json(indent=1).encode() + b"\n")
        except OSError as error:
            raise InfraError(f"cannot write {self._path}: {error.strerror}") from error
