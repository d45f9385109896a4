# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whose fault it is that a guest does not answer: the kernel's, as far as the console tells, or else the host's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from runner.errors import BootError, GuestLost, GuestSilent, InfraError
from runner.guest import console
from runner.guest.command import refusal
from runner.guest.console import Console
from runner.guest.interface import Guest
from runner.guest.ssh import ConnectionLost, ConnectionSilent
from runner.model import Splat
from runner.model.deadline import Deadline
from runner.process import is_stopped, starved_s

_LAST_WORDS_S = 1.5  # from the break of the ssh connection to the end of the panic's text
_STOPPED_HINT = "something sent it SIGSTOP; it was ended"
_STARVED_HINT = "this host is overloaded: fewer concurrent guests (-n)"
_SLOW_HINT = "it boots slowly: raise boot_s (limits in matrix.yaml), or run fewer concurrent guests (-n)"
_STARVED, _SILENT = 0.25, 0.5  # parts of the time that a boot was given
_KILLED_HINT = "killed by `kill -9`, or by this host's out-of-memory killer? `dmesg` of the host shows the latter"


class PortTakenError(Exception):
    """Between our choice of a port and qemu's use of it, somebody else took it."""


def explain_death(guest_log: Console, when: str = "", error: Exception | None = None) -> NoReturn:
    raise BootError(
        f"the kernel died{when}: {guest_log.parser.died}", console_tail=console.last_words(guest_log.text)
    ) from error


def explain_end(guest_log: Console, status: int) -> NoReturn:
    """The guest ended before it answered: raise what that means."""
    guest_log.ended.wait(_LAST_WORDS_S)
    text = guest_log.text
    tail = console.tail(text)
    if console.port_taken(text):
        raise PortTakenError
    if refused := refusal(text):
        raise InfraError(refused, hint="virtme-ng writes most of it; `runner doctor` shows its version")
    if guest_log.parser.died:
        explain_death(guest_log, " while booting")
    if starved := _trouble(guest_log.splats):
        raise BootError(f"{_meaning(starved)}, while booting", console_tail=tail, hint=_hint(starved))
    if console.powered_off(text):
        raise BootError("the guest powered off while booting", console_tail=tail)
    if status < 0:
        what = f"the process that supervises the guest was killed by signal {-status} while it booted"
        raise GuestLost(what, hint=_KILLED_HINT, console_tail=tail)
    if console.kernel_started(text):
        what = "qemu ended while the kernel booted, and the console shows no reason"
        raise GuestLost(what, hint=_KILLED_HINT, console_tail=tail)
    raise InfraError(
        f"vng ended with status {status} before a kernel printed anything:\n{tail}",
        hint="`runner doctor` checks what a guest needs",
    )


def explain_silence(guest_log: Console, supervisor: int, deadline: Deadline) -> NoReturn:
    """The guest did not boot in its time: raise what that means.

    A kernel hangs when its guest had the processor and its console says so, or has long been silent.
    """
    text, silent_s = guest_log.text, guest_log.silent_s
    tail, what = console.tail(text), f"no answer over ssh within {deadline.what}"
    if is_stopped(supervisor):
        raise GuestLost(f"qemu was stopped, and did not resume within {deadline.what}", hint=_STOPPED_HINT)
    if not console.kernel_started(text):
        raise InfraError(
            f"the console stayed empty for {deadline.what}",
            hint="qemu or its firmware hangs, or this host is overloaded: lower -n, or raise boot_s",
        )
    waited_s = starved_s(supervisor)
    if waited_s > _STARVED * guest_log.age_s:
        why = f"qemu waited {waited_s:.0f} s of them for a processor"
        raise GuestLost(f"{what}: {why}", hint=_STARVED_HINT, console_tail=tail)
    if stuck := _trouble(guest_log.splats):
        raise BootError(f"{what}: {_meaning(stuck)}", console_tail=tail, hint=_hint(stuck))
    if silent_s < _SILENT * guest_log.age_s:
        why = f"its console still showed something {silent_s:.0f} s ago"
        raise GuestLost(f"{what}: {why}", hint=_SLOW_HINT, console_tail=tail)
    raise BootError(f"{what}; its console has been silent for {silent_s:.0f} s", console_tail=tail)


def _trouble(found: Iterable[Splat]) -> Splat | None:
    """Why a guest that did not die gave no answer, as far as its console tells: no memory, or the kernel is stuck."""
    blameless = [splat for splat in found if not splat.blames_kernel]
    return next((splat for splat in blameless if _starved(splat)), blameless[0] if blameless else None)


def _starved(splat: Splat | None) -> bool:
    return splat is not None and splat.kind == "out of memory"


def _meaning(splat: Splat) -> str:
    return f"{'the guest ran out of memory' if _starved(splat) else 'the kernel hangs'}: {splat.text}"


def _hint(splat: Splat | None) -> str:
    return "raise guest.memory_mib in matrix.yaml" if _starved(splat) else ""


@contextmanager
def blame(guest_log: Console, supervisor: int, booted: int = 0) -> Iterator[None]:
    """A broken connection is the kernel's doing only when the console says that it died.

    A kernel that is stuck, or has no memory left, gave no answer; a host that starves its guests can be the cause.
    """
    try:
        yield
    except ConnectionLost as error:
        said = str(error)
        stopped = is_stopped(supervisor)
        gone = not stopped and guest_log.ended.wait(_LAST_WORDS_S)
        if guest_log.parser.died:
            explain_death(guest_log, error=error)
        text = guest_log.text
        tail = console.last_words(text)
        if stopped:
            raise GuestLost(f"qemu was stopped: {said}", hint=_STOPPED_HINT, console_tail=tail) from error
        if found := _trouble(guest_log.splats[booted:]):  # not what it got over while it booted
            raise GuestSilent(f"{_meaning(found)}; {said}", hint=_hint(found), console_tail=tail) from error
        if console.powered_off(text):  # whether or not qemu, on a busy host, has ended yet
            what = "the guest was switched off or restarted from inside"
            raise GuestSilent(what, console_tail=tail) from error
        if gone:
            why = f"qemu ended, and the console shows no reason: {said}"
            raise GuestLost(why, hint=_KILLED_HINT, console_tail=tail) from error
        kind = GuestSilent if isinstance(error, ConnectionSilent) else GuestLost
        raise kind(said, console_tail=tail) from error


def agent_lost(guest: Guest) -> GuestSilent | None:
    """Why the agent ended before its time, where the console tells of it: the kernel took its memory."""
    found = _trouble(guest.splats)
    if found is None or not _starved(found):
        return None
    return GuestSilent(_meaning(found), hint=_hint(found), console_tail="\n".join(found.lines))
