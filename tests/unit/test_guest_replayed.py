# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How the qemu of a guest that may be saved is started, and the one that continues it."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import InfraError
from runner.guest.command import replayed, vng_argv
from runner.guest.interface import BootOrder, Warm
from runner.model.architecture import ARCHITECTURES
from tests.unit.test_guest_command import DIGEST, argv, order

BEFORE, NOW, RAM = "/cache/scratch/guest-a", "/cache/scratch/guest-b", "/cache/snapshots/k/ram"


def saved(arch: str = "x86_64") -> BootOrder:
    warm = Warm(
        key=DIGEST,
        modules=(),
        kinds=(),
        snapshots=Path("/cache/snapshots"),
        name="x",
        limit=lambda: pytest.fail("nothing is waited for"),
        tell=print,
    )
    return replace(order(arch), warm=warm)


def options(order: BootOrder) -> list[str]:
    (words,) = (word for word in argv(order) if word.startswith("--qemu-opts="))
    return shlex.split(words.partition("=")[2])


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_guest_that_may_be_saved_has_its_memory_in_a_file_of_its_own(arch: str) -> None:
    plain = options(order(arch))
    more = [word for word in options(saved(arch)) if word not in plain or word == "-object"]
    memory = more[more.index("-object") + 1].split(",")
    assert memory == ["memory-backend-file", "id=ram", "size=1024M", "mem-path=/cache/ram", "share=on"]
    assert [word for word in more if "unix:" in word or "socket," in word] == [
        "unix:/cache/qmp,server=on,wait=off",
        "socket,id=agent,path=/cache/agent,server=on,wait=off",
    ]


def test_a_folder_too_deep_for_a_socket_is_named() -> None:
    with pytest.raises(InfraError, match="is too long for a socket"):
        argv_in(saved(), Path("/" + "x" * 110))


def argv_in(order: BootOrder, folder: Path) -> list[str]:
    qemu = folder / "qemu"
    return vng_argv(order, vng=Path("/vng"), qemu=qemu, port=1, keys=folder / "keys", host_uname="x86_64")


def test_the_machine_is_the_same_and_nothing_else() -> None:
    booted = [
        *("-name", "virtme-ng", "-m", "1024M", "-device", "virtio-blk-pci,drive=root"),
        *("-drive", "if=none,id=root,file=/cache/images/i/disk.ext2,format=raw,readonly=on"),
        *("-fsdev", "local,id=fs9,path=/venv/virtme/guest,security_model=none,readonly=on,multidevs=remap"),
        *("-kernel", "/proc/self/vng", "-append", "console=ttyS0 init=/bin/sh -- -c 'a,b'"),
        *("-netdev", "user,id=ssh,restrict=on,hostfwd=tcp:127.0.0.1:40001-10.0.2.15:22"),
        *("-kernel", "/cache/bootfiles/kernel", "-initrd", f"{BEFORE}/initrd"),
        *("-object", f"memory-backend-file,id=ram,size=1024M,mem-path={BEFORE}/ram,share=on"),
        *("-qmp", f"unix:{BEFORE}/qmp,server=on,wait=off", "-chardev", f"file,id=ret,path={BEFORE}/ret"),
    ]
    assert replayed(booted, before=BEFORE, folder=NOW, ram=RAM) == [
        *("-name", "virtme-ng", "-m", "1024M", "-device", "virtio-blk-pci,drive=root"),
        *("-drive", "if=none,id=root,file=/cache/images/i/disk.ext2,format=raw,readonly=on"),
        *("-fsdev", f"local,id=fs9,path={NOW}/empty,security_model=none,readonly=on,multidevs=remap"),
        *("-netdev", "user,id=ssh,restrict=on"),  # no port is open
        *("-object", f"memory-backend-file,id=ram,size=1024M,mem-path={RAM},share=off"),  # its own copy
        *("-qmp", f"unix:{NOW}/qmp,server=on,wait=off", "-chardev", f"file,id=ret,path={NOW}/ret"),
        *("-incoming", "defer"),
    ]
