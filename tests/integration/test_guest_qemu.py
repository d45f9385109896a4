"""The script that vng starts as qemu."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runner.errors import InfraError
from runner.guest.command import refusal, write_qemu
from runner.model.architecture import ARCHITECTURES, Architecture


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A PATH with a shell, and a qemu that shows what it was given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def start(row: Architecture, programs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    qemu = programs / row.qemu
    qemu.write_text('#!/bin/sh\nprintf "<%s>" "$@"\n')
    qemu.chmod(0o755)
    return subprocess.run([write_qemu(row, programs.parent), *words], check=False, capture_output=True, text=True)


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
        write_qemu(ARCHITECTURES["s390x"], programs)
