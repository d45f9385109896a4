# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the rest of the program knows of a guest. A fake guest is anything that has these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from runner.model import BootFiles, GuestSize, Image, Kernel, Root, Sha256, Share, SharedFile, Splat
from runner.model.architecture import Architecture
from runner.model.deadline import Deadline
from runner.process import Completed

Accel = Literal["kvm", "tcg"]


@dataclass(frozen=True, slots=True)
class Warm:
    """That a guest may be started from a snapshot, and what is in one besides the booted kernel: a warm agent."""

    key: Sha256  # digest of the GuestKey
    modules: tuple[str, ...]  # that it has loaded
    kinds: tuple[str, ...]  # of probe, for which it is ready
    snapshots: Path  # the folder of all of them
    name: str  # of the cell, for people
    limit: Callable[[], Deadline]  # of what a guest does when it boots
    tell: Callable[[str], None]  # why it was not started from a snapshot


@dataclass(frozen=True, slots=True)
class BootOrder:
    """All that a boot depends on."""

    architecture: Architecture
    kernel: Kernel
    image: Image
    size: GuestSize
    accel: Accel
    console: Path  # where the console log goes, from its first byte on
    scratch: Path  # a folder for what lives as long as the guest
    root: Root = "disk"
    files: BootFiles | None = None  # what it starts from where its root is a disk; vng makes it where it is a folder
    make_files: Callable[[], BootFiles] | None = None  # once it is to boot: a snapshot needs none
    overlays: bool = True  # over the disk, which is not written to; without them qemu throws away what is written
    agent: Mapping[str, bytes] = field(default_factory=dict)  # its files, which the guest starts with where it can
    shared: Mapping[str, SharedFile] = field(default_factory=dict)  # what it is shown, by path
    cmdline: str = ""  # words, after all that are ours
    gdb: bool = False  # qemu waits for a debugger's connection while the guest runs
    warm: Warm | None = None

    @property
    def share(self) -> Share:
        """How vng shows folders of the host to it; a guest whose root is a disk mounts none."""
        return "9p" if self.root == "disk" else self.root


@dataclass(frozen=True, slots=True)
class Access:
    """How to get into a guest from another terminal of this host, for as long as it lives."""

    ssh: tuple[str, ...]
    gdb: tuple[str, ...] = ()  # empty unless the guest was booted for it


class Guest(Protocol):
    """A live machine. Methods raise BootError when the kernel died, GuestLost when the guest is gone otherwise."""

    def run(self, command: str, *, deadline: Deadline, stdin: bytes = b"") -> Completed:
        """Run a shell command to its end. stdout and stderr come in `stdout`, as they came."""

    def ask(self, files: Mapping[str, bytes], *, silence: Callable[[], Deadline], deadline: Deadline) -> Iterator[str]:
        """Let the agent in `files` ask what asks.json there says; the lines that it prints, as they come.

        GuestLost when `silence` ends before the next output.
        """

    def access(self) -> Access:
        """Lets its user in by other means than this program: the key is then on the disk, in the guest's folder."""

    @property
    def begun(self) -> str:
        """The probe, or PROBE:ITEM, that the console named last as being asked; empty before the first."""

    @property
    def splats(self) -> tuple[Splat, ...]:
        """What the kernel reported by itself since it had booted, in order. The last one may go on."""


class Booter(Protocol):
    """Boots a guest; it is gone, whole, when the block ends."""

    def __call__(self, order: BootOrder, *, deadline: Deadline) -> AbstractContextManager[Guest]: ...
