# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a command did in a guest, held against what is expected of it. No answer is the default."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from runner.model import Answer, CellResult, Crash, Outcome, Row, Verdict
from runner.probes import Expectations
from runner.probes.commands import judge
from runner.probes.commands.judge import rows_of, runs_of
from runner.probes.commands.written import CommandEntry, CommandSettings, UserCommand
from runner.probes.kinds import KINDS
from runner.reports.cell import probe_report
from runner.results.model import JudgedCell
from tests.samples import cell, pin
from tests.unit.rendering import render

GO = "=== RUN   Test{0}\n    a_test.go:7: no map\n--- {1}: Test{0} (0.00s)\n"
BAD = GO.format("Bad", "FAIL") + "FAIL\n"
GOOD = GO.format("Good", "PASS")


def command(**settings: Any) -> UserCommand:
    return UserCommand("mine", ("./mine",), CommandSettings.model_validate(settings), {})


def packed(text: str | bytes) -> str:
    return base64.b64encode(zlib.compress(text if isinstance(text, bytes) else text.encode())).decode()


def answer(*runs: dict[str, Any], parts: dict[str, Any] | None = None) -> Answer:
    """Of runs as the agent tells them; `output` is what one printed."""
    given = [{"status": 0, "ended": "", "duration_s": 0.5, **run} for run in runs]
    outputs = {f"{number}/output": packed(it.pop("output", "")) for number, it in enumerate(given)}
    body: dict[str, Any] = {"runs": given, "parts": {**outputs, **(parts or {})}}
    return Answer(kind="commands", probe="mine", body=body)


def result(*answers: Answer, version: str = "6.1.192", **more: Any) -> CellResult:
    return CellResult(cell=cell(pin(version)), answers=answers, **{"outcome": Outcome.RAN, **more})


def judged(*runs: dict[str, Any], mine: UserCommand | None = None, version: str = "6.1.192") -> dict[str, Row]:
    """By the test's name; the command's own row is at the empty one."""
    found = rows_of(result(answer(*runs), version=version), mine or command())
    return {row.subject.partition("/")[2]: row for row in found}


def ends(*runs: dict[str, Any], **settings: Any) -> tuple[str, Verdict | None]:
    row = judged(*runs, mine=command(**settings))[""]
    return row.state, row.verdict


TOO_NEW = "./new: /lib/x86_64-linux-gnu/libm.so.6: version `GLIBC_2.99' not found (required by ./new)\n"
NO_ANSWER = ("no answer", "no answer")
FAILED = ("failed", "broken")


@pytest.mark.parametrize(
    ("run", "ending", "cause"),
    [
        ({}, ("passed", "holds"), ""),
        ({"status": 3, "output": "one\nno such map\n\n"}, FAILED, "exit status 3; no such map"),
        ({"status": -11}, FAILED, "killed by SIGSEGV"),
        ({"status": -9999}, FAILED, "killed by signal 9999"),
        ({"status": 77}, ("skipped", "not applicable"), "exit status 77"),
        ({"status": 126}, NO_ANSWER, "cannot be executed"),
        ({"status": 127, "output": "sh: bpftool: not found\n"}, NO_ANSWER, "was not found: sh: bpftool: not found"),
        ({"status": None, "ended": "time"}, NO_ANSWER, "its time limit"),
        ({"status": None, "ended": "silence"}, NO_ANSWER, "its silence limit"),
        ({"status": 1, "oom_kills": 1}, NO_ANSWER, "lack of memory (--memory)"),
        ({"status": 1, "refused_forks": 2}, NO_ANSWER, "the limit of its processes"),
        ({"status": 1, "full": ["/tmp"]}, NO_ANSWER, "no room is left on /tmp"),
        ({"status": 1, "output": TOO_NEW}, NO_ANSWER, "exit status 1; ./new needs a newer C library: GLIBC_2.99"),
        ({"status": 0, "output": TOO_NEW}, ("passed", "holds"), ""),
        ({"status": 0, "oom_kills": 1}, ("passed", "holds"), ""),
    ],
)
def test_how_it_ends_decides(run: dict[str, Any], ending: tuple[str, str], cause: str) -> None:
    row = judged(run)[""]
    assert (row.state, row.verdict) == ending
    assert cause in row.cause


def test_the_user_says_what_an_exit_status_and_a_limit_mean() -> None:
    late: dict[str, Any] = {"status": None, "ended": "time"}
    assert ends({"status": 5}, skip_exit=[5]) == ("skipped", "not applicable")
    assert ends({"status": 77}, skip_exit=[5]) == FAILED
    assert ends({"status": 127}, skip_exit=[127]) == ("skipped", "not applicable")
    assert ends(late, timeout_is="failed") == FAILED
    assert ends({**late, "oom_kills": 1}, timeout_is="failed") == NO_ANSWER


