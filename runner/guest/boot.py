# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Boots one guest with vng and keeps it until the block ends."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from runner.errors import InfraError
from runner.guest.command import (
    AGENT_HOME,
    CONFIG,
    GDB_SOCKET,
    INITRD,
    NETWORK,
    ROOT,
    SHARE,
    need_virtiofsd,
    virtme_environment,
    virtme_tool,
    vng_argv,
    write_initrd,
    write_qemu,
)
from runner.guest.console import Console, PortTakenError, blame, explain_death, explain_end, explain_silence
from runner.guest.interface import Access, BootOrder, Guest
from runner.guest.share import packed, stage
from runner.guest.ssh import Keys, Ssh, leave_key, make_keys, to_guest
from runner.model import Splat
from runner.model.deadline import Deadline
from runner.process import Completed, own_folder, run, spawn

log = logging.getLogger(__name__)

TO_AGENT = f"cd /run/{AGENT_HOME}"  # a guest is its user's alone
# Without `site`, and without `-m`: under emulation each costs more than all of the agent's own modules.
PYTHON = "python3 -S -E"
ASKS = "asks.json"
AGENT_START = f"{PYTHON} -c 'from agent.__main__ import main; main(\"{ASKS}\")'"
START_AGENT = f"{TO_AGENT} && exec {AGENT_START} 2>agent.err"
SHELL = f"{TO_AGENT} && exec {PYTHON} -c 'from agent.{{kind}} import shell; shell(\"{ASKS}\")'"
_UNPACK = f"mkdir -p /run/{AGENT_HOME} && tar xf - -C /run/{AGENT_HOME}"
_PORT_TRIES = 4
_KNOCK_S = 5.0  # a server that listens greets within this, even on a busy host
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class QemuGuest:
    """What each guest under qemu has."""

    log: Console
    supervisor: int  # the process above qemu
    booted: int  # splats on the console when it had booted, or was saved
    folder: Path  # gone with the guest

    @property
    def begun(self) -> str:
        return self.log.begun

    @property
    def splats(self) -> tuple[Splat, ...]:
        return self.log.splats[self.booted :]

    def blame(self) -> AbstractContextManager[None]:
        return blame(self.log, self.supervisor, self.booted)


@dataclass(frozen=True, slots=True)
class LiveGuest(QemuGuest):
    """A guest that was booted. See interface.Guest."""

    ssh: Ssh
    port: int
    keys: Keys
    native: bool = True  # of this host's own architecture
    has: frozenset[str] = frozenset()  # files of the agent with which it started

    def run(self, command: str, *, deadline: Deadline, stdin: bytes = b"") -> Completed:
        with self.blame():
            return self.ssh.run(command, deadline=deadline, stdin=stdin)

    def lines(
        self, command: str, *, silence: Callable[[], Deadline], deadline: Deadline, stdin: bytes = b""
    ) -> Iterator[str]:
        """The command's output, line by line as it comes."""
        with self.blame():
            yield from self.ssh.lines(command, silence=silence, deadline=deadline, stdin=stdin)

    def ask(self, files: Mapping[str, bytes], *, silence: Callable[[], Deadline], deadline: Deadline) -> Iterator[str]:
        """In one session, and with no program but the agent where nothing is new to the guest.

        Under emulation a session or a program costs as much as many files.
        """
        needed = {name: content for name, content in files.items() if name not in self.has}
        begin, stdin = (f"{_UNPACK} && {START_AGENT}", packed(needed)) if needed else (START_AGENT, b"")
        yield from self.lines(begin, silence=silence, deadline=deadline, stdin=stdin)

    def access(self) -> Access:
        socket_path = self.folder / GDB_SOCKET
        gdb = ("gdb" if self.native else "gdb-multiarch", "-ex", f"target remote {socket_path}")
        return Access(leave_key(self.keys, self.folder, self.port), gdb if socket_path.exists() else ())


def push(guest: Guest, files: Mapping[str, bytes], *, deadline: Deadline) -> None:
    """Write `files` into the agent's folder of a guest. Raises InfraError when that fails."""
    pushed = guest.run(_UNPACK, stdin=packed(files), deadline=deadline)
    if pushed.returncode != 0:
        raise InfraError(f"the agent could not be pushed: {pushed.stdout.strip()[-500:]}")


