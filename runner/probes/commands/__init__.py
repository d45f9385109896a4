# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Commands: does a user's own test pass on a kernel, as a whole and test by test?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydantic import JsonValue

from runner import userfile
from runner.errors import UserError
from runner.model import SHARED, Ask, Asked, CellResult, Mark, ProgType, Row, SharedFile, StateWord
from runner.model.architecture import ARCHITECTURES, architecture
from runner.model.version import KernelVersion
from runner.probes.commands.judge import FAILED, LIMITS, NAME, PASSED, SKIPPED, ended_words, rows_of, runs_of
from runner.probes.commands.written import (
    CommandEntry,
    CommandKeys,
    CommandSettings,
    PayloadFile,
    TestAnswer,
    UserCommand,
    WrittenCommand,
    command_of,
    name_of,
)
from runner.probes.files import ProbeFile, Said, listed
from runner.probes.kind import GridPlace, Kind, Pairs
from runner.probes.lessons import Learning

Known = tuple[UserCommand, ...]


class Commands(Kind[Known]):
    """Its rows are of a test, or of the command as a whole: a state, and the verdict whether it is expected."""

    name = NAME
    noun = "test"
    log_title = "Output"
    subject = "test"
    question = "Which kernel passes which {subject}"
    states = (
        StateWord(FAILED, 0, Mark("✗", "x", "red")),
        StateWord(SKIPPED, 1, Mark("~", "~", "bright_black")),
        StateWord(PASSED, 2, Mark("✓", "+", "green")),
    )
    judged_states = (
        StateWord("passed, not as expected", 2, Mark("!", "!", "bold red")),
        StateWord("failed as expected", 0, Mark("○", "o", "yellow")),
    )
    keys = CommandKeys
    entry = CommandEntry
    pattern = TestAnswer
    apart = frozenset({"settings"})
    steady = False
    users = True
    shell = True
    circumstances = ("duration_s",)
    learning = Learning("tests", "", lambda _: FAILED)

    def load(self, root: Path, files: Sequence[ProbeFile]) -> Known:
        found: dict[str, UserCommand] = {}
        for entry in listed(files, CommandKeys, CommandEntry):
            with entry.at():
                mine = command_of(root, cast("WrittenCommand | CommandEntry", entry.written))
                if mine.id in found:
                    raise UserError(f"two commands are called {mine.id!r}", hint="give one an `id`")
            found[mine.id] = mine
        return tuple(found.values())

    def asks(self, known: Known, version: KernelVersion | None, types: Sequence[ProgType]) -> Iterable[Ask]:
        for each in known:
            settings = each.settings
            body: dict[str, JsonValue] = {
                "run": list(each.run),
                "files": {
                    ARCHITECTURES[arch].uname: [file.model_dump(mode="json") for file in files]
                    for arch, files in each.files.items()
                },
                "tree": hashlib.sha256(repr(each.files).encode()).hexdigest()[:16],
                "env": dict(settings.env),
                "timeout_s": settings.timeout_s,
                "silence_s": settings.silence_s or settings.timeout_s,
                "bring": list(settings.bring),
                "repeat": settings.repeat,
                "shared": any(name.startswith(SHARED) for name in each.contents),
                # what judges the answers
                "settings": settings.model_dump(mode="json", exclude_defaults=True),
            }
            yield Ask(kind=NAME, probe=each.id, body=body, alone=settings.isolate == "guest")

    def files(self, ask: Ask) -> Collection[str]:
        files = cast("dict[str, list[dict[str, str]]]", ask.body["files"]).values()
        return {f"{start}{it['content']}" for each in files for it in each for start in ("", SHARED)}

    def recalled(self, asked: Asked) -> Known | None:
        digests = {name: digest for cell in asked.cells.values() for name, digest in cell.programs.items()}
        contents = {name: asked.objects[digest] for name, digest in digests.items() if digest in asked.objects}
        return tuple(_recalled(ask, contents) for ask in asked.of(NAME)) or None

    def everywhere(self, known: Known, probe: str) -> Known:
        return tuple(it for it in known if it.id == probe) or known

    def modules(self, known: Known) -> Iterable[str]:
        for each in known:
            yield from each.settings.modules

    def pushed(self, known: Known, arch: str) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for each in known:
            from runner.probes.commands.binary import check_stream  # noqa: PLC0415  late: it brings elftools

            if arch not in each.files:
                raise UserError(f"command {each.id}: {each.said.get(arch, 'no files')} ({arch})")
            for file in each.files[arch]:
                names = (name for name in (file.content, f"{SHARED}{file.content}") if name in each.contents)
                found |= {name: each.contents[name] for name in names}
                if file.path == each.run[0].removeprefix("./") and file.content:
                    with _opened(file, each.contents) as program:
                        check_stream(f"command {each.id}: {each.run[0]}", program, architecture(arch), None)
        return found

    def shared(self, ask: Ask, uname: str, payload: Mapping[str, bytes]) -> Mapping[str, SharedFile]:
        tree = cast("dict[str, Any]", ask.body["files"]).get(uname, ())
        files = [PayloadFile.model_validate(it) for it in tree]
        if not any(f"{SHARED}{it.content}" in payload for it in files):
            return {}
        return {f"{ask.body['tree']}/{it.path}": _shared(it, payload) for it in files}

    def judge(self, result: CellResult, known: Known, earlier: Sequence[Row]) -> Iterable[Row]:
        for each in known:
            yield from rows_of(result, each)

    def shows(self, pattern: TestAnswer, result: CellResult, row: Row) -> bool:
        return row.state == pattern.state and pattern.words in row.cause

    def begun(self, known: Known, probe: str) -> Mapping[str, object]:
        mine = next(it for it in known if it.id == probe)
        settings = mine.settings.model_dump(mode="json", exclude_defaults=True, exclude={"expect"})
        return {"id": probe, "run": list(mine.run), **settings}

    def is_of(self, entry: Mapping[str, object], probe: str) -> bool:
        run = entry.get("run")
        name = name_of(str(run[0])) if isinstance(run, list) and run else ""
        return entry.get("id", name) == probe

    def left(self, result: CellResult) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for answer in result.of(NAME):
            runs, _ = runs_of(answer)
            for number, run in enumerate(runs, 1):
                folder = answer.probe if len(runs) == 1 else f"{answer.probe}/{number}"
                found |= {f"{folder}/{name}": content for name, content in run.files.items()}
        return found

    def told(self, result: CellResult, held: Collection[str] = ()) -> Iterable[tuple[str, str, str]]:
        for answer in result.of(NAME):
            runs, why = runs_of(answer)
            yield answer.probe, "answer", why or ", ".join(f"{run.ran.ended or run.ran.status}" for run in runs)

    def said(self, known: Known) -> Iterable[Said]:
        for each in known:
            yield Said(id=each.id, probe=each.id, subject=each.id, type="", says="it passes")

    def shown(self, result: CellResult, row: Row) -> Pairs:
        probe = row.probe.partition("/")[0]
        answer = next((it for it in result.of(NAME) if it.probe == probe), None)
        runs, _ = runs_of(answer)
        for number, run in enumerate(runs, 1):
            how = LIMITS.get(run.ran.ended) or ended_words(run.ran.status or 0)
            yield "run" if len(runs) == 1 else f"run {number}", f"{how}, {run.ran.duration_s:.1f} s"
            for name, content in run.files.items():
                yield "brought", f"{name} ({len(content)} bytes)"
            for name in run.lost:
                yield "not kept", name
            for name, why in run.ran.not_brought.items():
                yield "not brought", f"{name}: {why}"

    def place(self, subject: str) -> GridPlace:
        group, _, name = subject.partition("/")
        return GridPlace(name or "the command", group, rank=0 if name else 1, noun="test" if name else "command")

    def title(self, rows: Sequence[Row]) -> str:
        return f"command {rows[0].subject.partition('/')[0]}"


def _opened(file: PayloadFile, contents: Mapping[str, bytes]) -> BinaryIO:
    """A file's content. Raises UserError."""
    if file.content in contents:
        return BytesIO(contents[file.content])
    return userfile.opened(Path(os.fsdecode(contents[f"{SHARED}{file.content}"])))


def _shared(file: PayloadFile, payload: Mapping[str, bytes]) -> SharedFile:
    if file.link:
        return SharedFile(link=file.link)
    source = os.fsdecode(payload[f"{SHARED}{file.content}"])
    return SharedFile(source=source, sha256=file.content.partition(".")[0], mode=file.mode)


def _recalled(ask: Ask, contents: Mapping[str, bytes]) -> UserCommand:
    body = cast("dict[str, Any]", ask.body)
    trees = {arch: body["files"].get(it.uname) for arch, it in ARCHITECTURES.items()}
    files = {arch: tuple(map(PayloadFile.model_validate, tree)) for arch, tree in trees.items() if tree is not None}
    settings = CommandSettings.model_validate(body["settings"])
    return UserCommand(ask.probe, tuple(body["run"]), settings, files, contents)


KIND = Commands()
