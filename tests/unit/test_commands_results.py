# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Parsers of test output, on what real programs printed: tests/data/commands/output. And on what none should print."""

from __future__ import annotations

import json
from time import process_time
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tap.parser import Parser

from runner.probes.commands.judge import parse
from runner.probes.commands.results import LONGEST_NAME, MOST_TESTS, Parsed, ResultsKind
from runner.text import plain
from tests.samples import DATA

SAMPLES = DATA / "commands" / "output"
WORD = {"passed": "+", "failed": "-", "skipped": "~"}

GO = [
    "+TestOne", "~TestSkipped", "-TestFails", "-TestSub", "+TestSub/good", "-TestSub/a_b", "~TestSub/a_b#01",
    "+TestSub/deep", "+TestSub/deep/er", "-TestPar", "+TestPar/x", "-TestPar/y", "+TestPar/z",
]  # fmt: skip
RUST = [
    "+tests::deep::er", "-tests::fails", "~tests::ignored", "~tests::ignored_why", "+tests::one", "+tests::panics",
    "-tests::panics_not", "-tests::result", "+tests::shows",
]  # fmt: skip
RUST_ALL = [*RUST, "+tests::zz_ends", "+tests::zzz_last"]
# two that print what looks like an event, without its end, and fail
UNENDED = ["-tests::fails_behind_half_of_it", "-tests::fails_behind_its_own_json", "+tests::passes"]
PERL = [
    "+first", "-second fails", "-issue #12 works", "+a group/in it", "-a group/bad in it", "+a group/deeper/1",
    "+a group/deeper", "-a group", "~skipped group", "~6", "~todo test", "-same", "+10",
]  # fmt: skip
NODE = ["+top/inner one", "-top/inner two", "-top", "~skipped", "~todo", "+plain"]
GTEST = ["+Suite.Ok", "-Suite.Bad", "~Suite.Skips", "~Suite.DISABLED_d", "+I/P.x/0", "-I/P.x/1"]
PYTEST = [
    "+test_a.test_ok", "-test_a.test_bad", "+test_a.TestC.test_p[a b]", r"+test_a.TestC.test_p[\xe9]",
    r"+test_a.TestC.test_p[\x00]", "~test_a.test_s", "~test_a.test_x", "-test_a.test_e", "-test_a.test_l",
]  # fmt: skip
KSELFTEST = [
    "+net: tls/connects", "-net: tls/sends", "~net: tls/rekeys: no algorithm", "~net: tls/splices", "-net: tls/closes",
    "+net: tls/ends", "-net: tls", "+net: har/global.adds", "-net: har/global.fails", "~net: har/no algorithm",
    "-net: har/f.one.crashes", "-net: har", "~net: foo.sh", "-net: slow.sh",
]  # fmt: skip
KUNIT = [
    "-suite_a/case_a/test_1", "+suite_a/case_a/test_2", "-suite_a/case_a", "-suite_a/case_b/param0",
    "~suite_a/case_b/param1", "-suite_a/case_b", "-suite_a", "~main_test_2", "~main_test_3",
]  # fmt: skip


def sample(kind: ResultsKind, name: str, exit_status: int | None = 1) -> Parsed:
    content = (SAMPLES / name).read_bytes()
    return parse(kind, content.decode(), exit_status, {name: content} if kind == "junit" else {})


def shown(parsed: Parsed) -> list[str]:
    return [f"{WORD[it.state]}{it.name}" for it in parsed.tests]


def why(parsed: Parsed) -> dict[str, str]:
    return {it.name: it.why for it in parsed.tests if it.why}


@pytest.mark.parametrize(
    ("kind", "name", "tests", "incomplete"),
    [
        ("gotest", "gotest.txt", [*GO, "+TestEnds", "+TestLast", "+ExampleHello"], ""),
        ("gotest", "gotest.jsonl", [*GO, "+TestEnds", "+TestLast", "+ExampleHello"], ""),
        ("gotest", "gotest-marked-panic.txt", [*GO, "-TestEnds", "-TestEnds/inner"], "panic: inner boom"),
        ("gotest", "gotest-timeout.txt", [*GO, "-TestEnds", "-TestEnds/slow"], "panic: test timed out after 2s"),
        ("gotest", "gotest-1.19-parallel-panic.txt", [*GO, "-TestEnds", "-TestEnds/q"], "panic: q panics"),
        ("gotest", "gotest-exit.txt", [*GO, "-TestEnds"], "it ended while tests ran"),
        ("libtest", "libtest.txt", RUST_ALL, ""),
        ("libtest", "libtest-nocapture.txt", RUST_ALL, ""),
        ("libtest", "libtest.jsonl", RUST_ALL, ""),
        ("libtest", "libtest-unended.jsonl", UNENDED, ""),
        ("libtest", "libtest-abort.txt", [*RUST, "-tests::zz_ends"], "it ended before its last line"),
        ("tap", "perl.tap", PERL, ""),
        ("tap", "perl-killed.tap", [*PERL, "+cut/before"], "it ended without a plan"),
        ("tap", "perl-bail-out.tap", PERL, "Bail out! no kernel"),
        ("tap", "node.tap", NODE, ""),
        ("tap", "bats.tap", ["+adds", "-fails", "~skips"], ""),
        ("ktap", "kselftest.ktap", [f"{it[0]}selftests: {it[1:]}" for it in KSELFTEST], ""),
        ("ktap", "kunit-dmesg.ktap", KUNIT, ""),
        ("junit", "pytest.xml", PYTEST, ""),
        ("junit", "gtest.xml", GTEST, ""),
    ],
)
def test_what_real_programs_printed(kind: ResultsKind, name: str, tests: list[str], incomplete: str) -> None:
    found = sample(kind, name)
    assert sorted(shown(found)) == sorted(tests)
    assert found.incomplete.startswith(incomplete)
    assert bool(found.incomplete) == bool(incomplete)


