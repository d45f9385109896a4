# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The script that vng starts as qemu."""

from __future__ import annotations

import subprocess
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import InfraError
from runner.guest.command import need_virtiofsd, refusal, write_qemu
from runner.model import Share
from runner.model.architecture import ARCHITECTURES, Architecture
from runner.model.deadline import Deadline
from tests.unit.test_guest_command import order


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A PATH with a shell, and a qemu that shows what it was given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def start(row: Architecture, programs: Path, *words: str, share: Share = "9p") -> subprocess.CompletedProcess[str]:
    qemu = programs / row.qemu
    qemu.write_text('#!/bin/sh\nprintf "<%s>" "$@"\n')
    qemu.chmod(0o755)
    script = write_qemu(replace(order(row.name), root=share), programs.parent)
    return subprocess.run([script, *words], check=False, capture_output=True, text=True)


@pytest.mark.parametrize("row", ARCHITECTURES.values(), ids=lambda row: row.name)
def test_a_command_line_that_the_kernel_would_cut_starts_nothing(row: Architecture, programs: Path) -> None:
    fits, long = "x" * (row.cmdline_max - 1), "x" * row.cmdline_max
    assert start(row, programs, "-append", fits).stdout == f"<-append><{fits}>"
    refused = start(row, programs, "-m", "1G", "-append", long, "-smp", "1")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refusal(refused.stderr) == (
        f"the kernel's command line has {row.cmdline_max} bytes, and {row.name} takes {row.cmdline_max - 1}"
    )


def test_what_is_given_reaches_qemu_unchanged(programs: Path) -> None:
    words = ["-append", 'init=/bin/sh -- -c "a; b $(c) `d`"', "-name", "", "*", "--version"]
    done = start(ARCHITECTURES["x86_64"], programs, *words)
    assert done.stdout == "".join(f"<{word}>" for word in words)
    assert refusal(done.stdout + done.stderr) == ""


def test_without_qemu_it_is_said_what_is_missing(programs: Path) -> None:
    with pytest.raises(InfraError, match="qemu-system-s390x is not installed"):
        write_qemu(order("s390x"), programs)


def test_what_falls_back_to_9p_is_not_started_where_the_kernel_has_none(programs: Path) -> None:
    row, device = ARCHITECTURES["x86_64"], "virtio-9p-pci,fsdev=virtfs7,mount_tag=ROOTFS"
    assert start(row, programs, "-device", device).stdout == f"<-device><{device}>"
    refused = start(row, programs, "-device", device, share="virtiofs")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refusal(refused.stderr) == "virtiofsd did not start, and the kernel has no 9p"
    other = "vhost-user-fs-pci,chardev=charvirtfs7,tag=ROOTFS"
    assert start(row, programs, "-device", other, share="virtiofs").stdout == f"<-device><{other}>"


def test_only_a_virtiofsd_that_writes_nothing_is_good_enough(programs: Path) -> None:
    deadline = Deadline.after(60, "the test's limit")
    with pytest.raises(InfraError, match="virtiofsd is not installed"):
        need_virtiofsd(programs, deadline=deadline)
    program = programs / "virtiofsd"
    program.touch(mode=0o755)
    for said, wrong in (("--cache", "virtiofsd cannot share a folder read-only"), ("--readonly", "")):
        program.write_text(f"#!/bin/sh\necho ' {said}  what it does'\n")
        with pytest.raises(InfraError, match=wrong) if wrong else nullcontext():
            need_virtiofsd(programs, deadline=deadline)
