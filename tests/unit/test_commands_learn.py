# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a run teaches about commands: the tests that fail, and on which kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runner import yamlfile
from runner.model import CellResult, Row
from runner.probes.commands.judge import rows_of
from runner.probes.commands.written import CommandKeys, UserCommand
from runner.probes.kinds import KINDS
from runner.probes.lessons import entered
from tests.samples import cell, pin
from tests.unit.test_commands_judge import GO, answer, command, result

KIND = KINDS["commands"]
learn = KIND.learn
FINE: dict[str, Any] = {"output": GO.format("A", "PASS") + GO.format("B", "PASS")}
BAD: dict[str, Any] = {"status": 1, "output": GO.format("A", "FAIL") + GO.format("B", "PASS")}


def asked(mine: UserCommand, **kernels: dict[str, Any]) -> list[tuple[CellResult, tuple[Row, ...]]]:
    """By version, `v6_1_192`."""
    versions = {name.removeprefix("v").replace("_", "."): run for name, run in kernels.items()}
    results = [result(answer(dict(run)), version=version) for version, run in versions.items()]
    return [(each, tuple(rows_of(each, mine))) for each in results]


def entries(mine: UserCommand, **kernels: dict[str, Any]) -> list[dict[str, object]]:
    return [it.entry("learned") for it in learn([mine], asked(mine, **kernels)).entries]


def test_a_test_that_fails_is_an_entry_and_the_command_is_none() -> None:
    found = entries(command(results="gotest"), v6_1_192=BAD, v6_12_117=FINE)
    assert found == [{"tests": ["TestA"], "until": ["6.12"], "answer": "failed", "why": "learned"}]


def test_a_command_without_tests_is_named_by_its_id() -> None:
    found = entries(command(), v6_1_192={}, v6_12_117={"status": 3}, v6_18_15={"status": 3})
    assert found == [{"tests": ["mine"], "since": ["6.12"], "answer": "failed", "why": "learned"}]


def test_a_name_is_no_pattern() -> None:
    odd = {"status": 1, "output": "--- FAIL: TestA/[*] (0.00s)\n"}
    (entry,) = entries(command(results="gotest"), v6_1_192=odd)
    assert entry["tests"] == ["TestA/[[][*]]"]
    mine = command(results="gotest", expect=[entry])
    assert {str(row.verdict) for _, rows in asked(mine, v6_1_192=odd) for row in rows} <= {"holds", "not applicable"}


def test_what_was_learned_is_held_by_the_same_run() -> None:
    kernels = {"v6_1_190": FINE, "v6_1_192": BAD, "v6_12_117": FINE, "v6_18_15": BAD}
    mine = command(results="gotest", expect=entries(command(results="gotest"), **kernels))
    assert {str(row.verdict) for _, rows in asked(mine, **kernels) for row in rows} == {"holds", "not applicable"}
    assert learn([mine], asked(mine, **kernels)).entries == ()


def test_nothing_is_learned_from_no_answer() -> None:
    assert entries(command(), v6_1_192={"status": None, "ended": "time"}) == []


def test_what_passes_against_an_entry_is_told() -> None:
    mine = command(results="gotest", expect=[{"tests": ["TestA"], "answer": "failed", "why": "old"}])
    lesson = learn([mine], asked(mine, v6_1_192=FINE))
    assert lesson.doubts == ("mine/TestA on 6.1.192-x86_64: it passed, though expected to be failed: old",)
    assert lesson.gone == ("mine: TestA, every kernel: old",)


def test_a_command_that_the_file_lacks_is_added_whole(tmp_path: Path) -> None:
    mine = command(results="gotest", timeout_s=20)
    found = learn([mine], asked(mine, v6_1_192=BAD)).entries
    text = entered("# ours\n", KIND, {"mine": KIND.begun((mine,), "mine")}, found, why="w", path="f")
    (tmp_path / "f.yaml").write_text(text)
    (written,) = yamlfile.validate(yamlfile.load(tmp_path / "f.yaml"), CommandKeys).commands
    assert (written.id, written.run, written.timeout_s, written.results) == ("mine", ("./mine",), 20, "gotest")
    assert [(it.tests, it.answer) for it in written.expect] == [(("TestA",), "failed")]


def test_an_entry_is_found_by_its_programs_name() -> None:
    assert KIND.is_of({"run": ["./mine", "-v"]}, "mine")
    assert not KIND.is_of({"id": "other", "run": ["./mine"]}, "mine")


def test_a_kernel_whose_architectures_differ_is_in_no_entry() -> None:
    mine = command()
    cells = asked(mine, v6_1_192={"status": 3}, v6_12_117={"status": 3}, v6_18_15={})
    other = result(answer({}), version="6.12.117").model_copy(update={"cell": cell(pin("6.12.117", "arm64"))})
    lesson = learn([mine], [*cells, (other, tuple(rows_of(other, mine)))])
    assert [(it.since, it.until) for it in lesson.entries] == [("", "6.12")]
    assert lesson.doubts == ("mine on 6.12.117: architectures differ",)
