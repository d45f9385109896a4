"""Boots one guest with vng and keeps it until the block ends."""

from __future__ import annotations

import logging
import os
import platform
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.errors import BootError, GuestLost, GuestSilent, InfraError
from runner.guest import console
from runner.guest.command import GDB_SOCKET, vng_argv
from runner.guest.consolelog import ConsoleLog
from runner.guest.emulator import KILLED_HINT, STOPPED_HINT, is_stopped
from runner.guest.interface import Access, Answered, BootOrder, Guest
from runner.guest.keys import Keys, leave_key, make_keys
from runner.guest.qemu import refusal, write_qemu
from runner.guest.ssh import Ssh, greeted
from runner.guest.virtme import virtme_environment, virtme_tool
from runner.model.deadline import Deadline
from runner.process import spawn

log = logging.getLogger(__name__)

_PORT_TRIES = 4
_KNOCK_S = 5.0  # a server that listens greets within this, even on a busy host
_PAUSE_S = 0.02
_LAST_WORDS_S = 1.5  # from the break of the ssh connection to the end of the panic's text


class _PortTakenError(Exception):
    """Between our choice of a port and qemu's use of it, somebody else took it."""


@dataclass(frozen=True, slots=True)
class LiveGuest:
    """A guest under qemu. See interface.Guest."""

    ssh: Ssh
    log: ConsoleLog
    supervisor: int  # the process above vng and qemu
    booted: int  # characters on the console when it had booted
    folder: Path  # gone with the guest
    port: int
    keys: Keys
    native: bool = True  # of this host's own architecture

    def run(self, command: str, *, deadline: Deadline, stdin: bytes = b"") -> Answered:
        with _blame(self.log, self.supervisor, self.booted):
            return self.ssh.run(command, deadline=deadline, stdin=stdin)

    def lines(self, command: str, *, silence_s: float, deadline: Deadline) -> Iterator[str]:
        with _blame(self.log, self.supervisor, self.booted):
            yield from self.ssh.lines(command, silence_s=silence_s, deadline=deadline)

    def interact(self, *, deadline: Deadline) -> None:
        with _blame(self.log, self.supervisor, self.booted):
            self.ssh.interact(deadline=deadline)

    def access(self) -> Access:
        socket_path = self.folder / GDB_SOCKET
        gdb = ("gdb" if self.native else "gdb-multiarch", "-ex", f"target remote {socket_path}")
        return Access(leave_key(self.keys, self.folder, self.port), gdb if socket_path.exists() else ())

    @property
    def console_text(self) -> str:
        return self.log.text


@contextmanager
def boot(order: BootOrder, *, deadline: Deadline) -> Iterator[Guest]:
    """Boot `order`; the guest answers over ssh when the block begins and is gone, whole, when it ends.

    Raises BootError when the kernel panics or does not come up, InfraError when this machine cannot start it.
    """
    for _ in range(_PORT_TRIES):
        with ExitStack() as stack:
            try:
                guest = _start(order, stack, deadline)
            except _PortTakenError:
                log.info("the port was taken meanwhile, trying another one")
                continue
            yield guest
            guest.log.check()
            return
    raise InfraError(f"no free port on 127.0.0.1 after {_PORT_TRIES} tries", hint="is this host short of ports?")


def _start(order: BootOrder, stack: ExitStack, deadline: Deadline) -> LiveGuest:
    order.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="guest-", dir=order.scratch))
    keys = make_keys(folder / "keys")
    port = _free_port()
    qemu = write_qemu(order.architecture, folder)
    argv = vng_argv(
        order, vng=virtme_tool("vng"), qemu=qemu, port=port, keys=folder / "keys", host_uname=platform.machine()
    )
    env = {
        **virtme_environment(folder),
        "TMPDIR": os.fspath(folder),  # vng leaves files behind when it is killed
    }
    process = stack.enter_context(
        spawn(argv, end_s=deadline.end_s, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, remove=folder)
    )
    guest_log = stack.enter_context(ConsoleLog.of(process.stdout, order.console, end_s=deadline.end_s))
    stack.callback(process.terminate)
    connection = _await_greeting(process, guest_log, port, deadline)
    ssh = stack.enter_context(_authenticate(connection, keys, guest_log, process.pid, deadline))
    native = order.architecture.uname == platform.machine()
    return LiveGuest(ssh, guest_log, process.pid, len(guest_log.text), folder, port, keys, native)


