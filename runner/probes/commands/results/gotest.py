# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Reads the output of a Go test binary: the text of -test.v, also as -test.v=test2json marks it, and test2json's lines.

Formats: testing/testing.go and cmd/internal/test2json/test2json.go of Go 1.27.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from runner.probes.commands.results import MOST_TESTS, Parsed, Results, State, events_of, lines_of

# where the output of a test lacks its line feed, they stand behind it
_UPDATE = re.compile(r"(?<!\s)=== (RUN|PAUSE|CONT|NAME) {1,3}(\S*)$")
_REPORT = re.compile(r"(?:^(?: {4})*|(?<=\S))--- (PASS|FAIL|SKIP): (\S+) \(\d+\.\d+s\)$")
_MARK = re.compile(r"(?<!\x1b)\x16")  # begins such a line under -test.v=test2json; a test's own is escaped
_LOGGED = re.compile(r"^ {4,}\S{1,200}\.go:\d+: ?(.*)")
_FATAL = re.compile(r"^(?:panic: |fatal error: |SIG[A-Z]+: |runtime: out of memory)")
_TIMED_OUT, _WAS_RUNNING = "panic: test timed out", re.compile(r"^\t\t(\S+) \(\S+\)$")
_STATES: dict[str, State] = {"pass": "passed", "fail": "failed", "skip": "skipped"}
_MOST_WORDS = 600  # characters of a test's log


def parse(output: str, exit_status: int | None) -> Parsed:
    """The tests. `exit_status` None: the binary was ended from outside, so that nothing blames the test that ran."""
    run = _Run()
    lines = events_of(output, lambda line: 0 if line.startswith("{") else -1)  # of test2json
    events = [event for event in lines if isinstance(event.get("Action"), str)]
    if events:
        for event in events:
            _take(run, event)
    else:
        _read_text(run, lines_of(output))
    return run.ended(exit_status)


def _take(run: _Run, event: dict[str, object]) -> None:
    package, test, said = (str(event.get(key) or "") for key in ("Package", "Test", "Output"))
    name = f"{package}.{test}" if package and test else test
    if event["Action"] == "output":
        run.owner = name
        if not _UPDATE.search(said.rstrip()) and not _REPORT.search(said.rstrip()):
            run.text(said.rstrip("\n"))
    elif name:
        run.event(str(event["Action"]), name)


def _read_text(run: _Run, lines: Iterable[str]) -> None:
    marked = False
    for line in lines:
        for number, piece in enumerate(_MARK.split(line)):
            marked = marked or number > 0
            if not (marked and number == 0) and (found := _framing(run, piece)):
                run.event(*found)
            elif piece:
                run.text(piece)


def _framing(run: _Run, line: str) -> tuple[str, str] | None:
    """What a line says of which test, where it is not a test's own."""
    if update := _UPDATE.search(line):
        return update[1].lower(), update[2]
    if (report := _REPORT.search(line)) and run.may_end(report[2], alone=line.lstrip(" ").startswith("---")):
        return report[1].lower(), report[2]
    return None


class _Run:
    """What has been read."""

    def __init__(self) -> None:
        self.owner = ""  # whose output follows
        self.running: dict[str, bool] = {}  # those that began and did not end; paused?
        self._ended: dict[str, State] = {}
        self._words: dict[str, str] = {}
        self._fatal = ""
        self._failing: list[str] = []  # that failed last, with no other event since
        self._culprits: list[str] = []  # that failed right before the panic
        self._timed_out: set[str] = set()

    def event(self, action: str, name: str) -> None:
        """A test begins, pauses, goes on, or has a result."""
        self.owner = name
        if action in _STATES:
            self.running.pop(name, None)
            if len(self._ended) <= MOST_TESTS and self._ended.get(name) != "failed":  # -test.count runs it again
                self._ended[name] = _STATES[action]
            self._failing = [*self._failing[-99:], name] if action == "fail" else []
        elif action in {"run", "pause", "cont"} and name and len(self.running) <= MOST_TESTS:
            if action == "run" or name in self.running:
                self.running[name] = action == "pause"
            self._failing = []

    def may_end(self, name: str, *, alone: bool) -> bool:
        """Is this its result, and no output of another test? Where it is not `alone` on its line it must be running."""
        return name in self.running or (alone and name not in self._ended)

    def text(self, line: str) -> None:
        """A line of output."""
        line = line.strip("\x0e\x0f")  # around what testing logs as an error, under -test.v=test2json
        if _FATAL.match(line) and not self._fatal:
            self._fatal, self._culprits = line, self._failing
        elif self._fatal.startswith(_TIMED_OUT) and (running := _WAS_RUNNING.match(line)):
            self._timed_out.add(running[1])
        elif logged := _LOGGED.match(line):
            self._words[self.owner] = logged[1]
        elif line.startswith("        ") and len(self._words.get(self.owner, "")) < _MOST_WORDS:
            self._words[self.owner] = f"{self._words.get(self.owner, '')} {line}"

    def ended(self, exit_status: int | None) -> Parsed:
        """The output is over."""
        results = Results()
        blamed = list(self._blamed(exit_status))
        for name, state in self._ended.items():
            results.add(name, state, self._words.get(name) or (self._fatal if name in self._culprits else ""))
        why = self._fatal or f"the test binary ended while it ran, exit status {exit_status}"
        for name in blamed:
            results.add(name, "failed", why)
        failed = [*blamed, *(name for name, state in self._ended.items() if state == "failed")]
        above = {name for each in failed for name in self.running if each.startswith(f"{name}/")}
        for name in (name for name in self.running if name in above):
            results.add(name, "failed", "a subtest failed")
        return results.parsed(self._fatal or ("it ended while tests ran" if self.running else ""))

    def _blamed(self, exit_status: int | None) -> Iterator[str]:
        """Those without a result that ran when it came to its end. Of several at once nobody knows which it was."""
        if self._timed_out:
            # in JSON the package stands before it
            yield from (name for name in self.running if name[name.find(".Test") + 1 :] in self._timed_out)
        elif exit_status and not self._culprits:
            parents = {name.rpartition("/")[0] for name in self.running}
            active = [name for name, paused in self.running.items() if not paused and name not in parents]
            yield from active if len(active) == 1 or self._fatal.startswith(_TIMED_OUT) else []