def test_what_the_guest_lacks_is_not_held_against_a_test() -> None:
    found = judged({"status": 1, "oom_kills": 1, "output": GOOD + BAD}, mine=command(results="gotest"))
    assert {name: row.state for name, row in found.items()} == {
        "TestGood": "passed", "TestBad": "no answer", "": "no answer"
    }  # fmt: skip


def test_each_test_has_a_row_and_the_command_the_last_one() -> None:
    found = judged({"status": 1, "output": GOOD + BAD}, mine=command(results="gotest"))
    assert {name: (row.state, row.verdict) for name, row in found.items()} == {
        "TestGood": ("passed", "holds"), "TestBad": FAILED, "": FAILED
    }  # fmt: skip
    assert "no map" in found["TestBad"].cause
    assert "a_test.go:7" in found[""].log


def test_an_output_without_a_test_is_no_answer() -> None:
    assert ends({"output": "hello\n"}, results="gotest") == NO_ANSWER
    assert ends({"output": "hello\n"}, results="exit") == ("passed", "holds")


def test_an_expectation_holds_on_its_kernels_alone() -> None:
    expected = {"tests": ["TestB*"], "until": ["6.10"], "answer": "failed", "why": "no dynptrs"}
    mine = command(results="gotest", expect=[expected])
    run = {"status": 1, "output": GOOD + BAD}
    old, new = judged(run, mine=mine), judged(run, mine=mine, version="6.12.1")
    assert (old["TestBad"].verdict, old[""].verdict) == ("holds", "not applicable")
    assert "no dynptrs" in old["TestBad"].cause
    assert (new["TestBad"].verdict, new[""].verdict) == ("broken", "broken")
    against = judged({"output": GO.format("Bad", "PASS")}, mine=mine)["TestBad"]
    assert (against.state, against.verdict) == ("passed", "broken")
    assert "no dynptrs" in against.cause


def test_an_expectation_of_the_command_itself_is_by_its_id() -> None:
    mine = [{"tests": ["mine"], "answer": "failed", "why": "old"}]
    assert ends({"status": 1}, expect=mine) == ("failed", "holds")
    assert ends({}, expect=mine) == ("passed", "broken")
    assert ends({"status": None, "ended": "time"}, expect=mine) == NO_ANSWER


def test_a_flake_is_neither_of_the_kernel_nor_against_it() -> None:
    good, bad = {"output": GO.format("One", "PASS")}, {"status": 1, "output": GO.format("One", "FAIL")}
    found = judged(good, bad, good, mine=command(results="gotest"))
    for row in found.values():
        assert (row.state, row.verdict) == NO_ANSWER
        assert row.details["flaky"] == {"passed": 2, "failed": 1}
    assert judged(bad, bad)[""].cause.endswith("2 of 2 runs")
    late: dict[str, Any] = {"status": None, "ended": "time"}
    assert ends(late, {"status": 1}) == FAILED
    assert ends(late, late) == NO_ANSWER


def test_a_lost_guest_and_an_agent_without_an_answer_say_nothing() -> None:
    lost = result(outcome=Outcome.INFRA_FAILED, cause="qemu ended")
    failed = result(Answer(kind="commands", probe="mine", failed="./mine cannot be started: no such file"))
    for seen, cause in ((lost, "qemu ended"), (failed, "cannot be started"), (result(), "mine was not asked")):
        (row,) = rows_of(seen, command())
        assert (row.state, row.verdict) == NO_ANSWER
        assert cause in row.cause


def test_what_takes_the_kernel_down_twice_is_broken() -> None:
    (row,) = rows_of(result(crashes=(Crash(probe="mine", cause="BUG: null pointer"),)), command())
    assert (row.state, row.verdict, row.crashed, row.cause) == ("no answer", "broken", True, "BUG: null pointer")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"runs": []},
        {"runs": [{"status": None, "ended": "", "duration_s": 1}]},  # that would be: passed
        {"runs": [{"status": 0, "ended": "time", "duration_s": 1}]},
        {"runs": [{"status": None, "ended": "bored", "duration_s": 1}]},
        {"runs": [{"status": [0], "ended": "", "duration_s": 1}]},
        {"runs": [{"status": 0, "ended": "", "duration_s": 1, "more": 1}]},
        {"runs": [{"status": 0, "ended": "", "duration_s": 1}], "parts": {"0/output": 7}},
    ],
)
def test_a_hostile_body_is_no_answer(body: dict[str, JsonValue]) -> None:
    (row,) = rows_of(result(Answer(kind="commands", probe="mine", body=body)), command())
    assert (row.state, row.verdict) == NO_ANSWER
    assert "the agent's answer is none" in row.cause


