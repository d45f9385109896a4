"""A clone of a user's kernel repository, in the cache: its files change from commit to commit, the user's do not.

CACHE/builds/KEY/source    a clone that borrows the user's objects; state of `git bisect` lives in its .git
CACHE/builds/KEY/objects   what was built of it last
CACHE/builds/KEY.lock
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import filelock

from runner.errors import InfraError, UserError
from runner.model.deadline import Deadline
from runner.process import Completed, run

log = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Nothing of the user's or the repository's own settings may run or ask: no hooks, no pager, no editor, no filters.
_GIT = ("git", "-c", "core.hooksPath=/dev/null", "-c", "core.pager=cat", "-c", "advice.detachedHead=false",
        "-c", "core.fsmonitor=false", "-c", "core.autocrlf=false", "-c", "gc.auto=0")  # fmt: skip
_ENV = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_EDITOR": "true"}


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit, with what names it for people. The subject is somebody else's text."""

    id: str
    subject: str

    @property
    def short(self) -> str:
        return self.id[:12]


@dataclass(frozen=True, slots=True)
class Checkout:
    """The clone. One process at a time: `opened`."""

    repository: Path
    folder: Path

    @property
    def source(self) -> Path:
        return self.folder / "source"

    @property
    def objects(self) -> Path:
        return self.folder / "objects"

    @classmethod
    @contextmanager
    def opened(
        cls, repository: Path, arch: str, config: str, cache: Path, *, borrowed: bool = True, deadline: Deadline
    ) -> Iterator[Self]:
        """The clone of `repository` for this architecture and configuration, made where there is none.

        Not `borrowed`: there is no clone, `repository` is a folder of sources, and `source` is not to be used.

        Raises UserError when it is no repository, InfraError when another process uses it or git fails.
        """
        top = _top(repository, deadline) if borrowed else _folder(repository)
        key = hashlib.sha256(f"{top}\0{arch}\0{config}".encode()).hexdigest()[:16]
        builds = cache / "builds"
        builds.mkdir(mode=0o700, exist_ok=True)
        try:
            with filelock.FileLock(builds / f"{key}.lock", timeout=0):
                here = cls(top, builds / key)
                if borrowed:
                    here._clone(deadline)
                yield here
        except filelock.Timeout:
            raise InfraError(f"another process builds {top} for {arch}", hint="wait for it, or end it") from None

    def git(self, *words: str, deadline: Deadline, check: bool = True) -> Completed:
        """Run git in the clone. Raises InfraError when it fails and `check` is set."""
        return _git(self.source, *words, deadline=deadline, check=check)

    def commit(self, ref: str, *, deadline: Deadline) -> Commit:
        """What the user's repository calls `ref`. Raises UserError when there is no such commit."""
        done = _git(
            self.repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}",
            deadline=deadline, check=False,
        )  # fmt: skip
        found = done.stdout.strip()
        if done.returncode or not _COMMIT.fullmatch(found):
            raise UserError(f"{self.repository} has no commit {ref!r}", hint="a branch, a tag or a commit's id")
        return self.described(found, deadline=deadline)

    def described(self, ref: str, *, deadline: Deadline) -> Commit:
        """What the clone calls `ref`. Raises InfraError when there is no such commit."""
        said = self.git("log", "-1", "--format=%H%n%s", ref, "--", deadline=deadline).stdout
        commit, _, subject = said.partition("\n")
        return Commit(commit, subject.strip())

    def head(self, *, deadline: Deadline) -> str:
        return self.git("rev-parse", "HEAD", deadline=deadline).stdout.strip()

    def check_out(self, commit: str, *, deadline: Deadline) -> None:
        """Make the clone's files those of a commit. Only what differs is written, so the next build is short."""
        self.git("checkout", "--quiet", "--force", "--detach", commit, "--", deadline=deadline)

    def _clone(self, deadline: Deadline) -> None:
        if (self.source / ".git" / "HEAD").is_file():
            for lock in (self.source / ".git").glob("*.lock"):  # of a git that was killed: nobody else works here
                lock.unlink()
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.folder / "source.new"
        shutil.rmtree(draft, ignore_errors=True)
        log.info("cloning %s", self.repository)
        run(
            [*_GIT, "clone", "--quiet", "--shared", "--no-checkout", "--", self.repository, draft],
            deadline=deadline,
            env=_ENV,
        )
        draft.rename(self.source)


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise UserError(f"{path} is not a folder")
    return path.resolve()


def _top(repository: Path, deadline: Deadline) -> Path:
    done = _git(_folder(repository), "rev-parse", "--absolute-git-dir", deadline=deadline, check=False)
    if done.returncode:
        raise UserError(f"{repository} is not a git repository: {done.stderr.strip()[-300:]}")
    folder = Path(done.stdout.strip()).resolve()
    return folder.parent if folder.name == ".git" else folder


def _git(folder: Path, *words: str, deadline: Deadline, check: bool) -> Completed:
    return run([*_GIT, "-C", folder, *words], deadline=deadline, env=_ENV, check=check)
