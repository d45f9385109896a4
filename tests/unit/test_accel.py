# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""KVM is used only where a guest ran under it; how many guests run at once."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.guest import accel
from runner.guest.accel import Acceleration, assign, host_cpus, host_memory_mib, native_accel, slots
from runner.guest.interface import Accel
from runner.model import GuestSize
from runner.model.architecture import ARCHITECTURES, Architecture, by_uname
from runner.model.deadline import Deadline
from tests.samples import soon


class FakeHost:
    """A host with a device that may be opened; `answer` is what its tiny guest does."""

    def __init__(self, answer: tuple[bool, str]) -> None:
        self.answer = answer
        self.asked = 0
        self.limits: list[float] = []

    def can_run(self, _arch: Architecture, accel: Accel, *, deadline: Deadline) -> tuple[bool, str]:
        assert accel == "kvm"
        self.asked += 1
        self.limits.append(deadline.remaining_s)
        return self.answer


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeHost:
    host = FakeHost((True, ""))
    device, boot_id = tmp_path / "kvm", tmp_path / "boot_id"
    device.touch()
    boot_id.write_text("first\n")
    monkeypatch.setattr(accel, "DEVICE", device)
    monkeypatch.setattr(accel, "BOOT_ID", boot_id)
    monkeypatch.setattr(accel, "can_run", host.can_run)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return host


# --- what follows from them -----------------------------------------------------------------------------------------


def test_kvm_is_used_where_it_works(host: FakeHost) -> None:
    assert native_accel(deadline=soon()) == Acceleration("kvm")
    assert host.limits[0] <= accel.PROBE_S


def test_kvm_is_not_used_where_its_guest_is_silent(host: FakeHost) -> None:
    host.answer = (False, "silent")
    assert native_accel(deadline=soon()) == Acceleration("tcg", "silent")


def test_without_a_device_nothing_is_asked(host: FakeHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(accel, "DEVICE", tmp_path / "none")
    assert native_accel(deadline=soon()).accel == "tcg"
    assert host.asked == 0


def test_a_device_that_may_not_be_opened_is_not_used(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    finding = native_accel(deadline=soon())
    assert finding.accel == "tcg"
    assert "group kvm" in finding.why
    assert host.asked == 0


@pytest.mark.parametrize("answer", [(True, ""), (False, "it hangs, says: x\ny")])
def test_the_answer_is_kept_until_the_next_boot(host: FakeHost, tmp_path: Path, answer: tuple[bool, str]) -> None:
    host.answer = answer
    cache = tmp_path / "cache"
    first = native_accel(deadline=soon(), cache=cache)
    assert native_accel(deadline=soon(), cache=cache) == first
    assert host.asked == 1
    native_accel(deadline=soon(), cache=cache, refresh=True)
    assert host.asked == 2
    (tmp_path / "boot_id").write_text("second\n")
    native_accel(deadline=soon(), cache=cache)
    assert host.asked == 3
    assert not list(cache.glob("*.[0-9]*")), "no partial file is left"


@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe", b"maybe"])
def test_a_broken_memory_is_asked_again(host: FakeHost, tmp_path: Path, garbage: bytes) -> None:
    native_accel(deadline=soon(), cache=tmp_path / "cache")
    (entry,) = (tmp_path / "cache").iterdir()
    entry.write_bytes(garbage)
    assert native_accel(deadline=soon(), cache=tmp_path / "cache").accel == "kvm"
    assert host.asked == 2


def test_only_the_hosts_own_architecture_has_kvm() -> None:
    for host in ARCHITECTURES.values():
        assert assign("kvm", host.uname) == {**dict.fromkeys(ARCHITECTURES, "tcg"), host.name: "kvm"}
    assert set(assign("tcg", "x86_64").values()) == {"tcg"}
    assert set(assign("kvm", "mips").values()) == {"tcg"}


def test_the_fixture_speaks_of_a_known_host(host: FakeHost) -> None:
    assert by_uname(platform.machine()) is ARCHITECTURES["x86_64"]


# --- slots ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpus", "memory_mib", "guest_mib", "kind", "expected"),
    [
        (2, 24 * 1024, 1024, "tcg", 2),
        (2, 24 * 1024, 1024, "kvm", 4),
        (64, 8 * 1024, 1024, "tcg", 5),
        (16, 64 * 1024, 4096, "tcg", 14),
        (1, 512, 1024, "tcg", 1),
        (4, 0, 1024, "kvm", 1),
    ],
)
def test_slots_follow_from_cores_and_memory(
    cpus: int, memory_mib: int, guest_mib: int, kind: Accel, expected: int
) -> None:
    assert slots(cpus, memory_mib, GuestSize(memory_mib=guest_mib), kind) == expected


@given(st.integers(1, 256), st.integers(0, 1 << 20), st.integers(256, 65536), st.sampled_from(["kvm", "tcg"]))
def test_guests_fit_into_the_memory_or_there_is_one(cpus: int, memory_mib: int, guest_mib: int, kind: Accel) -> None:
    number = slots(cpus, memory_mib, GuestSize(memory_mib=guest_mib), kind)
    assert number >= 1
    assert number == 1 or number * guest_mib < memory_mib


def test_a_cgroups_limits_count(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 32768000 kB\nMemAvailable: 16384000 kB\n")
    assert host_memory_mib(tmp_path, meminfo) == 16000
    (tmp_path / "memory.max").write_text(f"{3 << 30}\n")
    (tmp_path / "memory.current").write_text(f"{1 << 30}\n")
    assert host_memory_mib(tmp_path, meminfo) == 2048
    (tmp_path / "memory.max").write_text("max\n")
    assert host_memory_mib(tmp_path, meminfo) == 16000
    assert host_cpus(tmp_path) == len(os.sched_getaffinity(0))
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert host_cpus(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert host_cpus(tmp_path) == 1
