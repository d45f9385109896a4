# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The command lines in README, CONTRIBUTING and docs/: this program understands each of its own."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from runner.cli.app import app
from runner.errors import UserError
from tests.samples import ROOT

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```(console|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ENDS = {"|", "||", "&&", ";", "&", ">", "<", ">>", "2>"}  # of a command in a line of a shell


def lines(page: Path) -> Iterator[str]:
    """Of a console what is behind the prompt, of a script every line."""
    for kind, block in BLOCK.findall(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ ") or kind == "sh":
                yield line.removeprefix("$ ")


def commands(line: str) -> Iterator[list[str]]:
    """The words of each command in the line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word not in ENDS:
            words.append(word)
        elif words:
            yield words
            words = []


def own(words: list[str]) -> list[str] | None:
    """What follows `runner`, also behind another program such as timeout. None: it is no command of ours."""
    at = next((at for at, word in enumerate(words) if Path(word).name == "runner"), None)
    return None if at is None else words[at + 1 :]


FOUND = [(page.name, line, words) for page in PAGES for line in lines(page) for words in commands(line)]
OURS = [(f"{name}: {line}", mine) for name, line, words in FOUND if (mine := own(words)) is not None]


@pytest.mark.parametrize(("line", "words"), OURS, ids=[line for line, _ in OURS])
def test_it_understands_its_commands_in_the_docs(line: str, words: list[str]) -> None:
    """Parsed, not run: most boot guests. Other tests run each command and option."""
    here, name = get_command(app), "runner"
    context = here.make_context(name, [], resilient_parsing=True)
    while words and (sub := getattr(here, "get_command", lambda *_: None)(context, words[0])):
        try:
            here, name, words = sub, words[0], words[1:]
            context = here.make_context(
                name,
                list(words) if not hasattr(here, "commands") else [],
                parent=context,
                resilient_parsing=hasattr(here, "commands"),
            )
        except UserError as error:
            pytest.fail(f"{line}: {error}")
    assert not hasattr(here, "commands") or not words or words[0].startswith("-"), line


def test_what_is_not_ours_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    others = Counter(words[0] for _, _, words in FOUND if own(words) is None)
    with capsys.disabled():
        print(f"\n{len(OURS)} commands of runner in the docs are understood; not run: {dict(others)}")  # noqa: T201
    assert OURS
