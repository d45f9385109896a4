# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Everything that a guest can do wrong, against the real boot, console, ssh and supervisor; qemu is a fake.

No fault is an answer: whatever happens, what was answered is what the real kernel said, and the rest has none.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pytest

from runner.engine.cellrun import run_cell
from runner.engine.plan import CellOrder
from runner.guest.boot import boot
from runner.guest.console import Console
from runner.guest.interface import BootOrder
from runner.model import CellResult, Limits, Outcome, ProgType, Row, State, Verdict
from runner.probes.claims import ClaimFile
from tests import fakes
from tests.faults import recorded
from tests.faults.leftovers import Place, nothing_left
from tests.unit import agent_samples

CLAIMS = ("alloc-tcp", "alloc-udp", "alloc-ipv6")
LIMIT_S = 110  # less than cell_s: nothing waits for that but what has no other limit
FAKE = Path(__file__).with_name("fakevng.py")


@cache
def claims() -> tuple[ClaimFile, ...]:
    file = agent_samples.claims()[0]
    return (file.model_copy(update={"claims": tuple(claim for claim in file.claims if claim.id in CLAIMS)}),)


def order(limits: Limits) -> CellOrder:
    cell = agent_samples.cell("6.12.117").model_copy(update={"limits": limits})
    asks = agent_samples.expecting(claims()).asks(cell.kernel.upstream, (ProgType.TC,))
    return CellOrder(cell=cell, asks=asks, modules=())


@dataclass(frozen=True)
class Fault:
    """What becomes of the cell. `unanswered`: probes of claims without an answer; `says` is in the cause of the cell,
    or in the cause of the probe FAULTY where the cell ran."""

    scenario: str
    outcome: Outcome
    says: str
    hint: str = ""
    unanswered: frozenset[str] = frozenset()
    crashed: bool = False
    boots: bool = True  # what does not boot is waited for as long as boot_s
    silent: bool = False  # and what says nothing as long as probe_s
    cell_s: float = 120


ALL = frozenset(f"{claim}:{kind}" for claim in CLAIMS for kind in ("tc", "xdp"))
ONE = frozenset({recorded.FAULTY})
REST = ALL - {"alloc-tcp:tc", "alloc-tcp:xdp"}  # asked from FAULTY on
DEAD, LOST, INFRA, RAN = Outcome.BOOT_FAILED, Outcome.LOST, Outcome.INFRA_FAILED, Outcome.RAN

FAULTS = (
    Fault("ends-before-a-word", INFRA, "vng ended with status 1", "runner doctor", ALL, boots=False),
    Fault("hangs-before-the-first-line", INFRA, "the console stayed empty for boot_s", "-n", ALL, boots=False),
    Fault("hangs-in-the-middle-of-boot", DEAD, "no answer over ssh within boot_s", "", ALL, boots=False),
    Fault("locks-up-at-boot", DEAD, "the kernel hangs: watchdog: BUG: soft lockup", "", ALL, boots=False),
    Fault("panics-at-boot", DEAD, "Kernel panic - not syncing: Fatal exception", "", ALL, boots=False),
    Fault("no-memory-at-boot", DEAD, "the guest ran out of memory", "", ALL, boots=False),
    Fault("powers-off-at-boot", DEAD, "the guest powered off while booting", "", ALL, boots=False),
    Fault("killed-at-boot", LOST, "qemu ended while the kernel booted", "out-of-memory killer", ALL, boots=False),
    Fault("stopped-at-boot", LOST, "qemu was stopped", "SIGSTOP", ALL, boots=False),
    Fault("starved-at-boot", LOST, "for a processor", "-n", ALL, boots=False),
    Fault("boots-slowly", LOST, "its console still showed something 0 s ago", "raise boot_s", ALL, boots=False),
    Fault("accepts-and-says-nothing", DEAD, "no answer over ssh within boot_s", "", ALL, boots=False),
    Fault("greets-and-says-nothing", LOST, "ssh handshake", "", ALL, boots=False),
    Fault("stalls-at-boot-and-goes-on", RAN, ""),
    Fault("garbage-on-the-console", RAN, ""),
    Fault("agent-prints-nonsense", RAN, ""),
    Fault("has-another-host-key", LOST, "an unknown host key answers", "", ALL),
    Fault("supervisor-killed-at-boot", LOST, "supervises the guest was killed by signal 9", "`kill -9`", ALL),
    Fault("supervisor-killed-in-a-probe", RAN, ""),
    Fault("starts-no-agent", LOST, "did not start a command within probe_s", "", ALL, silent=True),
    Fault("stopped-while-it-takes", LOST, "qemu was stopped", "SIGSTOP", ALL, silent=True),
    Fault("starts-no-command", LOST, "did not start a command within probe_s", "", ALL, silent=True),
    Fault("panics-in-a-probe", RAN, "Kernel panic - not syncing: Fatal exception", "", ONE, crashed=True),
    Fault("oopses-in-a-probe", RAN, "BUG: unable to handle page fault", "", ONE, crashed=True),
    Fault("is-silent-in-a-probe", RAN, "the guest sent no output within probe_s", "", ONE, silent=True),
    Fault(
        "lockup-in-a-probe",
        RAN,
        "the kernel hangs: watchdog: BUG: soft lockup - CPU#0 stuck for 26s!",
        "",
        ONE,
        silent=True,
    ),
    Fault(
        "stall-in-a-probe",
        RAN,
        "the kernel hangs: rcu: INFO: rcu_preempt self-detected stall on CPU",
        "",
        ONE,
        silent=True,
    ),
    Fault(
        "hung-task-in-a-probe",
        RAN,
        "the kernel hangs: INFO: task python3:267 blocked for more than",
        "",
        ONE,
        silent=True,
    ),
    Fault("no-memory-in-a-probe", RAN, "the guest ran out of memory: Out of memory: Killed process", "", ONE),
    Fault("killed-in-a-probe", LOST, "qemu ended, and the console shows no reason", "out-of-memory killer", REST),
    Fault("stopped-in-a-probe", LOST, "qemu was stopped", "SIGSTOP", REST, silent=True),
    Fault("drops-in-an-answer", LOST, "ssh connection", "", REST),
    Fault("agent-ends-early", INFRA, "the agent ended too early", "", REST),
    Fault("agent-never-ends", LOST, "was not done within cell_s", "", REST, cell_s=15),
    Fault("agent-prints-an-endless-line", LOST, "a line of more than", "", REST),
)


