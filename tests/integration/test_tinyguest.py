"""Guests of a few bytes, for real: emulation works, and silence is found."""

from __future__ import annotations

import platform
import shutil

import pytest

from runner.guest import tinyguest
from runner.guest.tinyguest import can_run
from runner.model.architecture import ARCHITECTURES, Architecture
from runner.model.deadline import Deadline
from tests.unit.test_accel import soon


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=lambda arch: arch.name)
def test_a_tiny_guest_speaks_under_emulation(arch: Architecture) -> None:
    if not shutil.which(arch.qemu):
        pytest.skip(f"{arch.qemu} is not installed")
    assert can_run(arch, "tcg", deadline=soon()) == (True, "")


def test_silence_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that never speaks, as under a KVM that hangs: found within the limit, and gone after it."""
    arch = ARCHITECTURES["x86_64"]
    if not shutil.which(arch.qemu):
        pytest.skip(f"{arch.qemu} is not installed")
    silent = (b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20)
    monkeypatch.setitem(tinyguest._TINY, "x86_64", (lambda: silent, tinyguest._TINY["x86_64"][1]))
    speaks, why = can_run(arch, "tcg", deadline=Deadline.after(1.0, "the limit"))
    assert not speaks
    assert why == "a tiny guest under tcg did not speak within the limit of 1 s"


def test_a_foreign_architecture_has_no_kvm() -> None:
    """qemu refuses it at once; that is a no, with qemu's words."""
    foreign = next(arch for arch in ARCHITECTURES.values() if arch.uname != platform.machine())
    if not shutil.which(foreign.qemu):
        pytest.skip(f"{foreign.qemu} is not installed")
    speaks, why = can_run(foreign, "kvm", deadline=soon())
    assert not speaks
    assert f"{foreign.qemu} -accel kvm ended with status 1: " in why
