# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Starts a guest from the saved state of one that had booted, with an agent that is ready to ask.

The first guest of its kind is booted, made ready and saved; then it is asked like those that start from the snapshot.
Nothing that opens a guest is in a snapshot: a guest is spoken to through a socket that its own qemu makes in its own
folder, and its ssh server starts when somebody wants a shell, with keys that are made then.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from runner.caches import need_space
from runner.errors import GuestLost, GuestSilent, InfraError
from runner.guest.boot import PYTHON, TO_AGENT, LiveGuest, QemuGuest, boot, free_port, greeted, push
from runner.guest.channel import Channel, Qmp, QmpError, connected, migrated
from runner.guest.command import (
    AGENT_SOCKET,
    ARGV_FILE,
    GUEST_ADDRESS,
    QMP_SOCKET,
    RAM_FILE,
    replayed,
)
from runner.guest.console import Console
from runner.guest.interface import Access, BootOrder, Guest, Warm
from runner.guest.share import packed
from runner.guest.snapshots import DamagedError, Snapshot, SnapshotFacts, Snapshots, copy_sparse
from runner.guest.ssh import ConnectionLost, leave_key, make_keys
from runner.model.deadline import Deadline
from runner.process import Completed, own_folder, require, spawn
from runner.store import file_sha256

log = logging.getLogger(__name__)

_START_S = 30.0  # from qemu's start until the guest answers; on an idle machine it takes 0.3 s
_READY_S = 60.0
_CONNECTED_S = 3.0  # a qemu that runs has its sockets
_PAUSE_S = 0.003
_SETTLE_S = 0.5  # from the last reply until nothing is under way: qemu saves no interrupt that waits on s390x
_BEYOND_RAM = 64 << 20  # what else of a snapshot lies on the disk, and more
_SHARED = [{"capability": "x-ignore-shared", "state": True}]
_MAX_BANDWIDTH = 1 << 40

_WARM_UP = "{to} && exec setsid {python} -c '{main}' {wanted} </dev/null >/dev/null 2>agent.err &"
_MAIN = "from agent.warm import main; main()"
_FORGET = "rm -f /run/ssh/*"  # with the keys: the server that was booted with lets nobody in any more
_SSH_PORT = 2222  # that one has 22
_SSH_SERVER = f"""
set -e
umask 077
tar xf - -C /run/ssh
exec setsid dropbear -E -s -p {_SSH_PORT} -r /run/ssh/host -P /run/dropbear-2.pid </dev/null >/dev/console 2>&1
"""


class _NoSnapshotError(Exception):
    """Why a guest was not started from one."""


@dataclass(frozen=True, slots=True)
class WarmGuest(QemuGuest):
    """A guest whose agent waits for questions. See interface.Guest."""

    channel: Channel
    qmp: Qmp
    limit: Callable[[], Deadline]  # of what a guest does when it boots

    def run(self, command: str, *, deadline: Deadline, stdin: bytes = b"") -> Completed:
        with self.blame():
            return self.channel.run(command, deadline=deadline, stdin=stdin)

    def ask(self, files: Mapping[str, bytes], *, silence: Callable[[], Deadline], deadline: Deadline) -> Iterator[str]:
        needed = {name: content for name, content in files.items() if not name.startswith("agent/")}
        with self.blame():
            yield from self.channel.ask(needed, silence=silence, deadline=deadline)

    def access(self) -> Access:
        """Starts an ssh server with keys of its own."""
        keys, port = make_keys(self.folder / "ssh"), free_port()
        deadline = self.limit()
        guests = {name: (self.folder / "ssh" / name).read_bytes() for name in ("host", "authorized_keys")}
        done = self.run(_SSH_SERVER, deadline=deadline, stdin=packed(guests, mode=0o600))
        if done.returncode:
            raise InfraError(f"the guest's ssh server did not start: {done.stdout.strip()[-500:]}")
        forward = f"hostfwd_add ssh tcp:127.0.0.1:{port}-{GUEST_ADDRESS}:{_SSH_PORT}"
        try:
            said = self.qmp("human-monitor-command", deadline=deadline, **{"command-line": forward})
        except QmpError as error:
            raise GuestLost(str(error)) from error
        if said:
            raise InfraError(f"qemu did not forward a port: {said.strip()}")
        while not (connection := greeted(port, timeout_s=deadline.remaining_s + 0.01)):
            if deadline.expired:
                raise GuestLost(f"the guest's ssh server did not answer within {deadline.what}")
            time.sleep(_PAUSE_S)
        connection.close()
        return Access(leave_key(keys, self.folder, port))