def test_a_failed_test_has_its_words() -> None:
    assert why(sample("gotest", "gotest.txt")) == {
        "TestSkipped": "needs v6.9", "TestFails": "got 1, want 2", "TestSub/a_b": "no", "TestPar/y": "y is wrong",
    }  # fmt: skip
    assert why(sample("gotest", "gotest-exit.txt", 3))["TestEnds"].endswith("exit status 3")
    assert "one is not two" in why(sample("libtest", "libtest.txt"))["tests::fails"]
    assert why(sample("tap", "node.tap"))["top/inner two"] == "Expected values to be strictly equal:"
    assert why(sample("tap", "perl.tap"))["second fails"] == "Failed test 'second fails'; at t/a.t line 3."
    assert why(sample("ktap", "kselftest.ktap"))["selftests: net: tls/sends"] == "sent 5 bytes, received 4"
    assert why(sample("junit", "pytest.xml"))["test_a.test_bad"].startswith("AssertionError: one")


def test_nobody_is_blamed_for_an_end_from_outside() -> None:
    """The time limit of the command ends it: the test that ran has no result."""
    assert sorted(shown(sample("gotest", "gotest-exit.txt", None))) == sorted(GO)
    assert shown(sample("libtest", "libtest-abort.txt", None)) == RUST


def test_of_several_tests_at_once_none_is_blamed() -> None:
    begun = "=== RUN   TestA\n=== PAUSE TestA\n=== RUN   TestB\n=== PAUSE TestB\n=== CONT  TestA\n"
    assert shown(parse("gotest", begun, 2, {})) == ["-TestA"]
    assert shown(parse("gotest", begun + "=== CONT  TestB\n", 2, {})) == []


def test_go_that_runs_a_test_more_than_once() -> None:
    once = "=== RUN   TestA\n--- {}: TestA (0.00s)\n"
    output = once.format("PASS") + once.format("FAIL") + once.format("PASS")
    assert shown(parse("gotest", output, 1, {})) == ["-TestA"]


def test_the_output_of_a_test_is_not_the_result_of_another() -> None:
    a = "=== RUN   TestA\n--- PASS: TestA (0.00s)\n"
    forged = "=== RUN   TestB\n--- FAIL: TestA (0.00s)\n    x.go:1: --- FAIL: TestC (0.00s)\n--- PASS: TestB (0.00s)\n"
    assert shown(parse("gotest", a + forged + "PASS\n", 0, {})) == ["+TestA", "+TestB"]
    marked = (
        "\x16=== RUN   TestA\n\x1b\x16--- FAIL: TestA (0.00s)\n--- FAIL: TestA (0.00s)\n\x16--- PASS: TestA (0.00s)\n"
    )
    assert shown(parse("gotest", marked, 0, {})) == ["+TestA"]
    rust = "running 2 tests\ntest a ... FAILED\nFAILED\nnoise ok\ntest b ... ok\n"
    rust += "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\n"
    assert shown(parse("libtest", rust.replace("test a ... FAILED", "test a ... x"), 0, {})) == ["+a", "+b"]


def test_go_without_v_names_what_failed() -> None:
    output = "--- FAIL: TestA (0.00s)\n    a_test.go:5: got 1\n    --- FAIL: TestA/sub (0.00s)\nFAIL\n"
    found = parse("gotest", output, 1, {})
    assert shown(found) == ["-TestA", "-TestA/sub"]
    assert why(found)["TestA"] == "got 1"
    assert parse("gotest", "PASS\n", 0, {}).tests == ()


def test_go_packages_stand_before_their_tests() -> None:
    lines = [{"Action": "pass", "Package": package, "Test": "TestA"} for package in ("example.com/a", "example.com/b")]
    output = "noise\n" + "\n".join(map(json.dumps, lines)) + "\n{broken\n"
    assert shown(parse("gotest", output, 0, {})) == ["+example.com/a.TestA", "+example.com/b.TestA"]


