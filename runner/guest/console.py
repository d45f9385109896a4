# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A guest's console, from its first byte on: kept in a file and at hand, and parsed as it comes. Hostile text.

It tells whose fault it is that a guest does not answer: that of the kernel, as far as it says so, or else of the host.
"""

from __future__ import annotations

import codecs
import logging
import os
import re
import select
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NoReturn, Self

from runner.caches import disk_fault
from runner.errors import BootError, GuestLost, GuestSilent, InfraError
from runner.guest.command import refusal
from runner.guest.interface import Guest
from runner.guest.splats import ConsoleParser, ends_a_kernel
from runner.guest.ssh import ConnectionLost, ConnectionSilent
from runner.model import Splat
from runner.model.deadline import Deadline
from runner.process import is_stopped, starved_s
from runner.text import lines

log = logging.getLogger(__name__)

MAX_BYTES = 8 * 1024 * 1024  # a guest in a loop of oopses must not fill the disk; the rest is read and dropped
_CUT = b"\n[runner: the console log ends here, it was longer than the limit]\n"
_POWERED_OFF = re.compile(r"reboot: (?:Power down|Restarting system|System halted)")  # kernel/reboot.c
_FORWARDING = "Could not set up host forwarding rule"  # qemu's net/slirp.c
_LEAD_LINES = 3  # of what comes before an end: "cut here", the lock's owner
_MAX_LAST_LINES = 120
_TAIL_LINES = 20
_LOOK_S = 0.1
_GATHER_S = 0.02  # an emulated serial port sends each character by itself, and each look at it costs


class Console:
    """The console of one guest. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._content = bytearray()
        self._began_s = self._heard_s = time.monotonic()
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self.parser = ConsoleParser()
        self._fault: InfraError | None = None
        self._abandoned = threading.Event()
        self.ended = threading.Event()  # qemu closed it

    @classmethod
    @contextmanager
    def of(cls, process: subprocess.Popen[bytes], path: Path, *, end_s: float) -> Iterator[Self]:
        """Read the stdout of `process` to its end in a thread, appending to `path`.

        That end comes with the end of `process`, within `end_s` of the block's. It is not waited for when something
        that outlived `process` keeps the pipe open.
        """
        if process.stdout is None:
            raise ValueError("the guest was started without a pipe")
        console = cls(path)
        thread = threading.Thread(target=console._pump, args=(process.stdout,), name="console", daemon=True)
        thread.start()
        try:
            yield console
        finally:
            limit = time.monotonic() + end_s
            while thread.is_alive() and time.monotonic() < limit:
                thread.join(_LOOK_S)
                if process.poll() is not None:
                    console._abandoned.set()

    def _pump(self, stream: IO[bytes]) -> None:
        """Not by the stream's own buffer: its lock is held while it waits, and closing it waits for that lock."""
        try:
            with self._path.open("ab", buffering=0) as file:
                while chunk := self._read(stream.fileno()):
                    file.write(self._keep(chunk))
        except (OSError, ValueError) as error:  # disk full; the pipe was closed under us
            log.warning("%s: the console log is cut short: %s", self._path, error)
            if isinstance(error, OSError):
                self._fault = disk_fault(error, f"the console log {self._path}")
            with suppress(OSError, ValueError):  # a guest whose console nobody reads stops
                while chunk := self._read(stream.fileno()):
                    self._keep(chunk)
        finally:
            with self._lock:
                self.parser.feed("\n")  # a last line may have no end
            self.ended.set()

    def _read(self, pipe: int) -> bytes:
        """What is there, soon after something is; nothing at the end."""
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        while not poll.poll(_LOOK_S * 1000):
            if self._abandoned.is_set():
                return b""
        time.sleep(_GATHER_S)
        return os.read(pipe, 1 << 16)

    def _keep(self, chunk: bytes) -> bytes:
        """As much of it as is kept."""
        with self._lock:
            room = MAX_BYTES - len(self._content)
            if room < 0:  # it was cut
                return b""
            kept = chunk if len(chunk) <= room else chunk[:room] + _CUT
            self._content += kept
            self._heard_s = time.monotonic()
            self.parser.feed(self._decode(kept))
        return kept

    def check(self) -> None:
        """Raises InfraError when the log could not be written: what a guest says without one cannot be looked into."""
        if self._fault:
            raise self._fault

    @property
    def age_s(self) -> float:
        """Since its guest was started."""
        return time.monotonic() - self._began_s

    @property
    def silent_s(self) -> float:
        """Since the guest last printed something; since its start where it never did."""
        return time.monotonic() - self._heard_s

    @property
    def text(self) -> str:
        """All of it: asked for once, at the end."""
        with self._lock:
            return self._content.decode(errors="replace")

    @property
    def splats(self) -> tuple[Splat, ...]:
        """What the kernel reported by itself, in order. The last one may go on."""
        with self._lock:
            return self.parser.splats

    @property
    def begun(self) -> str:
        """The probe, or PROBE:ITEM, that the agent named last; empty before the first."""
        with self._lock:
            return self.parser.begun


