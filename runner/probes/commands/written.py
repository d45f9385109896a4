# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A user's commands as bpf/NAME.yaml and matrix.yaml name them, and what is expected; reads the files that one needs.

docs/exec.md explains it. Of a folder everything is read that is below it, but no link out of it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from runner import userfile
from runner.errors import UserError
from runner.model import SHARED, Plain, SafeName
from runner.model.architecture import ARCHITECTURES, Architecture
from runner.model.version import KernelVersion
from runner.probes.commands.results import ResultsKind
from runner.probes.files import Span, Text

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")]
Word = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=1 << 16)]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Seconds = Annotated[float, Field(gt=0, le=86400)]
State = Literal["failed", "skipped", "passed"]
LARGEST = 4 << 30  # bytes of all files of one command
MOST_COPIED = 16 << 20  # of those that are in memory here, and in the guest's: more are shown to it in a folder
_MOST_FILES = 10_000


class TestExpectation(Span):
    """These tests, or the command itself (its id), are known to end so on these kernels, and why."""

    __test__ = False  # for pytest

    tests: Annotated[tuple[Text, ...], Field(min_length=1, description="patterns of names")]
    answer: Annotated[State, Field(description="how they end there")]
    why: Annotated[Text, Field(description="the reason, for people")]


class TestAnswer(Plain):
    """How a test, or a command, ends where a known issue is."""

    __test__ = False

    state: State
    words: Annotated[str, Field(description="which its cause contains")] = ""


class CommandSettings(Plain):
    """What can be said of a command, wherever it is named."""

    files: Annotated[
        tuple[Text, ...],
        Field(description="what lies in /payload: PATH or PATH:NAME; {arch}, {goarch}, {debarch} are replaced"),
    ] = ()
    env: dict[Variable, Word] = Field(default_factory=dict, description="its environment, besides PATH and HOME")
    results: Annotated[ResultsKind, Field(description="how what it prints is read")] = "exit"
    skip_exit: Annotated[tuple[int, ...], Field(description="exit statuses that mean: skipped")] = (77, 4, 249)
    bring: Annotated[tuple[Text, ...], Field(description="patterns of files that it leaves")] = ()
    modules: Annotated[tuple[SafeName, ...], Field(description="to load first")] = ()
    timeout_s: Annotated[Seconds, Field(description="for one run of it")] = 300
    silence_s: Annotated[
        Seconds | None, Field(description="it may print nothing for so long; by default timeout_s")
    ] = None
    timeout_is: Annotated[Literal["no-answer", "failed"], Field(description="what a limit means")] = "no-answer"
    isolate: Annotated[
        Literal["namespaces", "guest"], Field(description="what it has of its own; a guest costs a boot")
    ] = "namespaces"
    repeat: Annotated[int, Field(ge=1, le=1000, description="how often it is run on each kernel")] = 1
    expect: Annotated[tuple[TestExpectation, ...], Field(description="tests that are known not to pass")] = ()


class WrittenCommand(CommandSettings):
    """One entry of `commands:` in bpf/NAME.yaml."""

    id: Annotated[Id | None, Field(description="by default the program's name")] = None
    run: Annotated[tuple[Word, ...], Field(min_length=1, description="the program and its arguments")]


class CommandKeys(Plain):
    commands: Annotated[tuple[WrittenCommand, ...], Field(min_length=1, description="commands to run in each guest")]


class _Key(Plain):
    command: Annotated[tuple[Word, ...], Field(min_length=1, description="the program and its arguments")]


class CommandEntry(CommandSettings, _Key):  # in this order the key is the first field
    """The mapping `{command: [./ebpf.test, -test.v]}` among the matrix's `probes`."""

    id: Annotated[Id | None, Field(description="by default the program's name")] = None


def name_of(program: str) -> str:
    """What a command is called: as its program's file is, as far as that can be an id."""
    name = "".join(it if it.isascii() and (it.isalnum() or it in "_.@-") else "-" for it in PurePosixPath(program).name)
    return name.lstrip("_.@-")[:64] or "command"


class PayloadFile(Plain):
    """A file below /payload, or a symbolic link there. `content` is the name under which it is pushed."""

    path: str
    mode: int = 0o644
    content: str = ""
    link: str = ""


@dataclass(frozen=True)
class UserCommand:
    """A command of one id. `files` are what lies in /payload, by our name of the architecture."""

    id: str
    run: tuple[str, ...]
    settings: CommandSettings
    files: Mapping[str, tuple[PayloadFile, ...]]
    contents: Mapping[str, bytes] = field(repr=False, default_factory=dict)  # by the name under which it is pushed
    said: Mapping[str, str] = field(default_factory=dict)  # why there are no files for an architecture

    def expected(self, test: str, version: KernelVersion | None) -> TestExpectation | None:
        """The first expectation that has this test (empty: the command itself) on a kernel of this version."""
        name = test or self.id
        mine = (it for it in self.settings.expect if any(fnmatchcase(name, pattern) for pattern in it.tests))
        return next((it for it in mine if it.covers(version)), None)


# --- its files --------------------------------------------------------------------------------------------------------