def test_libtest_that_loses_results_says_so() -> None:
    output = "running 2 tests\ntest a ... ok\n\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\n"
    assert parse("libtest", output, 0, {}).incomplete.startswith("its last line counts ")
    cut = output.replace("\n\n", "\ntest b ... output\n[... 9 bytes ...]\n\n").replace("2 passed; 0", "1 passed; 1")
    assert shown(parse("libtest", cut, 101, {})) == ["+a"]
    assert shown(parse("libtest", cut.replace("1 passed; 1", "2 passed; 0"), 0, {})) == ["+a", "+b"]
    lines = (SAMPLES / "libtest-unended.jsonl").read_text().splitlines()
    broken = parse("libtest", "\n".join(line for line in lines if "(15828) panicked" not in line), 101, {})
    assert shown(broken) == ["-tests::fails_behind_its_own_json", "+tests::passes"]
    assert broken.incomplete == "its last line counts 3 tests, 1 more than have a result"


@pytest.mark.parametrize(
    ("output", "tests", "incomplete"),
    [
        ("1..3\nok 1 - a\nok 2 - b\n", ["+a", "+b"], "its plan is 3 tests, and 2 have a result"),
        ("ok 1 - a\n", ["+a"], "it ended without a plan"),
        ("TAP version 14\n", [], ""),
        ("ok 1 - a\nok then\n  ok\nokay 2\n1..1\n", ["+a"], ""),
        ("ok\nnot ok\n1..2\n", ["+1", "-2"], ""),
        ("1..1\nok 1 - a \\# b \\\\ c # time=12ms\n", ["+a # b \\ c"], ""),
        ("1..2\nok 1 - a # sKiPped: x\nnot ok 2 - b # TODO y\n", ["~a", "~b"], ""),
        ("1..1\nok 1 - a\n  ---\n  x: |\n    not ok 2 - b\n  ...\n", ["+a"], ""),
        ("1..1\nok 1 - a {\n    1..1\n    not ok 1 - b\n}\n", ["+a", "-a/b"], ""),
        ("10%\r100%\rok 1 - a\r\n1..1\r\n", ["+a"], ""),
        ("1..1\n\x1b[32mok\x1b[0m 1 - a\n", ["+a"], ""),
        ("1..1\nok 1 - a\n1..1\nok 1 - b\n", ["+a", "+b"], ""),
        ("1..2\n    1..2\n    ok 1 - x\nBail out!\nok 2 - b\n", [], "Bail out!"),
    ],
)
def test_tap(output: str, tests: list[str], incomplete: str) -> None:
    found = parse("tap", output, 0, {})
    assert (shown(found), found.incomplete) == (tests, incomplete)


def test_tap_that_skips_everything() -> None:
    assert parse("tap", (SAMPLES / "perl-skip-all.tap").read_text(), 0, {}) == Parsed(skipped="SKIP not root")


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.from_regex(r"[a-z]{1,9}( [a-z]{1,9})?", fullmatch=True), st.sampled_from(["", "SKIP no"])
        ),
        min_size=1,
        unique_by=lambda test: test[1],
    )
)
def test_plain_tap_is_read_as_another_parser_reads_it(tests: list[tuple[bool, str, str]]) -> None:
    lines = [
        f"{'ok' if good else 'not ok'} {number} - {name}{said and f' # {said}'}"
        for number, (good, name, said) in enumerate(tests, 1)
    ]
    output = "\n".join([f"1..{len(tests)}", *lines])
    theirs = [line for line in Parser().parse_text(output) if line.category == "test"]
    expected = [("~" if it.skip else "+" if it.ok else "-") + it.description.removeprefix("- ") for it in theirs]
    assert shown(parse("tap", output, 0, {})) == expected


@pytest.mark.parametrize(
    "content",
    [
        '<!DOCTYPE x [<!ENTITY a "b">]><testsuite><testcase name="&a;"/></testsuite>',
        '<?xml version="1.0"?><!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuite><testcase name="a"/></testsuite>',
        '<?xml version="1.0" encoding="none-such"?><testsuite><testcase name="a"/></testsuite>',
        "<testsuite>" * 1000,
    ],
)
def test_xml_that_declares_entities_is_refused(content: str) -> None:
    for output, files in ((content, {}), ("", {"a.xml": content.encode()})):
        found = parse("junit", output, 0, files)
        assert found.tests == ()
        assert "no whole JUnit XML" in found.incomplete


