# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Commands start quickly, because each imports only what it needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module

import pytest

from runner import cli
from runner.cli.app import GROUPS

SHUT = ("paramiko", "jinja2", "ssl", "elftools", "debian.deb822")  # until something is booted, fetched or read
DEAR = (*SHUT, "pytest", "hypothesis")


@pytest.mark.parametrize(
    ("module", "dear"),
    [
        ("cli.app", DEAR),
        ("cli.matrix", (*SHUT, "pytest")),
        ("cli.running", (*SHUT, "pytest")),
        ("engine.controller, runner.engine.worker", ("paramiko", "jinja2")),
    ],
)
def test_what_is_dear_is_imported_by_those_who_need_it(module: str, dear: tuple[str, ...]) -> None:
    script = f"import sys, runner.{module}; print([it for it in {dear!r} if it in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_is_there_with_its_help(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([group, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: runner {group} ")
    assert "install-completion" not in shown, "only the program itself has that"


def test_help_lists_all_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [shown.count(f"\n  {name} ") for name in GROUPS] == [1] * len(GROUPS) != []


@pytest.mark.parametrize("words", [[], *([group] for group in GROUPS)])
def test_help_cuts_nothing_off_and_ends_with_an_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    _, commands, listed = shown.partition("\nCommands:\n")
    assert "..." not in listed
    if commands:
        assert shown.splitlines()[-1].startswith("  Example: runner ")


def commands() -> Iterator[list[str]]:
    for group in GROUPS:
        for it in import_module(f"runner.cli.{group}").app.registered_commands:
            if not it.hidden:
                yield [group] if it.name == group else [group, it.name]


def test_there_are_few_enough_commands_to_look_through() -> None:
    assert len(list(commands())) <= 30


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_of_a_command_fits_and_has_an_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert f"Example: runner {' '.join(words)}" in shown.replace("\n  ", " ")
    assert "--verbose" in shown


def test_without_a_command_ten_lines_show_what_one_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 10
    assert max(map(len, shown)) <= 80
    told = [line.split()[1] for line in shown if line.startswith("  runner ")]
    assert set(told) < set(GROUPS)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["laod", "prog.bpf.o"], "did you mean 'load'?"),
        (["cell", "shwo"], "did you mean 'show'?"),
        (["nothing"], "known: load, "),
    ],
)
def test_an_unknown_command_is_bad_usage_and_the_nearest_is_named(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(words) == 64
    assert hint in capsys.readouterr().err
