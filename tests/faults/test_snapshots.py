# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What can go wrong with a snapshot, against the real start, console and supervisor; qemu is a fake.

Where one does not start, a boot takes its place, and that is said once.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

import pytest

from runner.engine.cellrun import run_cell
from runner.guest.interface import BootOrder, Guest, Warm
from runner.guest.opening import open_guest
from runner.guest.snapshots import SnapshotFacts, Snapshots
from runner.model import CellResult, Limits, Outcome, Verdict
from runner.model.deadline import Deadline
from tests import fakes
from tests.faults import recorded
from tests.faults.leftovers import Place, nothing_left
from tests.faults.test_guest_faults import ALL, FAKE, ONE, REST, claims, order
from tests.unit import agent_samples

KEY = "a" * 64
LIMITS = Limits(boot_s=24, probe_s=20, cell_s=120)


class Starts:
    """A cell whose guest has a snapshot, in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.told = folder, list[str]()
        self.snapshots = Snapshots(folder / "snapshots")
        with self.snapshots.making(end_s=1) as making:
            (making / "ram").write_bytes(bytes(4096))
            (making / "state").write_bytes(b"state")
            about = SnapshotFacts(
                name="x",
                made=datetime.now(UTC),
                argv=("-m", "1G"),
                folder="/gone",
                state_sha256=sha256(b"state").hexdigest(),
                ram_bytes=4096,
            )
            self.snapshots.publish(KEY, making, about)

    @contextmanager
    def _open(self, order: BootOrder, *, deadline: Deadline) -> Iterator[Guest]:
        warm = Warm(
            key=KEY,
            modules=(),
            kinds=(),
            snapshots=self.snapshots.root,
            name="x",
            limit=lambda: deadline,
            tell=self.told.append,
        )
        with (
            patch("runner.guest.boot.vng_argv", booted),
            open_guest(replace(order, root="disk", warm=warm), deadline=deadline) as guest,
        ):
            yield guest

    def run(self, folder: str = "run", limits: Limits = LIMITS) -> CellResult:
        machine = fakes.FakeMachine(scratch=self.folder / "scratch", boot=self._open)
        return run_cell(order(limits), {}, machine, self.folder / folder, lambda phase, note: None)


def booted(order: BootOrder, *, vng: Path, qemu: Path, port: int, keys: Path, host_uname: str) -> list[str]:
    return [sys.executable, str(FAKE), "fine", str(port), str(keys)]


def verdicts(result: CellResult) -> dict[str, Verdict]:
    rows = agent_samples.expecting(claims()).rows(result)
    return {row.probe: row.verdict for row in rows if row.verdict}


@pytest.fixture
def starts(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Starts]:
    qemu = tmp_path / "bin" / "qemu-system-x86_64"
    qemu.parent.mkdir()
    words = [sys.executable, str(FAKE.with_name("fakeqemu.py")), request.param]
    qemu.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{qemu.parent}{os.pathsep}{os.environ['PATH']}")
    with nothing_left(Place(tmp_path, tmp_path / "scratch")):
        yield Starts(tmp_path)


@pytest.mark.parametrize("starts", ["fine"], indirect=True)
def test_a_guest_from_a_snapshot_is_asked_as_one_that_booted(starts: Starts) -> None:
    result = starts.run()
    assert (result.outcome, starts.told) == (Outcome.RAN, [])
    assert verdicts(result) == dict.fromkeys(ALL, Verdict.HOLDS)


@pytest.mark.parametrize("starts", ["fine"], indirect=True)
def test_two_guests_of_one_snapshot_do_not_meet(starts: Starts) -> None:
    first = threading.Thread(target=starts.run)
    first.start()
    second = starts.run("run-2")
    first.join()
    assert verdicts(second) == dict.fromkeys(ALL, Verdict.HOLDS)
    assert starts.told == []
    assert starts.snapshots.find(KEY)


@pytest.mark.parametrize(
    ("starts", "why"),
    [
        ("does-not-know-a-device", "'i6300esb' is not a valid device model name"),
        ("refuses-the-state", "Unknown savevm section"),
        ("never-loads", "qemu did not load it within the limit for a start of"),
        ("agent-is-silent", "within the limit for a start of"),
    ],
    indirect=["starts"],
)
def test_where_it_does_not_start_a_boot_takes_its_place(starts: Starts, why: str) -> None:
    result = starts.run()
    assert (result.outcome, verdicts(result)) == (Outcome.RAN, dict.fromkeys(ALL, Verdict.HOLDS))
    (told,) = starts.told
    assert told.startswith("the snapshot did not start: ")
    assert why in told
    assert list(starts.snapshots) == []  # it would not start the next time


@pytest.mark.parametrize("starts", ["fine"], indirect=True)
@pytest.mark.parametrize("name", ["ram", "state"])
def test_a_cut_file_starts_nothing(starts: Starts, name: str) -> None:
    os.truncate(starts.snapshots.root / KEY / name, 1)
    result = starts.run()
    assert verdicts(result) == dict.fromkeys(ALL, Verdict.HOLDS)
    assert starts.told[0] == "the snapshot of x is damaged, and is made again"


@pytest.mark.parametrize("starts", ["fine"], indirect=True)
def test_without_room_for_a_snapshot_none_is_made(starts: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    starts.snapshots.remove(KEY)
    usage = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    result = starts.run()
    assert verdicts(result) == dict.fromkeys(ALL, Verdict.HOLDS)
    (told,) = starts.told
    assert told.startswith("a snapshot needs ")


@pytest.mark.parametrize("starts", ["panics-in-a-probe"], indirect=True)
def test_a_kernel_that_dies_is_told_by_its_console(starts: Starts) -> None:
    result = starts.run()
    assert (result.outcome, [it.probe for it in result.crashes]) == (Outcome.RAN, [recorded.FAULTY])
    said = verdicts(result)
    assert {probe for probe in ALL if said[probe] is Verdict.BROKEN} == ONE
    assert starts.told == []


@pytest.mark.parametrize("starts", ["killed-in-a-probe", "agent-ends-early"], indirect=True)
def test_what_is_lost_has_no_answer(starts: Starts) -> None:
    result = starts.run()
    assert result.outcome in {Outcome.LOST, Outcome.INFRA_FAILED}
    assert {probe for probe, verdict in verdicts(result).items() if verdict is Verdict.NO_ANSWER} == REST
    assert starts.told == []


@pytest.mark.parametrize("starts", ["silent-in-a-probe"], indirect=True)
def test_a_snapshot_whose_guest_fell_silent_is_not_used_again(starts: Starts) -> None:
    result = starts.run(limits=LIMITS.model_copy(update={"probe_s": 4}))
    said = verdicts(result)
    assert result.outcome is Outcome.RAN
    assert {probe for probe in ALL if said[probe] is not Verdict.HOLDS} == ONE
    assert list(starts.snapshots) == []
