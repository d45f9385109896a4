# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What happens to one cell, with fake guests: faults keep their names, and cost what they must and no more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.engine.cellrun import run_cell
from runner.engine.plan import Phase
from runner.errors import BootError
from runner.guest.interface import BootOrder, Guest
from runner.model import CellResult, Outcome
from runner.model.deadline import Deadline
from tests import fakes
from tests.answers import seen_of


def run(folder: Path, behaviour: str, *, count: int = 4, phases: list[Phase] | None = None) -> CellResult:
    order = fakes.cell_order(behaviour, count=count)

    def tell(phase: Phase, note: str) -> None:
        if phases is not None:
            phases.append(phase)

    return run_cell(order, {}, fakes.fake_machine(offline=True), folder, tell)


def test_a_healthy_cell_answers_everything(tmp_path: Path) -> None:
    phases: list[Phase] = []
    before = datetime.now(UTC)
    result = run(tmp_path, "fine", phases=phases)
    assert result.outcome is Outcome.RAN
    assert result.began is not None
    assert before <= result.began <= datetime.now(UTC)
    assert [observation.probe for observation in seen_of(result)] == [f"claim-{n}:tc" for n in range(4)]
    assert seen_of(result)[0].fields == {"error": -22}
    assert (result.unasked, result.crashed, result.cause) == ((), (), "")
    assert phases == [Phase.PREPARING, Phase.BOOTING, Phase.PROBING]
    assert result.facts.release == "6.12.0-amd64"


def test_a_guest_starts_with_all_that_it_is_asked(tmp_path: Path) -> None:
    started: list[BootOrder] = []

    @contextmanager
    def boot(order: BootOrder, *, deadline: Deadline) -> Iterator[Guest]:
        started.append(order)
        with fakes.fake_boot(order, deadline=deadline) as guest:
            yield guest

    machine, large = fakes.FakeMachine(boot=boot), bytes(17 << 20)
    for payload in ({"agent/x.pyc": b"x", "y.bpf.o": b"y"}, {"agent/x.pyc": b"x", "y.bpf.o": large}):
        run_cell(fakes.cell_order("fine"), payload, machine, tmp_path, lambda phase, note: None)
    assert [[*order.agent] for order in started] == [["agent/x.pyc", "y.bpf.o", "asks.json"], ["agent/x.pyc"]]


def test_what_a_kernel_cannot_answer_is_not_asked_and_has_the_cause(tmp_path: Path) -> None:
    result = run(tmp_path, "without-btf")
    assert (result.outcome, result.root, result.unasked) == (Outcome.RAN, "9p", ())
    assert result.facts.release == "6.12.0-amd64", "it was booted"
    assert [seen.probe for seen in seen_of(result)] == [f"claim-{n}:tc" for n in range(4)]
    assert {seen.failed for seen in seen_of(result)} == {
        "the kernel is without CONFIG_DEBUG_INFO_BTF (kfuncs are found by the kernel's BTF)"
    }


def test_a_kernel_that_cannot_boot_is_not_booted_and_says_what_it_lacks(tmp_path: Path) -> None:
    phases: list[Phase] = []
    result = run(tmp_path, "without-9p", phases=phases)
    assert (result.outcome, result.root) == (Outcome.SKIPPED, "")
    assert "without CONFIG_9P_FS (" in result.cause
    assert result.build.lacks[0] == "9P_FS"
    assert phases == [Phase.PREPARING]
    assert result.answers == ()
    assert result.unasked == tuple(f"claim-{n}:tc" for n in range(4))


def test_a_kernel_of_unknown_options_that_cannot_read_its_root_is_not_to_blame(tmp_path: Path) -> None:
    result = run(tmp_path, "no-root")
    assert result.outcome is Outcome.SKIPPED
    assert result.cause.startswith(
        "its options are not known; the kernel died while booting: VFS: Unable to mount root"
    )


def test_a_probe_that_kills_the_kernel_costs_only_itself(tmp_path: Path) -> None:
    phases: list[Phase] = []
    result = run(tmp_path, "dies-in-probe", phases=phases)
    assert result.outcome is Outcome.RAN
    assert result.crashed == ("claim-1:tc",)
    assert [(crash.cause, crash.oops) for crash in result.crashes] == [("the kernel died: Kernel panic", fakes.PANIC)]
    assert {observation.probe for observation in seen_of(result)} == {"claim-0:tc", "claim-2:tc", "claim-3:tc"}
    assert phases.count(Phase.BOOTING) == 3, "again alone, and the others"
    assert "Kernel panic" in result.console
    assert result.console.count("Linux version") == 3


def test_a_probe_after_which_the_guest_is_silent_has_no_answer_and_the_others_do(tmp_path: Path) -> None:
    result = run(tmp_path, "silent-in-probe")
    assert result.outcome is Outcome.RAN
    assert result.crashed == ()
    answers = {observation.probe: observation for observation in seen_of(result)}
    assert "said nothing" in answers["claim-1:tc"].failed
    assert answers["claim-1:tc"].load_errno is None
    assert answers["claim-3:tc"].load_errno == 0