# --- a whole console, at the end ------------------------------------------------------------------------------------


def kernel_started(text: str) -> bool:
    """Did the kernel itself print anything?"""
    return "Linux version " in text or any(re.match(r"\[ *\d+\.\d{6}\] ", line) for line in lines(text))


def powered_off(text: str) -> bool:
    """Did the kernel itself end the machine?"""
    return _POWERED_OFF.search(text) is not None


def port_taken(text: str) -> bool:
    """Did qemu not get its port? It was free a moment before."""
    return _FORWARDING in text


def last_lines(text: str) -> str:
    """The last lines that are not empty."""
    return "\n".join([line for line in lines(text) if line][-_TAIL_LINES:])


def last_words(text: str) -> str:
    """From just before the first report that explains an end on; the last lines when there is none."""
    said = [line for line in lines(text) if line]
    for at, line in enumerate(said):
        if ends_a_kernel(line):
            start = max(0, at - _LEAD_LINES)
            return "\n".join(said[start : start + _MAX_LAST_LINES])
    return "\n".join(said[-_TAIL_LINES:])


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
        f"the kernel died{when}: {guest_log.parser.died}", console_tail=last_words(guest_log.text)
    ) from error


def explain_end(guest_log: Console, status: int) -> NoReturn:
    """The guest ended before it answered: raise what that means."""
    guest_log.ended.wait(_LAST_WORDS_S)
    text = guest_log.text
    tail = last_lines(text)
    if port_taken(text):
        raise PortTakenError
    if refused := refusal(text):
        raise InfraError(refused, hint="virtme-ng writes most of it; `runner doctor` shows its version")
    if guest_log.parser.died:
        explain_death(guest_log, " while booting")
    if starved := _trouble(guest_log.splats):
        raise BootError(f"{_meaning(starved)}, while booting", console_tail=tail, hint=_hint(starved))
    if powered_off(text):
        raise BootError("the guest powered off while booting", console_tail=tail)
    if status < 0:
        what = f"the process that supervises the guest was killed by signal {-status} while it booted"
        raise GuestLost(what, hint=_KILLED_HINT, console_tail=tail)
    if kernel_started(text):
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
    tail, what = last_lines(text), f"no answer over ssh within {deadline.what}"
    if is_stopped(supervisor):
        raise GuestLost(f"qemu was stopped, and did not resume within {deadline.what}", hint=_STOPPED_HINT)
    if not kernel_started(text):
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
        tail = last_words(text)
        if stopped:
            raise GuestLost(f"qemu was stopped: {said}", hint=_STOPPED_HINT, console_tail=tail) from error
        if found := _trouble(guest_log.splats[booted:]):  # not what it got over while it booted
            raise GuestSilent(f"{_meaning(found)}; {said}", hint=_hint(found), console_tail=tail) from error
        if powered_off(text):  # whether or not qemu, on a busy host, has ended yet
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