@pytest.mark.parametrize("part", ["%%%", "é", "eHl6", base64.b64encode(b"x" * 99).decode()])
def test_a_part_that_cannot_be_read_is_empty(part: str) -> None:
    ((run,), _) = runs_of(answer({}, parts={"0/output": part, "0/files/a": packed("whole")}))
    assert (run.output, run.files) == ("", {"a": b"whole"})


def test_parts_belong_to_their_run_and_have_room_together(monkeypatch: pytest.MonkeyPatch) -> None:
    (one, two), _ = runs_of(answer({"output": "1"}, {"output": "2"}, parts={"1/files/b": packed("b"), "7/output": "x"}))
    assert (one.output, one.files, two.output, two.files) == ("1", {}, "2", {"b": b"b"})
    monkeypatch.setattr(judge, "_MOST_BYTES", 100)
    ((run,), _) = runs_of(
        answer({"output": "x" * 90}, parts={f"0/files/{n}": packed(bytes(1 << 20)) for n in range(9)})
    )
    assert (run.output, run.files) == ("x" * 90, {})
    assert set(run.lost) == {str(n) for n in range(9)}


@given(st.binary(max_size=300))
def test_what_it_prints_breaks_no_row(output: bytes) -> None:
    run = answer({"status": 1}, parts={"0/output": packed(output)})
    (row,) = rows_of(result(run), command())
    assert (row.state, row.verdict) == FAILED
    assert row.cause.isprintable()


EXPECTED = {"tests": ["TestBad"], "answer": "failed", "why": "known"}


@pytest.mark.parametrize(
    ("status", "output", "verdict"),
    [
        (1, GOOD + BAD, "not applicable"),  # it failed for what was expected
        (-11, GOOD + BAD, "broken"),  # it died besides
        (2, GOOD + BAD + "=== RUN   TestNext\npanic: x\n", "broken"),  # it did not come to its end
    ],
)
def test_expected_failures_hide_no_other_end(status: int, output: str, verdict: str) -> None:
    mine = command(results="gotest", expect=[EXPECTED])
    assert judged({"status": status, "output": output}, mine=mine)[""].verdict == verdict


def test_runs_that_tell_nothing_are_not_made_good_by_others() -> None:
    lost: dict[str, Any] = {"status": None, "ended": "time"}
    assert ends({}, lost, {}) == NO_ANSWER
    assert ends({"status": 1}, lost) == FAILED


def test_what_was_not_kept_is_told() -> None:
    body = answer({"output": "1"}, {}).body
    lost = Answer(kind="commands", probe="mine", body={**body, "dropped": ["1/output", "1/files/core"]})
    (one, two), _ = runs_of(lost)
    assert (one.lost, two.lost) == ((), ("output", "core"))
    row = list(rows_of(result(lost), command()))[-1]
    assert (row.state, row.verdict) == NO_ANSWER
    assert row.cause == "1 of 2 runs: exit status 0; what it printed was not kept: too much of all its runs, or damaged"
    assert [it for it in KINDS["commands"].shown(result(lost), row) if it[0] == "not kept"] == [
        ("not kept", "output"), ("not kept", "core")
    ]  # fmt: skip


def test_output_that_is_damaged_is_no_answer() -> None:
    for damaged in ("!", base64.b64encode(b"x").decode(), packed("1" * 5000)[:20]):
        assert ends({"status": 1, "output": ""}) == FAILED
        lost = answer({"status": 1}, parts={"0/output": damaged})
        assert [str(it.verdict) for it in rows_of(result(lost), command())] == ["no answer"]


@pytest.mark.parametrize(
    ("words", "states"),
    [("no map", {"mine/TestBad": "gone-map", "mine/TestGood": "", "mine": ""}),
     ("other", {"mine/TestBad": "", "mine/TestGood": "", "mine": ""})],
)  # fmt: skip
def test_a_known_issue_explains_a_test(words: str, states: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bpf").mkdir()
    (tmp_path / "bpf" / "known-issues.yaml").write_text(
        "issues:\n  - id: gone-map\n    what: w\n    reason: r\n    link: l\n"
        f"    shows: [{{commands: ['mine/Test*'], answer: {{state: failed, words: {words}}}}}]\n"
    )
    entry = CommandEntry(command=("mine",), results="gotest")
    rows = Expectations.load(tmp_path, [entry]).rows(result(answer({"status": 1, "output": BAD + GOOD})))
    assert {row.probe: row.known_issue for row in rows} == states


def test_its_report_names_no_load_and_no_source() -> None:
    entry = CommandEntry(command=("mine",), results="gotest")
    expectations = Expectations.load(Path(), [entry])
    seen = result(answer({"status": 1, "output": BAD}))
    found = JudgedCell(result=seen, rows=expectations.rows(seen))
    (said,) = expectations.said()
    text = render(probe_report(found, "mine", says=said.says, source=said.sources))
    assert "says      it passes" in text
    assert "Output\n  === RUN   TestBad" in text
    assert "load" not in text
    assert "source" not in text