def test_a_connection_that_drops_without_a_panic_is_the_hosts_fault(tmp_path: Path) -> None:
    result = run(tmp_path, "drops-in-probe")
    assert result.outcome is Outcome.LOST
    assert result.crashed == ()
    assert result.unasked == ("claim-1:tc", "claim-2:tc", "claim-3:tc")
    assert [observation.probe for observation in seen_of(result)] == ["claim-0:tc"]


def test_no_answer_of_a_guest_whose_clock_runs_ahead_counts(tmp_path: Path) -> None:
    result = run(tmp_path, "fast-clock")
    assert (result.outcome, result.crashed) == (Outcome.LOST, ())
    assert [answer.failed for answer in result.answers] == [result.cause.partition("\n")[0]] * 4
    assert result.cause.startswith("the guest's clock went 592 s ahead in 0 s")


def test_nonsense_from_the_guest_is_no_answer(tmp_path: Path) -> None:
    result = run(tmp_path, "nonsense")
    assert result.outcome is Outcome.RAN
    assert {observation.probe for observation in seen_of(result)} == {f"claim-{n}:tc" for n in range(4)}


@pytest.mark.parametrize(
    ("behaviour", "outcome", "cause"),
    [
        ("panic-at-boot", Outcome.BOOT_FAILED, "Kernel panic"),
        ("no-qemu", Outcome.INFRA_FAILED, "vng ended"),
        ("no-disk", Outcome.INFRA_FAILED, "no space left"),
        ("ends-early", Outcome.INFRA_FAILED, "the agent ended too early"),
    ],
)
def test_faults_keep_their_names(tmp_path: Path, behaviour: str, outcome: Outcome, cause: str) -> None:
    result = run(tmp_path, behaviour)
    assert result.outcome is outcome
    assert cause in result.cause


def test_a_cell_that_never_ran_lists_every_probe_as_unasked(tmp_path: Path) -> None:
    assert run(tmp_path, "panic-at-boot").unasked == tuple(f"claim-{n}:tc" for n in range(4))


def test_an_earlier_attempts_console_is_kept(tmp_path: Path) -> None:
    order = fakes.cell_order("fine")
    for attempt in (1, 2):
        machine = fakes.fake_machine(offline=True)
        again = order.model_copy(update={"attempt": attempt})
        run_cell(again, {}, machine, tmp_path, lambda phase, note: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["console-2.log", "console.log"]


def test_a_probe_that_is_to_be_alone_has_a_guest_of_its_own(tmp_path: Path) -> None:
    order = fakes.cell_order(count=5)
    asks = tuple(ask.model_copy(update={"alone": number in {1, 2}}) for number, ask in enumerate(order.asks))
    asked: list[tuple[str, ...]] = []

    def tell(phase: Phase, note: str) -> None:
        if phase is Phase.PROBING:
            asked.append((note,))

    result = run_cell(order.model_copy(update={"asks": asks}), {}, fakes.fake_machine(offline=True), tmp_path, tell)
    assert (result.outcome, result.unasked, result.boots) == (Outcome.RAN, (), 3)
    assert {seen.probe for seen in seen_of(result)} == {f"claim-{n}:tc" for n in range(5)}
    assert asked == [("3 probes",), ("1 probe",), ("1 probe",)]


def test_any_number_of_probes_may_be_alone(tmp_path: Path) -> None:
    order = fakes.cell_order(count=20)
    asks = tuple(ask.model_copy(update={"alone": True}) for ask in order.asks)
    machine = fakes.fake_machine(offline=True)
    result = run_cell(order.model_copy(update={"asks": asks}), {}, machine, tmp_path, lambda phase, note: None)
    assert (result.cause, result.unasked, result.boots) == ("", (), 20)


def test_a_boot_for_which_the_cells_time_is_over_does_not_blame_the_kernel(tmp_path: Path) -> None:
    boots: list[BootOrder] = []

    @contextmanager
    def boot(order: BootOrder, *, deadline: Deadline) -> Iterator[Guest]:
        boots.append(order)
        if len(boots) > 1:  # after a probe took the first guest down
            time.sleep(deadline.remaining_s)
            raise BootError(f"no answer over ssh within {deadline.what}", console_tail="")
        with fakes.fake_boot(order, deadline=deadline) as guest:
            yield guest

    order = fakes.cell_order("dies-in-probe")
    cell = order.cell.model_copy(update={"limits": order.cell.limits.model_copy(update={"cell_s": 0.2})})
    machine = fakes.FakeMachine(boot=boot)
    result = run_cell(order.model_copy(update={"cell": cell}), {}, machine, tmp_path, lambda phase, note: None)
    assert (result.outcome, result.cause) == (Outcome.LOST, "no answer over ssh within cell_s of 0.2 s")
