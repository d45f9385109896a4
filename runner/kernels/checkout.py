# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A clone of a user's kernel repository, in the cache: its files change from commit to commit, the user's do not.

CACHE/builds/KEY/source    a clone that borrows the user's objects; its .git holds the state of `git bisect`
CACHE/builds/KEY/objects   what was built of it last
CACHE/builds/KEY.lock
"""

from __future__ import annotations

import hashlib
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

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Nothing of the user's or the repository's own settings may run or ask: no hooks, no pager, no editor, no filters.
_GIT = ("git", "-c", "core.hooksPath=/dev/null", "-c", "core.pager=cat", "-c", "advice.detachedHead=false",
        "-c", "core.fsmonitor=false", "-c", "core.autocrlf=false", "-c", "core.splitIndex=false",
        "-c", "gc.auto=0")  # fmt: skip
_ENV = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_EDITOR": "true"}
_LASTING = frozenset({"index", "objects"})  # of a clone: the files that it has, and blobs that a server sent


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
        cls, repository: Path, way: str, cache: Path, *, borrowed: bool = True, deadline: Deadline
    ) -> Iterator[Self]:
        """The clone of `repository` for kernels that are built in this `way`, made where there is none.

        Not `borrowed`: there is no clone, `repository` is a folder of sources, and `source` is not to be used.

        Raises UserError when it is no repository, InfraError when another process uses it or git fails.
        """
        top = _top(repository, deadline) if borrowed else _folder(repository)
        key = hashlib.sha256(f"{top}\0{way}".encode()).hexdigest()[:16]
        builds = cache / "builds"
        builds.mkdir(mode=0o700, exist_ok=True)
        try:
            with filelock.FileLock(builds / f"{key}.lock", timeout=0):
                here = cls(top, builds / key)
                if borrowed:
                    here._borrow(deadline)
                yield here
        except filelock.Timeout:
            raise InfraError(f"another process builds {top}", hint="wait for it, or end it") from None

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

    @property
    def shallow(self) -> bool:
        """Does the user's repository lack the beginning of its history?"""
        return (self.source / ".git" / "shallow").is_file()

    def check_out(self, commit: str, *, deadline: Deadline) -> None:
        """Make the clone's files those of a commit. Only what differs is written, so the next build is short.

        Raises InfraError, also when a partial clone's server does not send what is missing.
        """
        done = self.git("checkout", "--quiet", "--force", "--detach", commit, "--", deadline=deadline, check=False)
        if done.returncode:
            partial = "promisor" in (self.source / ".git" / "config").read_text()
            hint = f"a partial clone: git -C {self.repository} fetch --refetch --no-filter" if partial else ""
            what = f"git cannot check out {commit[:12]} of {self.repository}:\n{done.stderr.strip()[-500:]}"
            raise InfraError(what, hint=hint)

    def _borrow(self, deadline: Deadline) -> None:
        """Make the clone's .git anew, on the objects of the user's repository. Its files and index are kept.

        So no ref names a commit that is gone since a rebase, and neither locks of a killed git nor the end of a history
        that was shallow stay.
        """
        git = self.source / ".git"
        git.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in git.iterdir():
            if path.name not in _LASTING:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        asked = ("--show-object-format", "--path-format=absolute", "--git-path", "objects", "--git-path", "shallow")
        kind, objects, shallow = _git(self.repository, "rev-parse", *asked, deadline=deadline).stdout.splitlines()
        self.git("init", "--quiet", f"--object-format={kind}", deadline=deadline)
        (git / "objects" / "info").mkdir(exist_ok=True)
        (git / "objects" / "info" / "alternates").write_text(f"{objects}\n")
        if Path(shallow).is_file():
            shutil.copy(shallow, git / "shallow")
        # of a partial clone, blobs come from where the user's own git gets them
        promisors = ("config", "--get-regexp", r"^remote\..*\.promisor$")
        known = _git(self.repository, *promisors, deadline=deadline, check=False)
        for key in (line.split()[0] for line in known.stdout.splitlines() if line.endswith(" true")):
            remote = key.removeprefix("remote.").removesuffix(".promisor")
            url = _git(self.repository, "remote", "get-url", remote, deadline=deadline).stdout.strip()
            values = {f"remote.{remote}.url": url, key: "true", "core.repositoryFormatVersion": "1"}
            for name, value in (values | {"extensions.partialClone": remote}).items():
                self.git("config", name, value, deadline=deadline)


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise UserError(f"{path} is not a folder")
    return path.resolve()


def _top(repository: Path, deadline: Deadline) -> Path:
    done = _git(_folder(repository), "rev-parse", "--absolute-git-dir", deadline=deadline, check=False)
    if done.returncode:
        raise UserError(
            f"{repository} is not a git repository: {done.stderr.strip()[-300:]}",
            hint="name the folder of a clone, such as --git ~/linux",
        )
    folder = Path(done.stdout.strip()).resolve()
    return folder.parent if folder.name == ".git" else folder


def _git(folder: Path, *words: str, deadline: Deadline, check: bool = True) -> Completed:
    return run([*_GIT, "-C", folder, *words], deadline=deadline, env=_ENV, check=check)