def run(fault: Fault, tmp_path: Path, *, folder: Path | None = None) -> CellResult:
    def fake(order: BootOrder, *, vng: Path, qemu: Path, port: int, keys: Path, host_uname: str) -> list[str]:
        return [sys.executable, str(FAKE), fault.scenario, str(port), str(keys)]

    limits = Limits(boot_s=60 if fault.boots else 3, probe_s=3 if fault.silent else 60, cell_s=fault.cell_s)
    # nothing is known of a fake kernel, and it needs no root
    machine = fakes.FakeMachine(
        scratch=tmp_path / "scratch",
        boot=lambda order, *, deadline: boot(replace(order, root="disk"), deadline=deadline),
    )
    # more than sockets and windows hold
    payload = {"ballast": bytes(32 << 20)} if fault.scenario == "stopped-while-it-takes" else {}
    with patch("runner.guest.boot.vng_argv", fake):
        return run_cell(order(limits), payload, machine, folder or tmp_path / "run", lambda phase, note: None)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.scenario)
def test_a_guest_fault_names_itself_and_is_no_answer(fault: Fault, tmp_path: Path) -> None:
    with nothing_left(Place(tmp_path, tmp_path / "scratch")):
        result = run(fault, tmp_path)
    assert result.outcome is fault.outcome, result.cause
    assert (result.timings.total_s or 0) < LIMIT_S, "a wait had no limit but the cell's"
    rows = agent_samples.expecting(claims()).rows(result)
    verdicts = {row.probe: row for row in rows if row.verdict}
    assert verdicts.keys() == ALL
    for probe, verdict in verdicts.items():
        if probe not in fault.unanswered:
            assert verdict.verdict is Verdict.HOLDS, verdict
        elif fault.crashed:
            assert (verdict.verdict, verdict.crashed) == (Verdict.BROKEN, True)
        else:
            assert verdict.verdict is Verdict.NO_ANSWER
            assert verdict.cause
    assert not {State.ABSENT, State.NOT_ALLOWED} & {state.state for state in mine(result)}
    said = verdicts[recorded.FAULTY].cause if fault.outcome is RAN else result.cause
    assert fault.says in said
    assert fault.hint in result.cause
    assert fault.crashed == bool(result.crashes)


def test_while_a_guest_boots_only_what_is_new_on_its_console_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Console] = []

    def text(console: Console) -> str:
        asked.append(console)
        return ""

    monkeypatch.setattr(Console, "text", property(text))
    result = run(Fault("chatters-at-boot", RAN, ""), tmp_path)
    assert (result.outcome, asked) == (RAN, [])
    assert len(result.console) > 500_000


def mine(result: CellResult) -> list[Row]:
    """The states of the kfuncs that the claims call and that the real kernel lets a TC program call."""
    rows = [row for row in agent_samples.expecting(claims()).rows(result) if row.type == ProgType.TC]
    names = {row.subject for row in rows if row.verdict}
    return [row for row in rows if row.state and row.subject in names]