def _free_port() -> int:
    """Chosen by the kernel; free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_greeting(
    process: subprocess.Popen[bytes], guest_log: ConsoleLog, port: int, deadline: Deadline
) -> socket.socket:
    while True:
        guest_log.check()
        text = guest_log.text
        fatal = console.first_fatal(text)
        if fatal:
            raise BootError(f"the kernel died while booting: {fatal.line}", console_tail=console.tail(text))
        if process.poll() is not None:
            guest_log.ended.wait(_LAST_WORDS_S)
            _explain_end(guest_log.text, process.returncode)
        if deadline.expired:
            _explain_silence(text, process.pid, deadline)
        if console.listening(text):
            connection = greeted(port, timeout_s=min(_KNOCK_S, deadline.remaining_s + 0.01))
            if connection:
                return connection
        time.sleep(_PAUSE_S)


def _explain_end(text: str, status: int) -> None:
    """The guest ended before it answered: raise what that means."""
    if console.port_taken(text):
        raise _PortTakenError
    if refused := refusal(text):
        raise InfraError(refused, hint="is this virtme-ng newer than the ones that were tried? it writes most of it")
    fatal = console.first_fatal(text)
    if fatal:
        raise BootError(f"the kernel died while booting: {fatal.line}", console_tail=console.tail(text))
    if starved := console.trouble(text):
        raise BootError(f"{_meaning(starved)}, while booting", console_tail=console.tail(text), hint=_hint(starved))
    if console.powered_off(text):
        raise BootError("the guest powered off while booting", console_tail=console.tail(text))
    if console.kernel_started(text):
        raise GuestLost(
            "qemu ended while the kernel booted, and the console does not say why",
            hint=KILLED_HINT,
            console_tail=console.tail(text),
        )
    raise InfraError(
        f"vng ended with status {status} before a kernel said anything:\n{console.tail(text)}",
        hint="`runner doctor` checks what a guest needs",
    )


def _explain_silence(text: str, supervisor: int, deadline: Deadline) -> None:
    if is_stopped(supervisor):
        raise GuestLost(f"qemu was stopped, and did not go on within {deadline.what}", hint=STOPPED_HINT)
    if console.kernel_started(text):
        stuck = console.trouble(text)
        why = f": {_meaning(stuck)}" if stuck else ""
        raise BootError(
            f"no answer over ssh within {deadline.what}{why}", console_tail=console.tail(text), hint=_hint(stuck)
        )
    raise InfraError(
        f"the console stayed empty for {deadline.what}",
        hint="qemu or its firmware hangs, or this host is overloaded: fewer guests at once (-n), or a higher boot_s",
    )


def _meaning(splat: console.Splat) -> str:
    return f"{'the guest ran out of memory' if splat.starved else 'the kernel hangs'}: {splat.line}"


def _hint(splat: console.Splat | None) -> str:
    return "give it more: guest.memory_mib in matrix.yaml" if splat and splat.starved else ""


@contextmanager
def _authenticate(
    connection: socket.socket, keys: Keys, guest_log: ConsoleLog, supervisor: int, deadline: Deadline
) -> Iterator[Ssh]:
    with ExitStack() as stack:
        with _blame(guest_log, supervisor):
            ssh = stack.enter_context(Ssh.over(connection, keys, deadline=deadline))
        yield ssh


@contextmanager
def _blame(guest_log: ConsoleLog, supervisor: int, booted: int = 0) -> Iterator[None]:
    """A broken connection is the kernel's doing only when the console says that it died.

    A kernel that is stuck, or has no memory left, gave no answer; a host that starves its guests can be the cause.
    """
    try:
        yield
    except GuestLost as error:
        stopped = is_stopped(supervisor)
        gone = not stopped and guest_log.ended.wait(_LAST_WORDS_S)
        text = guest_log.text
        fatal = console.first_fatal(text)
        if fatal:
            raise BootError(f"the kernel died: {fatal.line}", console_tail=console.last_words(text)) from error
        tail = console.last_words(text)
        if stopped:
            raise GuestLost(f"qemu was stopped: {error.what}", hint=STOPPED_HINT, console_tail=tail) from error
        if found := console.trouble(text[booted:]):  # not what it got over while it booted
            why = f"{_meaning(found)}; {error.what}"
            raise GuestSilent(why, hint=_hint(found), console_tail=tail) from error
        if gone and not console.powered_off(text):
            why = f"qemu ended, and the console does not say why: {error.what}"
            raise GuestLost(why, hint=KILLED_HINT, console_tail=tail) from error
        raise type(error)(error.what, hint=error.hint, console_tail=tail) from error


def agent_lost(text: str) -> GuestSilent | None:
    """Why the agent ended before its time, where the console tells of it: the kernel took its memory."""
    found = console.trouble(text)
    if not found or not found.starved:
        return None
    return GuestSilent(_meaning(found), hint=_hint(found), console_tail=console.last_words(text))
