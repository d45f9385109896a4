# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the doctor says of machines that lack something."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from runner import doctor
from runner.doctor import Checked, Severity, examine, install_missing, missing_packages
from runner.errors import InfraError
from runner.guest import accel
from runner.model import GuestSize
from runner.model.architecture import ARCHITECTURES
from tests.samples import soon

RUNNER = Path(__file__).parents[2] / "runner"


def findings(cache: Path, *names: str, guest: GuestSize | None = None) -> dict[str, Checked]:
    """What some of the checks find."""
    context = doctor.Context(cache, guest or GuestSize(), soon())
    return {finding.name: finding for name in names for finding in doctor.CHECKS[name](context)}


def tool(folder: Path, name: str, script: str) -> None:
    """A fake program."""
    file = folder / name
    file.unlink(missing_ok=True)  # a link leads to the machine's own program
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A PATH with nothing but a shell and the few programs that packages.sh needs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "sed", "dirname", "id", "env"):
        (folder / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_every_lack_is_a_finding_and_none_an_exception(bare: Path, tmp_path: Path) -> None:
    found = {one.name: one for one in examine(tmp_path, GuestSize(), deadline=soon())}
    qemus = (f"qemu {name}" for name in ARCHITECTURES)
    for name in ("packages", *qemus, "clang", "mmdebstrap", "genext2fs", "qemu-img"):
        assert found[name].level is Severity.BAD, name
        assert found[name].found, name
    assert "doctor --fix" in found["mmdebstrap"].todo
    assert "not a Debian system" in found["packages"].found


def test_a_clang_that_cannot_do_bpf_is_found_by_trying(bare: Path, tmp_path: Path) -> None:
    tool(bare, "clang", 'echo "error: unknown target triple bpfel" >&2; exit 1')
    (finding,) = (one for one in examine(tmp_path, GuestSize(), deadline=soon()) if one.name == "clang")
    assert finding.level is Severity.BAD
    assert "unknown target triple" in finding.found


def test_a_clang_that_makes_something_else_is_found_too(bare: Path, tmp_path: Path) -> None:
    tool(bare, "clang", 'for last; do :; done; printf "\\177ELF\\002\\001\\001_________\\001\\000\\076\\000" > "$last"')
    with pytest.raises(InfraError, match="made no BPF object"):
        findings(tmp_path, "clang")


def test_a_qemu_that_runs_nothing_is_found_by_trying(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for row in ARCHITECTURES.values():
        tool(
            bare,
            row.qemu,
            'case "$1" in --version) echo "QEMU emulator version 9.9";; *) echo broken >&2; exit 1;; esac',
        )
    found = findings(tmp_path, "qemu")
    assert found["qemu x86_64"].level is Severity.BAD
    assert "failed with exit status 1:\nbroken" in found["qemu x86_64"].found
    todo = {row.name: found[f"qemu {row.name}"].todo for row in ARCHITECTURES.values()}
    assert todo == {row.name: f"reinstall {row.qemu_package}" for row in ARCHITECTURES.values()} != {}


def test_no_kvm_is_a_warning_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "DEVICE", tmp_path / "kvm")
    finding = findings(tmp_path, "kvm")["kvm"]
    assert finding.level is Severity.WARN
    assert finding.found == f"not used: there is no {tmp_path}/kvm"


@pytest.mark.parametrize(("free_mib", "level"), [(100_000, Severity.OK), (1000, Severity.WARN)])
def test_a_full_disk_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_mib: int, level: Severity
) -> None:
    usage = type(shutil.disk_usage(tmp_path))(1 << 40, 0, free_mib << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    finding = findings(tmp_path, "disk")["disk"]
    assert finding.level is level
    assert f"{free_mib} MiB free" in finding.found


def test_too_little_memory_for_one_guest_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "DEVICE", tmp_path / "kvm")
    monkeypatch.setattr(doctor, "host_memory_mib", lambda: 512)
    found = findings(tmp_path, "memory", guest=GuestSize(memory_mib=1024))
    assert found["memory"].level is Severity.BAD
    assert found["slots x86_64"].found == "1 concurrent guest, tcg"


# --- packages ------------------------------------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """packages.sh with a list of its own."""
    copy = tmp_path / "packages.sh"
    shutil.copy(RUNNER / "packages.sh", copy)
    (tmp_path / "packages.txt").write_text("# why\nbash  # is there\nlib-of-dreams  # is not\nsh  # no such package\n")
    monkeypatch.setattr(doctor, "PACKAGES_SCRIPT", copy)
    return copy


def fake_dpkg(folder: Path) -> None:
    """Knows bash as installed, and two packages whose names only look alike."""
    tool(
        folder, "dpkg-query", "printf 'bash:installed, \\nlib-of-dreams:config-files, \\ndash-sh:installed, sh-dash\\n'"
    )


def test_missing_packages_are_named(script: Path, bare: Path) -> None:
    fake_dpkg(bare)
    assert missing_packages(deadline=soon()) == ("lib-of-dreams", "sh")


def test_root_installs_what_is_missing(script: Path, bare: Path, tmp_path: Path) -> None:
    fake_dpkg(bare)
    tool(bare, "id", "echo 0")
    tool(bare, "apt-get", f'echo "$DEBIAN_FRONTEND $*" >> {tmp_path}/calls')
    install_missing(deadline=soon())
    update, install = (tmp_path / "calls").read_text().splitlines()
    assert update.endswith(" update")
    assert install.startswith("noninteractive ")
    assert install.endswith(" install -y --no-install-recommends lib-of-dreams sh")


def test_others_use_sudo_where_it_asks_nothing(script: Path, bare: Path, tmp_path: Path) -> None:
    fake_dpkg(bare)
    tool(bare, "id", "echo 1000")
    tool(bare, "sudo", f'echo "$*" >> {tmp_path}/calls')
    install_missing(deadline=soon())
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0] == "-n true"
    assert calls[-1].startswith("-n env DEBIAN_FRONTEND=noninteractive apt-get ")


def test_without_sudo_the_line_to_run_is_shown(script: Path, bare: Path) -> None:
    fake_dpkg(bare)
    tool(bare, "id", "echo 1000")
    done = subprocess.run(
        [shutil.which("sh") or "sh", script],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 1
    assert "  sudo apt-get install --no-install-recommends lib-of-dreams sh\n" in done.stderr
    with pytest.raises(InfraError, match="were not installed"):
        install_missing(deadline=soon())


def test_a_failed_installation_is_an_error(script: Path, bare: Path) -> None:
    fake_dpkg(bare)
    tool(bare, "id", "echo 0")
    tool(bare, "apt-get", "exit 100")
    with pytest.raises(InfraError, match="were not installed"):
        install_missing(deadline=soon())


def test_when_all_are_there_by_whatever_name_nothing_is_done(script: Path, bare: Path) -> None:
    tool(
        bare,
        "dpkg-query",
        "printf 'bash:installed, \\ndreams:installed, a, lib-of-dreams (= 1:2.0-3), b\\nsh:installed, \\n'",
    )
    tool(bare, "apt-get", "exit 100")
    tool(bare, "id", "exit 100")
    install_missing(deadline=soon())
    assert missing_packages(deadline=soon()) == ()


def test_the_list_says_why_each_package_is_needed() -> None:
    lines = (RUNNER / "packages.txt").read_text().splitlines()
    wanted = [line for line in lines if not line.startswith("#")]
    assert wanted
    assert [line for line in wanted if line.partition("  # ")[2].strip()] == wanted
    names = [line.split()[0] for line in wanted]
    assert len(set(names)) == len(names)
