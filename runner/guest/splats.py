# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel reports by itself: one table of first lines, and a parser of consoles, which are hostile text. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from runner.model import BEGINS, Splat, SplatKind
from runner.text import lines

MAX_LINES = 120  # of one splat
MAX_SPLATS = 1000
_MAX_KEPT = 4000  # lines of all splats together; further splats are kept without their traces
_MAX_TEXT = 300
_MAX_LEAD = 8
_MAX_LINE = 2048  # what is looked at of one; the kernel's own end at 1024, kernel/printk/printk.c
_LISTENING = "Not backgrounding"  # dropbear's svr-main.c, when its sockets are open
_GAP_S = 1.0  # of kernel time, between two lines of one report


class _First(NamedTuple):
    """How a report begins."""

    kind: SplatKind
    pattern: re.Pattern[str]
    fatal: bool = False  # the kernel died: nothing that it answers from here on can be trusted


def _first(kind: SplatKind, pattern: str, *, fatal: bool = False) -> _First:
    return _First(kind, re.compile(pattern), fatal)


# The first row that matches counts. Behind each, where the kernel prints it.
_TABLE = (
    _first("out of memory", r"Out of memory: Killed process"),  # mm/oom_kill.c
    _first("out of memory", r"Kernel panic - not syncing: System is deadlocked on memory"),
    _first(  # kernel/watchdog.c, kernel/hung_task.c, kernel/rcu/tree_stall.h, where they are told to panic
        "stuck",
        r"Kernel panic - not syncing: (?:softlockup: hung tasks|[Hh]ard LOCKUP|hung_task: blocked tasks|RCU Stall)",
    ),
    _first("panic", r"Kernel panic - not syncing: ", fatal=True),  # kernel/panic.c
    _first("stuck", r"(?:watchdog: )?BUG: soft lockup - CPU#\d"),  # kernel/watchdog.c
    _first("stuck", r"watchdog: (?:CPU ?\d+:? )?(?:Watchdog |self-)?detected hard LOCKUP"),  # also arch/powerpc
    _first("stuck", r"(?:rcu: )?INFO: rcu\w* (?:self-)?detected (?:expedited )?stalls? "),  # kernel/rcu
    _first("stuck", r"INFO: task .{1,99} blocked .{0,40}for more than \d+ seconds"),  # kernel/hung_task.c
    _first("stuck", r"BUG: workqueue lockup - pool"),  # kernel/workqueue.c
    _first("KASAN", r"BUG: KASAN: "),  # mm/kasan/report.c
    _first("KFENCE", r"BUG: KFENCE: "),  # mm/kfence/report.c
    _first("KCSAN", r"BUG: KCSAN: "),  # kernel/kcsan/report.c
    _first("KMSAN", r"BUG: KMSAN: "),  # mm/kmsan/report.c
    _first(  # arch/*/mm/fault.c, arch/x86/kernel/traps.c, lib/bug.c, arch/*/kernel/traps.c
        "oops",
        r"BUG: (?:[Uu]nable to handle |[Kk]ernel NULL pointer |stack guard page was hit )"
        r"|[Kk]ernel BUG at |Unable to handle kernel |Internal error: |PANIC: double fault"
        r"|(?:Oops|Kernel BUG)\b.*\[#\d+\]",
        fatal=True,
    ),
    # die() counts: what it says of programs ("traps: python3[133] general protection fault ip:...") has no number.
    # arch/x86/kernel/dumpstack.c; arch/s390/kernel/dumpstack.c puts the instruction's length between.
    _first("oops", r"^[A-Za-z][^\[]*: [0-9a-f]{4}(?: ilc:\d)? \[#\d+\]", fatal=True),
    _first("UBSAN", r"UBSAN: .* in \S+:\d+:\d+"),  # lib/ubsan.c
    _first("sleeping function", r"BUG: sleeping function called from invalid context"),  # kernel/sched/core.c
    _first("scheduling while atomic", r"BUG: scheduling (?:while atomic|in a non-blocking section): "),
    _first(  # kernel/locking/lockdep.c
        "lockdep",
        r"WARNING: (?:possible (?:circular|recursive) locking|possible irq lock inversion|inconsistent lock state"
        r"|\S+-safe -> \S+-unsafe lock order|bad unlock balance|bad contention|held lock freed"
        r"|.* still has locks held|lock held when returning to user|suspicious RCU usage|Nested lock was not taken)"
        r"|BUG: Invalid wait context|INFO: trying to register non-static key",
    ),
    _first("list corruption", r"list_(?:add|del) corruption"),  # lib/list_debug.c
    _first("refcount", r"refcount_t: (?:saturated|addition on 0|underflow|decrement hit 0)"),  # lib/refcount.c
    # kernel/panic.c; 6.19 moved the processor and the process behind the place
    _first("WARNING", r"WARNING: (?:CPU: \d+ PID: \d+ at |(?:.* )?at \S+\+0x[0-9a-f]+/0x)"),
    _first("BUG", r"^BUG(?:: | \S+ \([^)]*\): )"),  # the rest: mm/page_alloc.c, mm/slub.c, lib/spinlock_debug.c, ...
)
_MAYBE = re.compile(
    r"BUG|WARNING|Oops|UBSAN|panic|PANIC|rror: |Unable to|INFO: |LOCKUP|corruption|refcount_t|memory: |\[#"
)