@dataclass
class Tree:
    """What lies in /payload on one architecture."""

    files: dict[str, PayloadFile] = field(default_factory=dict)  # by path
    contents: dict[str, bytes] = field(default_factory=dict)
    size: int = 0
    known: dict[Path, tuple[str, bytes]] = field(default_factory=dict)  # digest and content of what was read already
    sources: dict[str, Path] = field(default_factory=dict)  # by the name under which it would be pushed

    def pushed(self) -> dict[str, bytes]:
        """By name; of files that are too many for that, where they are."""
        if self.size <= MOST_COPIED:
            return self.contents
        return {f"{SHARED}{name}": os.fsencode(path.absolute()) for name, path in self.sources.items()}

    def add(self, path: Path, name: str) -> None:
        """A file, or a folder with all that is below it. Raises UserError."""
        if not path.is_dir():
            self._file(path, name)
            return
        for each in _below(path):
            inner = str(PurePosixPath(name) / each.relative_to(path).as_posix())
            if each.is_symlink():
                self._link(each, inner, path)
            else:
                self._file(each, inner)

    def _file(self, path: Path, name: str) -> None:
        with userfile.opened(path, absent="--copy and `files` name what the command needs") as stream:
            about = os.fstat(stream.fileno())
            mode = stat.S_IMODE(about.st_mode) & 0o777
            self.size += about.st_size
            whole = self.size <= MOST_COPIED
            if path not in self.known or (whole and len(self.known[path][1]) < about.st_size):
                self.known[path] = _read(stream, whole=whole)
        digest, content = self.known[path]
        if self.size > LARGEST or len(self.files) >= _MOST_FILES:
            what = f"more than {LARGEST >> 20} MiB, or {_MOST_FILES} files, for one command, with {path}"
            raise UserError(what, hint="copy only what the command needs")
        pushed = f"{digest}.{mode:o}"
        self.sources[pushed] = path
        if self.size <= MOST_COPIED:
            self.contents[pushed] = content
        self._place(PayloadFile(path=name, mode=mode, content=pushed))

    def _link(self, path: Path, name: str, folder: Path) -> None:
        """One that leads out of the folder is left out: what is there was not named."""
        target = path.readlink()
        end = Path(os.path.normpath(path.parent / target))
        if not target.is_absolute() and end.is_relative_to(os.path.normpath(folder)):  # it may be named ../data
            self._place(PayloadFile(path=name, link=str(target)))

    def _place(self, file: PayloadFile) -> None:
        if (there := self.files.get(file.path)) and there != file:
            raise UserError(f"two files would be /payload/{file.path}", hint="name one of them PATH:NAME")
        self.files[file.path] = file


def _read(stream: BufferedReader, *, whole: bool) -> tuple[str, bytes]:
    """A file's digest, and its content if it is wanted `whole`. Raises UserError."""
    try:
        if whole:
            content = stream.read(MOST_COPIED + 1)
            return hashlib.sha256(content).hexdigest(), content
        return hashlib.file_digest(stream, "sha256").hexdigest(), b""
    except OSError as error:
        raise UserError(f"{stream.name}: cannot be read: {error.strerror}") from None


def _below(folder: Path) -> Iterator[Path]:
    """Files and links, sorted; no device, no socket."""
    for at, folders, names in os.walk(folder):
        folders.sort()
        links = [name for name in folders if (Path(at) / name).is_symlink()]
        for name in sorted([*names, *links]):
            path = Path(at) / name
            if path.is_symlink() or path.is_file():
                yield path


def command_of(root: Path, written: WrittenCommand | CommandEntry) -> UserCommand:
    """The command with its files, as far as there are any for each architecture. Raises UserError."""
    run = written.run if isinstance(written, WrittenCommand) else written.command
    settings = CommandSettings(**{key: getattr(written, key) for key in CommandSettings.model_fields})
    found: dict[str, tuple[PayloadFile, ...]] = {}
    contents: dict[str, bytes] = {}
    lacking: dict[str, str] = {}
    known: dict[Path, tuple[str, bytes]] = {}
    for arch in ARCHITECTURES.values():
        named = (word for it in settings.files if "{" in (word := it.partition(":")[0]))
        if absent := next((path for word in named if not (path := root / arch.filled(word)).exists()), None):
            lacking[arch.name] = f"{absent}: no such file"
            continue
        tree = _tree(root, settings, arch, known)
        found[arch.name] = tuple(tree.files.values())
        contents |= tree.pushed()
    if not found:
        raise UserError(next(iter(lacking.values())), hint="paths are relative to the project's folder")
    return UserCommand(written.id or name_of(run[0]), run, settings, found, contents, lacking)


def _tree(root: Path, settings: CommandSettings, arch: Architecture, known: dict[Path, tuple[str, bytes]]) -> Tree:
    tree = Tree(known=known)
    for named in settings.files:
        word, _, name = named.partition(":")
        path = root / arch.filled(word)
        inner = arch.filled(name) or path.name or path.resolve().name
        place = PurePosixPath(inner)
        if place.is_absolute() or ".." in place.parts or not inner.isprintable():
            raise UserError(f"{named}: its name in the guest is to lie below /payload", hint="PATH:NAME")
        tree.add(path, str(place))
    return tree