def test_xml_on_the_output_between_noise() -> None:
    suite = '<testsuite name="s"><testcase classname="c" name="{}"/></testsuite>'
    output = f"noise <b>\n{suite.format('a')}\nmore <noise\n<?xml version='1.0'?>{suite.format('b')}\nend"
    assert shown(parse("junit", output, 0, {})) == ["+c.a", "+c.b"]
    assert parse("junit", output, 0, {}).incomplete == ""


def test_xml_that_was_cut_has_its_first_tests() -> None:
    content = (SAMPLES / "pytest.xml").read_bytes()
    found = parse("junit", "", 1, {"a.xml": content[: content.index(b"TestC")]})
    assert shown(found) == PYTEST[:2]
    assert found.incomplete.startswith("a.xml is no whole JUnit XML")


def test_names_stay_apart_and_have_an_end() -> None:
    names = ["x" * 5000 + end for end in "ab"]
    output = "\n".join(
        [*(f"ok {number} - {name}" for number, name in enumerate(names, 1)), "ok 3 - same", "ok 4 - same"]
    )
    found = parse("tap", output, 0, {})
    assert len(found.tests) == 2  # lines are cut before the names differ
    files = {"a.xml": "".join(["<testsuite>", *(f'<testcase name="{it}"/>' for it in names), "</testsuite>"]).encode()}
    assert len(parse("junit", "", 0, files).tests) == 2


OUTPUT = {
    "gotest": "=== RUN   Test{0}\n--- PASS: Test{0} (0.00s)\n",
    "libtest": "test t{0} ... ok\n",
    "tap": "ok {0} - test {0}\n",
    "ktap": "ok {0} test {0}\n",
    "junit": '<testcase name="t{0}"/>',
}


@pytest.mark.parametrize("kind", OUTPUT)
def test_ten_thousand_tests_and_too_many(kind: ResultsKind) -> None:
    begin, end = ("<testsuite>", "</testsuite>") if kind == "junit" else ("running 1 tests\n", "")
    for count in (10_000, MOST_TESTS + 10):
        output = begin + "".join(OUTPUT[kind].format(number) for number in range(1, count + 1)) + end
        start = process_time()
        found = parse(kind, output, 0, {})
        assert process_time() - start < 10
        assert len(found.tests) == min(count, MOST_TESTS)
        assert ("more than" in found.incomplete) == (count > MOST_TESTS)


HOSTILE = [
    "",
    "\n" * 100,
    "\x00\udcff\ud800",
    "\x1b]0;",
    "{" * 5000,
    "[" * 100_000,
    "ok 1 " + "#" * 5000,
    "\x16" * 5000,
]


@pytest.mark.parametrize("kind", get_args(ResultsKind))
@given(
    st.text()
    | st.lists(
        st.sampled_from([
            "ok 1 - a", "not ok 2", "1..2", "    ", "  ---", "  ...", "# Subtest: x", "KTAP version 1", "}", " {", "\n",
            "=== RUN   TestA", "--- FAIL: TestA (0.00s)", "panic: x", "\t\tTestA (1s)", "\x16", "test a ... ", "ok\n",
            '{"Action":"run","Test":["x"]}', '{ "type": "test", "event": "ok", "name": null }', '{ "type": "suite" }',
            '{ "type": "suite", "event": "ok", "passed": "x" }', "test result: ok. 1 passed; 0 failed; 0 ignored;",
            "failures:\n", "---- a stdout ----", "<testsuite>", "<testcase name='a'>", "</testcase>", "<failure>", "&",
            "<?xml version='1.0'?>", "\u202e", "\ud800", "\x1b[31m", "\r", "\x00",
        ])
    ).map("".join),
    st.none() | st.integers(-64, 255),
)  # fmt: skip
@example(HOSTILE[2], 1)
def test_no_output_does_harm(kind: ResultsKind, output: str, exit_status: int | None) -> None:
    files = {"a.xml": output.encode(errors="replace")}
    for found in (parse(kind, output, exit_status, {}), parse(kind, output, exit_status, files)):
        names = [it.name for it in found.tests]
        assert len(set(names)) == len(names)
        for text in (*names, *(it.why for it in found.tests), found.incomplete, found.skipped):
            assert plain(text) == text
        assert all(0 < len(name) <= LONGEST_NAME for name in names)
        assert all(it.state in WORD for it in found.tests)


@pytest.mark.parametrize("kind", get_args(ResultsKind))
@pytest.mark.parametrize("piece", [*HOSTILE, *OUTPUT.values(), "\x16", "not ok 1 a\n#x\n", "<testsuite"])
def test_long_output_takes_time_in_proportion(kind: ResultsKind, piece: str) -> None:
    most = 1 << 18
    count = 1 + most // max(len(piece), 1)
    for output in (piece * count, piece.replace("\n", " ") * count):
        start = process_time()
        parse(kind, output[:most], 1, {"a.xml": output[:most].encode(errors="replace")})
        assert process_time() - start < 10  # a slow machine needs a tenth of that
