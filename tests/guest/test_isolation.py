# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A real guest tries what a hostile kernel would try first: to reach its host, and to write where it may only read."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import get_args

import pytest

from runner.engine.fleet import this_machine
from runner.errors import InfraError
from runner.guest.command import need_virtiofsd
from runner.guest.interface import BootOrder, Guest
from runner.model import Root, Share
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from tests.guest.conftest import Project
from tests.guest.inprocess import OneCell

_LIMIT_S = 300
_HOST = "10.0.2.2"  # qemu's user network: the host's loopback
_RESOLVER = "10.0.2.3"
_TRY_TCP = "import socket; socket.create_connection(('{}', {}), timeout=2)"
_TRY_UDP = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
s.sendto(bytes.fromhex('1234010000010000000000000161016200000100 01'), ('{}', 53))
s.recv(512)
"""


@contextmanager
def booted(project: Project, root: Root = "disk") -> Iterator[Guest]:
    cell = OneCell.of(project.root, "kernel=6.12,arch=x86_64").cell
    machine = this_machine(offline=False)
    deadline = Deadline.after(_LIMIT_S, "the test's limit")
    kernel, image = machine.prepare(cell, deadline=deadline)
    order = BootOrder(
        architecture=architecture(cell.arch),
        kernel=kernel,
        image=image,
        size=cell.guest,
        accel=machine.accel(cell),
        console=project.root / "console.log",
        scratch=machine.scratch,
        root=root,
    )
    with machine.boot(order, deadline=deadline) as guest:
        yield guest


@contextmanager
def listening() -> Iterator[tuple[int, list[object]]]:
    """A server on every address of this machine; whoever connects is noted."""
    callers: list[object] = []
    with closing(socket.create_server(("0.0.0.0", 0))) as server:  # noqa: S104  the guest shall find it, if it can

        def note() -> None:
            try:
                while True:
                    connection, address = server.accept()
                    callers.append(address)
                    connection.close()
            except OSError:
                return

        threading.Thread(target=note, daemon=True).start()
        yield server.getsockname()[1], callers


def in_guest(guest: Guest, command: str) -> tuple[int, str]:
    done = guest.run(command, deadline=Deadline.after(60, "the test's limit"))
    return done.returncode, done.stdout


def python(guest: Guest, program: str) -> tuple[int, str]:
    return in_guest(guest, f'python3 -c "{program}"')


def test_a_guest_reaches_nothing_and_writes_nowhere_and_only_this_machine_reaches_it(project: Project) -> None:
    with booted(project) as guest, listening() as (port, callers):
        assert listened_at() == {"0100007F"}, "127.0.0.1, as the kernel writes it"
        assert python(guest, "print(6 * 7)") == (0, "42\n"), "or everything below would fail for another reason"
        for address in (_HOST, "127.0.0.1"):
            status, said = python(guest, _TRY_TCP.format(address, port))
            assert status != 0, said
            assert "timed out" in said or "refused" in said or "unreachable" in said, said
        status, said = python(guest, _TRY_UDP.format(_RESOLVER))
        assert status != 0, said
        assert "timed out" in said or "unreachable" in said, said
        assert callers == []
        assert "default" not in in_guest(guest, "/usr/sbin/ip route")[1]

        assert shares_that_cannot_be_written(guest) == [], "its keys came in the initramfs"
        status, said = in_guest(guest, "dd if=/dev/zero of=/dev/vda bs=512 count=1 conv=fsync")
        assert status != 0, said
        assert "not permitted" in said or "Read-only" in said or "I/O error" in said, said


def shares_that_cannot_be_written(guest: Guest) -> list[str]:
    """The folders of the host that a guest sees, each tried."""
    mounts = [line.split() for line in in_guest(guest, "cat /proc/mounts")[1].splitlines()]
    shares = [place for _, place, kind, *_ in mounts if kind in get_args(Share)]
    for place in (f"{share}/new" for share in shares):
        in_guest(guest, f"mount -o remount,rw {place.rpartition('/')[0] or '/'}")
        status, said = in_guest(guest, f"echo x >> {place}")
        assert status != 0, said
        assert "Read-only file system" in said, said
    return shares


@pytest.mark.parametrize("share", get_args(Share))
def test_a_guest_whose_root_is_a_folder_works_and_writes_nowhere_either(project: Project, share: Share) -> None:
    if share == "virtiofs":
        try:
            need_virtiofsd(project.root, deadline=Deadline.after(60, "the test's limit"))
        except InfraError as error:
            pytest.skip(str(error))
    with booted(project, root=share) as guest:
        assert python(guest, "print(6 * 7)") == (0, "42\n")
        assert in_guest(guest, "modprobe nf_conntrack && grep -c ^nf_conntrack /proc/modules") == (0, "1\n")
        assert "/" in shares_that_cannot_be_written(guest)


def listened_at() -> set[str]:
    """The addresses at which guests of this machine take connections."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    places = {row[9]: row[1].partition(":")[0] for row in rows if row[3] == "0A"}
    return {
        places[inode]
        for link in Path("/proc").glob("[0-9]*/fd/*")
        if (inode := _inode(link)) in places and b"qemu-system" in _command(link.parents[1])
    }


def _inode(link: Path) -> str:
    try:
        return str(link.readlink()).removeprefix("socket:[").removesuffix("]")
    except OSError:
        return ""


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