@contextmanager
def open_guest(order: BootOrder, *, deadline: Deadline) -> Iterator[Guest]:
    """The guest of `order`, booted or, where it may be, started from a snapshot; gone, whole, when the block ends.

    Raises what `boot` raises.
    """
    with ExitStack() as stack:
        guest: Guest | None = None
        if order.warm:
            try:
                guest = _warm(order, order.warm, stack, deadline)
            except (_NoSnapshotError, InfraError) as error:
                if isinstance(error, InfraError) and deadline.expired:
                    raise
                stack.close()
                order.warm.tell(str(error).partition("\n")[0])
        if guest is None:
            guest = stack.enter_context(boot(replace(order, warm=None), deadline=deadline))
        try:
            yield guest
        except GuestSilent:
            if order.warm:  # a guest that boots may answer
                Snapshots(order.warm.snapshots).remove(order.warm.key)
            raise
        if isinstance(guest, WarmGuest):
            guest.log.check()


def _warm(order: BootOrder, warm: Warm, stack: ExitStack, deadline: Deadline) -> Guest:
    """Raises _NoSnapshotError or InfraError when there is no such guest, BootError for the kernel's own."""
    store = Snapshots(warm.snapshots)
    try:
        found = store.find(warm.key)
    except DamagedError as error:
        warm.tell(f"{error}, and is made again")
        found = None
    if found is None:
        store.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        need_space(store.root, 2 * (order.size.memory_mib << 20) + _BEYOND_RAM, "a snapshot")
        return _made(stack.enter_context(boot(order, deadline=deadline)), order, warm, stack, deadline)
    seconds = min(_START_S, deadline.remaining_s / 4)  # a boot must have its time as well
    limit = deadline.sooner(Deadline.after(seconds, "the limit for a start"))
    try:
        return _started(found, order, warm, stack, limit)
    except (QmpError, ConnectionLost) as error:
        store.remove(warm.key)
        raise _NoSnapshotError(f"the snapshot did not start: {error}") from error


# --- a start from one -----------------------------------------------------------------------------------------------


def _started(found: Snapshot, order: BootOrder, warm: Warm, stack: ExitStack, deadline: Deadline) -> WarmGuest:
    own = stack.enter_context(own_folder(order.scratch, "guest-", end_s=deadline.end_s))
    (own.path / "empty").mkdir()
    argv = replayed(found.about.argv, before=found.about.folder, folder=str(own.path), ram=str(found.ram))
    process = stack.enter_context(
        spawn(
            [require(order.architecture.qemu), *argv],
            end_s=deadline.end_s,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=own.path,
            env={"TMPDIR": str(own.path)},
            folder=own,
        )
    )
    console = stack.enter_context(Console.of(process, order.console, end_s=deadline.end_s))
    stack.callback(process.terminate)
    try:
        qmp, channel = _connections(own.path, stack, deadline, lambda: process.poll() is None)
        if order.architecture.maps_ram:
            qmp("migrate-set-capabilities", capabilities=_SHARED, deadline=deadline)
        qmp("migrate-incoming", uri=f"exec:cat {found.state}", deadline=deadline)
        while qmp("query-status", deadline=deadline)["status"] == "inmigrate":
            if deadline.expired:
                raise QmpError(f"qemu did not load it within {deadline.what}")
            time.sleep(_PAUSE_S)
        qmp("cont", deadline=deadline)
        channel.wake(deadline)
    except QmpError as error:
        process.terminate()
        console.ended.wait(1.0)
        said = [line for line in console.text.splitlines() if "warning" not in line]
        raise QmpError(f"{error}; {said[0]}" if said else str(error)) from error
    return WarmGuest(console, process.pid, 0, own.path, channel, qmp, warm.limit)


