# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Guests of a few bytes, for real: emulation works, and silence is found."""

from __future__ import annotations

import platform
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from runner.guest.accel import can_run
from runner.model.architecture import ARCHITECTURES, Architecture
from runner.model.deadline import Deadline
from tests.samples import soon


def installed(name: str) -> Architecture:
    arch = ARCHITECTURES[name]
    if not shutil.which(arch.qemu):
        pytest.skip(f"{arch.qemu} is not installed")
    return arch


@pytest.mark.parametrize("name", ["x86_64", "arm64"])
def test_a_tiny_guest_speaks_under_emulation(name: str) -> None:
    assert can_run(installed(name), "tcg", deadline=soon()) == (True, "")


def test_silence_is_no_success(tmp_path: Path) -> None:
    """A guest that never speaks, as under a KVM that hangs: found within the limit, and gone after it."""
    qemu = tmp_path / "qemu"
    qemu.write_text("#!/bin/sh\nexec sleep 600\n")
    qemu.chmod(0o755)
    hanging = replace(ARCHITECTURES["x86_64"], qemu=str(qemu))
    speaks, why = can_run(hanging, "tcg", deadline=Deadline.after(1.0, "the limit"))
    assert not speaks
    assert why == "a tiny guest under tcg did not speak within the limit of 1 s"


def test_a_foreign_architecture_has_no_kvm() -> None:
    """qemu refuses it at once; that is a no, with qemu's words."""
    foreign = installed("arm64" if platform.machine() == "x86_64" else "x86_64")
    speaks, why = can_run(foreign, "kvm", deadline=soon())
    assert not speaks
    assert f"{foreign.qemu} -accel kvm ended with status 1: " in why


def test_where_there_is_no_tiny_guest_kvm_is_not_used() -> None:
    assert can_run(ARCHITECTURES["s390x"], "kvm", deadline=soon()) == (False, "there is no tiny guest for s390x")
