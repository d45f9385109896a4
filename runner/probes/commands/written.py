# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A user's commands as bpf/NAME.yaml and matrix.yaml name them, and what is expected. docs/exec.md explains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from runner.model import Plain, SafeName
from runner.model.version import KernelVersion
from runner.probes.commands.results import ResultsKind
from runner.probes.files import Span, Text

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")]
Word = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=1 << 16)]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Seconds = Annotated[float, Field(gt=0, le=86400)]
State = Literal["failed", "skipped", "passed"]


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
        for entry in self.settings.expect:
            fits = any(fnmatchcase(name, pattern) for pattern in entry.tests)
            if fits and (version in entry.interval if version else entry.always):
                return entry
        return None
