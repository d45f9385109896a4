"""What a kernel's console says about its health. Pure; the text is hostile."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-_]?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)

# What kernels print, by what it means. lib/panic.c, arch/*/kernel/traps.c, kernel/watchdog.c, kernel/hung_task.c,
# kernel/rcu/tree_stall.h, mm/oom_kill.c.
_SPLATS = (
    (
        "out of memory",
        re.compile(r"Out of memory: Killed process.*|Kernel panic - not syncing: System is deadlocked on memory.*"),
    ),
    ("panic", re.compile(r"Kernel panic - not syncing: .*")),
    (
        "oops",
        re.compile(
            r"(?:BUG: (?:unable to handle|kernel NULL)|Internal error: |Oops: |kernel BUG at |Unable to handle).*"
        ),
    ),
    (
        "lockup",
        re.compile(r"watchdog: (?:BUG: soft|CPU\d+: Watchdog detected hard) (?:lockup|LOCKUP).*|BUG: soft lockup.*"),
    ),
    ("stall", re.compile(r"rcu: INFO: .* (?:self-)?detected (?:expedited )?stall.*")),
    ("hung task", re.compile(r"INFO: task .* blocked for more than \d+ seconds.*")),
    ("warning", re.compile(r"WARNING: CPU: .*|WARNING: .* at .*")),
)
_FATAL = frozenset({"panic", "oops"})
_STUCK = frozenset({"lockup", "stall", "hung task"})
_POWERED_OFF = re.compile(r"reboot: (?:Power down|Restarting system|System halted)")  # kernel/reboot.c
_LISTENING = "Not backgrounding"  # dropbear's svr-main.c, when its sockets are open
_LEAD_LINES = 3  # "cut here", and the warning or the lock's owner that comes before
_MAX_LAST_LINES = 120
_TAIL_LINES = 20
_FORWARDING = "Could not set up host forwarding rule"


@dataclass(frozen=True, slots=True)
class Splat:
    """One thing that went wrong in the kernel, in its own words."""

    kind: str
    line: str

    @property
    def fatal(self) -> bool:
        """The kernel died: nothing that it answers from here on can be trusted, if it answers at all."""
        return self.kind in _FATAL

    @property
    def stuck(self) -> bool:
        """It makes no progress, for now or for ever. A host that starves its guests can be the cause."""
        return self.kind in _STUCK

    @property
    def starved(self) -> bool:
        """It has too little memory."""
        return self.kind == "out of memory"


def clean(text: str) -> str:
    """Without escape sequences and control characters: safe to print. Newlines and tabs stay."""
    return _CONTROL.sub("", text)


def splats(text: str) -> tuple[Splat, ...]:
    """Everything that went wrong, in order, one for each line at most."""
    found = []
    for line in clean(text).splitlines():
        for kind, pattern in _SPLATS:
            match = pattern.search(line)
            if match:
                found.append(Splat(kind, match.group().strip()[:300]))
                break
    return tuple(found)


def first_fatal(text: str) -> Splat | None:
    """What brought the kernel down; None when nothing did."""
    return next((splat for splat in splats(text) if splat.fatal), None)


def trouble(text: str) -> Splat | None:
    """Why a guest that did not die gave no answer, as far as its console tells: no memory, or the kernel is stuck."""
    found = splats(text)
    starved = next((splat for splat in found if splat.starved), None)
    return starved or next((splat for splat in found if splat.stuck), None)


def last_words(text: str) -> str:
    """From just before the first complaint that explains an end on; the last lines when there is none."""
    lines = [line.rstrip() for line in clean(text).splitlines() if line.strip()]
    for at, line in enumerate(lines):
        if first_fatal(line) or trouble(line):
            start = max(0, at - _LEAD_LINES)
            return "\n".join(lines[start : start + _MAX_LAST_LINES])
    return "\n".join(lines[-_TAIL_LINES:])


def kernel_started(text: str) -> bool:
    """Has the kernel itself printed anything?"""
    return "Linux version " in text or re.search(r"^\[ *\d+\.\d{6}\] ", clean(text), re.MULTILINE) is not None


def listening(text: str) -> bool:
    """Has the guest's ssh server opened its sockets? A knock before that is lost, and makes the next one slower."""
    return _LISTENING in text


def powered_off(text: str) -> bool:
    """Did the kernel itself end the machine?"""
    return _POWERED_OFF.search(clean(text)) is not None


def port_taken(text: str) -> bool:
    """Did qemu not get its port? It was free a moment before."""
    return _FORWARDING in text


def tail(text: str, lines: int = _TAIL_LINES) -> str:
    """The last lines that are not empty."""
    return "\n".join([line.rstrip() for line in clean(text).splitlines() if line.strip()][-lines:])
