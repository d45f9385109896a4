# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Reads the output of a Rust test binary: libtest's text, and the lines of `--format json`.

Formats: library/test/src/formatters/{pretty,json}.rs of Rust 1.97.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from runner.probes.commands.results import MOST_TESTS, Parsed, Results, State, events_of, lines_of

# where the output of a test lacks its line feed, the next line stands behind it
_TEST = re.compile(r"(?:^|(?<=\S))test (\S.{0,1000}?)(?: - should panic| - compile fail| - compile)? \.\.\. ?(.*)$")
_RESULT = re.compile(r"^(ok|FAILED|ignored|bench:.*)(?:, (.*))?(?: <[\d.]+s>)?$")
_SUMMARY = re.compile(r"^test result: (?:ok|FAILED)\. (\d{1,9}) passed; (\d{1,9}) failed; (\d{1,9}) ignored;")
_STDOUT = re.compile(r"^---- (\S.{0,1000}) stdout ----$")
_PANICKED = re.compile(r"^thread '.*' (?:\(\d+\) )?panicked at (.*)")
_MOST_LINES = 50  # of the output of one test
_RUNNING_LONG = "has been running for over "
_EVENTS: dict[str, State] = {"ok": "passed", "failed": "failed", "ignored": "skipped"}
_WORDS: dict[str, State] = {"ok": "passed", "FAILED": "failed", "ignored": "skipped"}


def parse(output: str, exit_status: int | None) -> Parsed:
    """The tests. `exit_status` None: the binary was ended from outside, so that nothing blames the test that ran."""
    run = _Run(exit_status)
    # Output of a test that lacks its line feed stands before an event, and may look the same; inside one no quotation
    # mark is without its backslash.
    lines = events_of(output, lambda line: line.rfind('{ "type": "'))
    events = [event for event in lines if event.get("type") in {"suite", "test", "bench"}]
    if events:
        for event in events:
            _take(run, event)
    else:
        _read_text(run, lines_of(output))
    return run.ended()


def _take(run: _Run, event: dict[str, object]) -> None:
    name, what = str(event.get("name") or ""), str(event.get("event") or "")
    if event["type"] == "suite":
        if what == "started":
            run.begun += 1
        elif what in {"ok", "failed"}:
            counts = (event.get(key) for key in ("passed", "failed", "ignored"))
            run.over(*(count if isinstance(count, int) else 0 for count in counts))
    elif what == "started":
        run.start(name)
    elif what in _EVENTS or event["type"] == "bench":
        said = str(event.get("message") or event.get("stdout") or event.get("reason") or "")
        run.result(name, _EVENTS.get(what, "passed"), _panic(said.splitlines()))


def _panic(lines: Iterable[str]) -> str:
    """Why a test panicked, in its output; else how that begins."""
    kept = [line for line in lines if line.strip() and not line.startswith("note: run with")]
    for number, line in enumerate(kept):
        if found := _PANICKED.match(line):
            return f"panicked at {found[1]} {' '.join(kept[number + 1 : number + 4])}"
    return " ".join(kept[:3])


def _read_text(run: _Run, lines: Iterable[str]) -> None:
    """With one thread `test NAME ... ` is written before the test runs; its output may come in between, or before."""
    last, listing, shown, output = "", False, "", list[str]()
    for line in lines:
        test = _TEST.search(line)
        result = _RESULT.match(test[2]) if test else None
        if test and (result or test.start() == 0) and _RUNNING_LONG not in line:
            run.settle(last)
            run.start(test[1])
            if result:
                run.result(test[1], _WORDS.get(result[1], "passed"), result[2] or "")
        elif line.startswith("running ") and line.endswith((" tests", " test")):
            run.begun += 1
            listing = False
        elif summary := _SUMMARY.match(line):
            run.settle(last)
            run.over(*map(int, summary.groups()), listed=True)
        elif found := _STDOUT.match(line):
            run.explain(shown, _panic(output))
            shown, output = found[1], []
        elif line == "failures:":
            run.settle(last)
            run.explain(shown, _panic(output))
            listing, shown, output = True, "", []
        elif shown and len(output) < _MOST_LINES:
            output.append(line)
        elif listing and not shown and line.startswith("    ") and " " not in line.strip():
            run.result(line.strip(), "failed")
        last = line or last


class _Run:
    """What has been read."""

    def __init__(self, exit_status: int | None) -> None:
        self.begun = 0  # suites
        self._ended = 0
        self._count = self._failed = 0  # tests, by the last lines of the suites
        self._pending = ""  # the test whose result is to come
        self._running: dict[str, None] = {}
        self._exit_status = exit_status
        self._results: dict[str, tuple[State, str]] = {}

    def start(self, name: str) -> None:
        """A test begins."""
        if len(self._running) <= MOST_TESTS:
            self._pending = name
            self._running[name] = None

    def settle(self, last: str) -> None:
        """The output goes on behind the test whose result was to come: that ends the `last` line, with no line feed."""
        word = next((word for word in _WORDS if last.endswith(word)), "")
        if self._pending and word:
            self.result(self._pending, _WORDS[word])

    def result(self, name: str, state: State, why: str = "") -> None:
        """A test has a result."""
        self._running.pop(name, None)
        self._pending = ""
        if len(self._results) <= MOST_TESTS and self._results.get(name, ("",))[0] != "failed":
            self._results[name] = state, why

    def explain(self, name: str, why: str) -> None:
        """Why a test failed, which stands behind the results."""
        if self._results.get(name, ("",))[0] == "failed":
            self._results[name] = "failed", why

    def over(self, passed: int, failed: int, ignored: int, *, listed: bool = False) -> None:
        """The last line of a suite. None of its tests runs on; one without a result was lost.

        `listed`: it has passed where all that failed are known, for text lists these alone.
        """
        self._ended += 1
        self._count += passed + failed + ignored
        self._failed += failed
        if listed and sum(state == "failed" for state, _ in self._results.values()) >= self._failed:
            for name in list(self._running):
                self.result(name, "passed")
        self._running.clear()

    def ended(self) -> Parsed:
        """The output is over."""
        results = Results()
        results.extend((name, *result) for name, result in self._results.items())
        if len(self._running) == 1 and self._exit_status:  # of several nobody knows which it was
            why = f"the test binary ended while it ran, exit status {self._exit_status}"
            results.extend((name, "failed", why) for name in self._running)
        if self._ended < max(self.begun, 1):
            return results.parsed("it ended before its last line")
        lost = self._count - len(results)
        return results.parsed(
            f"its last line counts {self._count} tests, {lost} more than have a result" if lost > 0 else ""
        )