@contextmanager
def boot(order: BootOrder, *, deadline: Deadline) -> Iterator[LiveGuest]:
    """Boot `order`; the guest answers over ssh when the block begins and is gone, whole, when it ends.

    Raises BootError when the kernel panics or does not come up, InfraError when this machine cannot start it.
    """
    if order.make_files:
        order = replace(order, files=order.make_files())
    for _ in range(_PORT_TRIES):
        with ExitStack() as stack:
            try:
                guest = _start(order, stack, deadline)
            except PortTakenError:
                log.info("the port was taken meanwhile: trying another one")
                continue
            yield guest
            guest.log.check()
            return
    raise InfraError(f"no free port on 127.0.0.1 after {_PORT_TRIES} tries", hint="this host is short of ports")


def _start(order: BootOrder, stack: ExitStack, deadline: Deadline) -> LiveGuest:
    own = stack.enter_context(own_folder(order.scratch, "guest-", end_s=deadline.end_s))
    folder = own.path
    keys = make_keys(folder / "keys")
    with suppress(OSError):  # not every kernel tells its .config
        shutil.copyfile(order.kernel.config, folder / "keys" / CONFIG)
    if order.size.network:
        (folder / "keys" / NETWORK).touch()
    if order.shared:
        stage(order.shared, folder / SHARE)
    port = free_port()
    if order.files:
        write_initrd(order.files, folder / "keys", order.agent, folder / INITRD)
    elif order.root != "disk":
        _lay_root(order, folder / ROOT, deadline)
    if order.share == "virtiofs":
        need_virtiofsd(folder, deadline=deadline)
    qemu = write_qemu(order, folder)
    argv = vng_argv(
        order, vng=virtme_tool("vng"), qemu=qemu, port=port, keys=folder / "keys", host_uname=platform.machine()
    )
    env = {
        **virtme_environment(folder),
        "TMPDIR": os.fspath(folder),  # vng leaves files behind when it is killed
    }
    process = stack.enter_context(
        spawn(argv, end_s=deadline.end_s, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, folder=own)
    )
    guest_log = stack.enter_context(Console.of(process, order.console, end_s=deadline.end_s))
    stack.callback(process.terminate)
    connection = _await_greeting(process, guest_log, port, deadline)
    with blame(guest_log, process.pid):
        ssh = stack.enter_context(to_guest(connection, keys.client_private, keys.host_public, deadline=deadline))
    native = order.architecture.uname == platform.machine()
    has = frozenset(order.agent if order.files else ())
    return LiveGuest(guest_log, process.pid, len(guest_log.splats), folder, ssh, port, keys, native, has)


def _lay_root(order: BootOrder, root: Path, deadline: Deadline) -> None:
    """The guest's own copy of the image's files and the kernel's modules: vng writes into such a root."""
    root.mkdir()
    done = run(["debugfs", "-R", f"rdump / {root}", order.image.disk], deadline=deadline, check=False)
    if not (root / "usr/sbin").is_dir():
        raise InfraError(f"debugfs did not unpack {order.image.disk}:\n{done.stderr.strip()[-500:]}")
    modules = Path(order.kernel.root) / "lib/modules"
    if modules.is_dir():
        shutil.copytree(modules, root / "usr/lib/modules", dirs_exist_ok=True)


def free_port() -> int:
    """Chosen by the kernel; free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_greeting(
    process: subprocess.Popen[bytes], guest_log: Console, port: int, deadline: Deadline
) -> socket.socket:
    while True:
        guest_log.check()
        if guest_log.parser.died:
            explain_death(guest_log, " while booting")
        if process.poll() is not None:
            explain_end(guest_log, process.returncode)
        if deadline.expired:
            explain_silence(guest_log, process.pid, deadline)
        if guest_log.parser.listening:
            connection = greeted(port, timeout_s=min(_KNOCK_S, deadline.remaining_s + 0.01))
            if connection:
                return connection
        time.sleep(_PAUSE_S)


def greeted(port: int, *, timeout_s: float) -> socket.socket | None:
    """A connection on which an ssh server said something; None when there is none yet.

    qemu's user network accepts before the guest listens, so a connection alone proves nothing.
    """
    try:
        connection = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    except OSError:
        return None
    try:
        if connection.recv(4, socket.MSG_PEEK) == b"SSH-":
            return connection
    except OSError:
        pass
    connection.close()
    return None