# A report that goes on with what could begin one: (its kind so far, what that line is of). Of BUG() and WARN() the
# message comes first or, for WARN() since 6.19, second; an oops says where, and then which.
_GOES_ON = frozenset(
    {
        ("oops", "oops"),
        ("list corruption", "oops"),
        ("list corruption", "WARNING"),
        ("refcount", "WARNING"),
        ("WARNING", "list corruption"),
        ("WARNING", "refcount"),
    }
)
_BARRED = frozenset({"KASAN", "KFENCE", "KCSAN", "KMSAN", "UBSAN"})  # between two bars, but for UBSAN since 6.7
_ENDS_WITH_STACK = frozenset({"lockdep", "sleeping function", "scheduling while atomic", "stuck", "BUG"})
_BAR = re.compile(r"={20,}$")
_CUT_HERE = "[ cut here ]"
_TRACE = ("Call Trace:", "Call trace:", "Modules linked in", "CPU: ")
# kernel/printk/printk.c: the time, and with CONFIG_PRINTK_CALLER the thread or processor
_STAMP = re.compile(r"(?:<\d+>)?\[ *(\d+\.\d{6})\](?:\[ *[TC]\d+\])? ?")


@dataclass(slots=True)
class _Report:
    """A splat whose end was not seen."""

    kind: SplatKind
    text: str
    lines: list[str]
    at: float | None  # seconds of kernel time of its newest line; None: this kernel prints none
    probe: str
    traced: bool = False

    def freeze(self) -> Splat:
        return Splat(kind=self.kind, text=self.text, lines=tuple(self.lines), probe=self.probe)


@dataclass(slots=True)
class ConsoleParser:
    """Knows what a console has said so far; looks at each character once, whatever came before it."""

    listening: bool = False  # has the guest's ssh server opened its sockets? A knock before that is lost
    looked_at: int = 0  # characters, in whole lines
    died: str = ""  # the line that says so; empty: the kernel lives, as far as its console tells
    begun: str = ""  # the probe, or PROBE:ITEM, that the agent named last, before it asked it; empty before the first
    _ended: list[Splat] = field(default_factory=list)
    _open: _Report | None = None
    _lead: list[str] = field(default_factory=list)  # from a bar or a "cut here" on, until a report begins
    _kept: int = 0
    _rest: str = ""  # the line that has no end yet

    @property
    def splats(self) -> tuple[Splat, ...]:
        """What the kernel reported by itself, in order. The last one may go on."""
        return (*self._ended, self._open.freeze()) if self._open else tuple(self._ended)

    def feed(self, text: str) -> None:
        *whole, rest = text.split("\n")
        for line in whole:
            complete = (self._rest + line)[:_MAX_LINE]
            self.looked_at += len(complete) + 1
            for part in lines(complete):
                self._line(part)
                self.listening = self.listening or _LISTENING in part
            self._rest = ""
        self._rest = (self._rest + rest)[:_MAX_LINE]

    def _line(self, line: str) -> None:
        """`line` is printable: see runner.text."""
        stamp = _STAMP.match(line)
        at = float(stamp[1]) if stamp else None
        message = line[stamp.end() :] if stamp else line
        if not message or message.isspace():
            return
        if message.startswith(BEGINS):
            self.begun = message.removeprefix(BEGINS).strip()
            return
        begins = _begins(message)
        if begins and begins[0].fatal:
            self.died = self.died or begins[1]
        report = self._open
        if report and _is_of_another(report, message, at, begins):
            self._end()
            report = None
        if report:
            self._continue(report, message, at, begins)
        elif begins:
            self._open = _Report(begins[0].kind, begins[1], [*self._lead, message], at, self.begun)
            self._lead = []
        elif _CUT_HERE in message or _BAR.match(message):
            self._lead = [message]
        elif self._lead and len(self._lead) < _MAX_LEAD:
            self._lead.append(message)
        else:
            self._lead = []

    def _continue(self, report: _Report, message: str, at: float | None, begins: tuple[_First, str] | None) -> None:
        if begins and report.kind == "WARNING":  # the message says more than the place
            report.kind, report.text = begins[0].kind, begins[1]
        if len(report.lines) < MAX_LINES and self._kept + len(report.lines) < _MAX_KEPT:
            report.lines.append(message)
        report.at = at
        report.traced = report.traced or message.startswith(_TRACE)
        if (
            message.startswith("---[ end ")
            or (report.kind in _BARRED and _BAR.match(message))
            or (report.kind in _ENDS_WITH_STACK and message.endswith("</TASK>"))
        ):
            self._end()

    def _end(self) -> None:
        if self._open and len(self._ended) < MAX_SPLATS:
            self._kept += len(self._open.lines)
            self._ended.append(self._open.freeze())
        self._open = None


def ends_a_kernel(line: str) -> bool:
    """Is this the first line of what explains an end: the kernel died, is stuck, or has no memory left?"""
    begins = _begins(_STAMP.sub("", line, count=1))
    return begins is not None and (begins[0].fatal or begins[0].kind in {"stuck", "out of memory"})


def _begins(message: str) -> tuple[_First, str] | None:
    """The row for a line with which a report begins, and the line's text from there on."""
    if not _MAYBE.search(message):
        return None
    for first in _TABLE:
        if match := first.pattern.search(message):
            return first, message[match.start() :].strip()[:_MAX_TEXT]
    return None


def _is_of_another(report: _Report, message: str, at: float | None, begins: tuple[_First, str] | None) -> bool:
    """Does `message` not belong to `report`?"""
    if (at is None) != (report.at is None) or (at or 0.0) - (report.at or 0.0) > _GAP_S:
        return True
    if begins:
        return report.traced or (report.kind, begins[0].kind) not in _GOES_ON
    if _CUT_HERE in message:
        return report.traced or report.kind != "list corruption"  # with CONFIG_BUG_ON_DATA_CORRUPTION
    return _BAR.match(message) is not None and report.kind not in _BARRED