def _connections(folder: Path, stack: ExitStack, deadline: Deadline, alive: Callable[[], bool]) -> tuple[Qmp, Channel]:
    qmp = stack.enter_context(Qmp.of(connected(folder / QMP_SOCKET, deadline, alive), deadline))
    channel = Channel(connected(folder / AGENT_SOCKET, deadline, alive))
    stack.callback(channel.close)
    return qmp, channel


# --- the first one --------------------------------------------------------------------------------------------------


def _made(live: LiveGuest, order: BootOrder, warm: Warm, stack: ExitStack, deadline: Deadline) -> Guest:
    """Make a guest that has booted ready, save it if nothing disturbs, and go on with it."""
    wanted = json.dumps({"modules": warm.modules, "kinds": warm.kinds})
    try:
        connecting = deadline.sooner(Deadline.after(_CONNECTED_S, "the limit for a connection"))
        qmp, channel = _connections(live.folder, stack, connecting, lambda: not live.log.ended.is_set())
        if not live.has:
            push(live, order.agent, deadline=deadline)
        command = _WARM_UP.format(to=TO_AGENT, python=PYTHON, main=_MAIN, wanted=shlex.quote(wanted))
        live.run(command, deadline=deadline)
        with live.blame():
            seconds = min(_READY_S, deadline.remaining_s / 2)  # if it does not, there is still a boot
            channel.ready(deadline.sooner(Deadline.after(seconds, "the limit for an agent")))
        live.ssh.transport.close()
    except (QmpError, GuestLost) as error:
        raise _NoSnapshotError(f"the agent did not get ready: {error}") from error
    guest = WarmGuest(live.log, live.supervisor, live.booted, live.folder, channel, qmp, warm.limit)
    why = _saved(guest, order, warm, Snapshots(warm.snapshots), deadline)
    if why:
        warm.tell(f"no snapshot was made: {why}")
    with live.blame():
        channel.wake(deadline)
    return guest


def _saved(guest: WarmGuest, order: BootOrder, warm: Warm, store: Snapshots, deadline: Deadline) -> str:
    """Save the guest, which goes on afterwards; why it was not saved."""
    guest.run(_FORGET, deadline=deadline)
    if guest.log.splats:
        return f"the kernel reported a problem: {guest.log.splats[0].text}"
    try:
        with store.making(end_s=deadline.end_s) as folder:
            time.sleep(_SETTLE_S)
            guest.qmp("stop", deadline=deadline)
            try:
                _save_stopped(guest, order, folder, deadline)
            finally:
                guest.qmp("cont", deadline=deadline)
            argv = (guest.folder / ARGV_FILE).read_text().split("\0")[:-1]
            about = SnapshotFacts(
                name=warm.name,
                made=datetime.now(UTC),
                argv=tuple(argv),
                folder=str(guest.folder),
                state_sha256=file_sha256(folder / "state"),
                ram_bytes=(folder / "ram").stat().st_size,
            )
            store.publish(warm.key, folder, about)
    except (QmpError, InfraError) as error:
        return str(error).partition("\n")[0]
    except OSError as error:
        return f"{store.root}: {error.strerror}"
    return ""


def _save_stopped(guest: WarmGuest, order: BootOrder, folder: Path, deadline: Deadline) -> None:
    if order.architecture.maps_ram:
        guest.qmp("migrate-set-capabilities", capabilities=_SHARED, deadline=deadline)
    guest.qmp("migrate-set-parameters", deadline=deadline, **{"max-bandwidth": _MAX_BANDWIDTH})
    migrated(guest.qmp, folder / "state", deadline)
    if order.architecture.maps_ram:
        copy_sparse(guest.folder / RAM_FILE, folder / "ram")
    else:  # its memory is in its state
        (folder / "ram").touch()
        os.truncate(folder / "ram", order.size.memory_mib << 20)
