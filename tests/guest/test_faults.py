# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The faults that matter most, done to real guests. tests/faults has all of them, with fakes.

Whatever happens: what was answered is right, the rest has no answer and says why, and nothing is left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from runner import supervise
from runner.engine.plan import Phase
from runner.model import CellResult, GuestSize, Limits, Outcome, Verdict
from runner.probes.census.answers import taken
from tests.answers import seen_of
from tests.faults.leftovers import Place, nothing_left
from tests.guest.conftest import Project, answers, exported
from tests.guest.inprocess import OneCell
from tests.guest.test_matrix_run import await_guests

LIMITS = Limits(boot_s=120, probe_s=20, cell_s=400)
# Keeps the kernel busy for days: 2^23 times 2^23 turns. The verifier sees a bounded loop.
HANG = """
static long turn(__u32 at, void *context)
{
	return 0;
}

static long round(__u32 at, void *context)
{
	bpf_loop(1 << 23, turn, 0, 0);
	return 0;
}

SEC("tc")
int tc_hang(struct __sk_buff *skb)
{
	bpf_loop(1 << 23, round, 0, 0);
	return 0;
}
"""
HANGS = """\
  - id: hangs
    says: Comes back.
    source: {kind: commit, ref: d7e79c97c00c}
    kfunc: alloc
    types: [tc]
    program: hang
    answer: {load: ok}
  - id: after
    says: Allocates an entry, once more.
    source: {kind: commit, ref: d7e79c97c00c}
    kfunc: alloc
    program: alloc
    answer: {load: ok, fields: {acquired: 1}}
"""


def disturb(
    project: Project,
    *,
    words: str = "",
    inside: str = "",
    outside: Callable[[], None] | None = None,
    memory_mib: int = 1024,
    limits: Limits = LIMITS,
) -> tuple[CellResult, dict[Verdict, list[str]]]:
    """Run one cell. While it is asked for the first time, `inside` runs in its guest, or `outside` on this host."""
    cell, boots = one_cell(project, limits, memory_mib), 0

    def tell(phase: Phase, note: str) -> None:
        nonlocal boots
        boots += phase is Phase.BOOTING
        if phase is Phase.PROBING and boots == 1 and outside:
            threading.Timer(3.0, outside).start()

    def agent(command: str) -> str:
        return beside_the_agent(inside, command) if inside and boots == 1 else command

    with nothing_left(Place(project.root, project.root / "scratch")):
        result = cell.run(tell=tell, words=words, agent=agent)
    said: dict[Verdict, list[str]] = {}
    for row in cell.expectations.rows(result):
        if row.verdict:
            said.setdefault(row.verdict, []).append(row.cause)
    assert Verdict.BROKEN not in said
    assert "" not in said.get(Verdict.NO_ANSWER, [])
    return result, said


def one_cell(project: Project, limits: Limits, memory_mib: int = 1024) -> OneCell:
    found = OneCell.of(project.root, "kernel=6.12,arch=x86_64")
    changed = {"limits": limits, "guest": GuestSize(memory_mib=memory_mib)}
    return replace(found, cell=found.cell.model_copy(update=changed))


def beside_the_agent(script: str, command: str) -> str:
    """Runs `script` in the guest once the agent, which `command` starts, has answered the first question."""
    folder, _, agent = command.partition(" && exec ")
    wait = "until grep -q answer said; do sleep 0.2; done"
    return f"{folder}; touch said; ({wait}; {script}) > script.log 2>&1 & {agent} | tee said"


def signal_qemu(number: signal.Signals) -> Callable[[], None]:
    def send() -> None:
        for pid in supervise.descendants():
            if Path(f"/proc/{pid}/comm").read_text().startswith("qemu-system"):
                os.kill(pid, number)

    return send


def test_a_dropped_connection_is_the_hosts_fault(project: Project) -> None:
    result, _ = disturb(project, inside="kill -9 $PPID")
    assert result.outcome is Outcome.LOST
    assert "the ssh connection broke" in result.cause


def test_a_guest_without_memory_says_so(project: Project) -> None:
    fill = "mkdir /run/fill; mount -t tmpfs -o size=300% fill /run/fill; dd if=/dev/zero of=/run/fill/all bs=1M"
    result, _ = disturb(project, inside=fill, memory_mib=448)  # full before the agent is done
    causes = failed(result)
    assert "Out of memory: Killed process" in result.console
    assert not causes or ["the guest ran out of memory" in cause for cause in causes] == [True]
    if result.outcome is not Outcome.RAN:  # the kernel chose the agent itself, between two questions
        assert result.outcome is Outcome.LOST
        assert "the guest ran out of memory" in result.cause


def test_a_killed_run_goes_on_and_answers_as_an_undisturbed_one(project: Project) -> None:
    project.small()
    only = "arch=x86_64"
    with project.started("matrix", "run", "--only", only, "-n", "1") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if " done " in line:
                break
        await_guests(project, some=True)
        process.kill()
    await_guests(project, some=False)
    stopped = exported(project)
    outcomes = sorted((cell["outcome"], cell["cause"].partition(":")[0]) for cell in stopped["cells"])
    assert outcomes == [("infrastructure failed", "never finished"), ("ran", "")]
    with nothing_left(Place(project.root, project.root / "scratch")):
        done = project.runner("matrix", "run", "--resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumes: 1 of 2 cells done" in done.stdout
    resumed = exported(project)
    assert resumed["run"]["id"] == stopped["run"]["id"]
    assert [cell["attempts"] for cell in resumed["cells"]] == [1, 1]
    assert project.runner("matrix", "run", "--fresh", "--only", "kernel=6.12,arch=x86_64").returncode == 0
    (undisturbed,) = exported(project)["cells"]
    (same,) = [cell for cell in resumed["cells"] if cell["id"] == undisturbed["id"]]
    assert answers(same) == answers(undisturbed)


def test_a_kernel_that_hangs_is_named_as_the_cause(project: Project) -> None:
    project.small(HANGS)
    programs = project.root / "bpf" / "conntrack.bpf.c"
    programs.write_text(programs.read_text() + HANG)
    result, said = disturb(project, words="sysctl.kernel.watchdog_thresh=2")
    assert (result.outcome, result.cause) == (Outcome.RAN, "")
    assert "watchdog: BUG: soft lockup" in result.console
    (cause,) = failed(result)
    assert "the kernel hangs: watchdog: BUG: soft lockup" in cause
    assert said == {Verdict.NO_ANSWER: [cause], Verdict.HOLDS: [""] * 4}
    assert (result.unasked, result.crashes) == ((), ())


def test_a_kernel_that_hangs_while_booting_did_not_boot(project: Project) -> None:
    """Its first program never comes to the ssh server."""
    limits = LIMITS.model_copy(update={"boot_s": 40})
    result, _ = disturb(project, words="rdinit=/bin/busybox -- sleep 1000", limits=limits)
    assert (result.outcome, "its console has been silent for" in result.cause) == (Outcome.BOOT_FAILED, True)


def test_a_guest_that_gets_no_processor_is_the_hosts_fault(project: Project) -> None:
    mine = os.sched_getaffinity(0)
    busy = ["sh", "-c", "while :; do :; done"]
    with ExitStack() as stack:

        def crowd(phase: Phase, _note: str) -> None:
            if phase is Phase.BOOTING and os.sched_getaffinity(0) == mine:
                os.sched_setaffinity(0, {min(mine)})  # the guest's, too
                stack.callback(os.sched_setaffinity, 0, mine)
                for _ in range(12):  # each in a session: the kernel shares out time among these
                    stack.callback(stack.enter_context(subprocess.Popen(busy, start_new_session=True)).kill)

        result = one_cell(project, LIMITS.model_copy(update={"boot_s": 20})).run(tell=crowd)
    # the second: it did not even come to its first line
    causes = {Outcome.LOST: "for a processor", Outcome.INFRA_FAILED: "this host is overloaded"}
    assert causes.get(result.outcome, "the kernel's fault") in result.cause, (result.outcome, result.cause)


def test_a_killed_qemu_is_the_hosts_fault(project: Project) -> None:
    result, said = disturb(project, outside=signal_qemu(signal.SIGKILL))
    assert result.outcome is Outcome.LOST
    assert "qemu ended, and the console shows no reason" in result.cause
    assert said[Verdict.NO_ANSWER]


def test_a_stopped_qemu_is_noticed_and_ended(project: Project) -> None:
    result, _ = disturb(project, outside=signal_qemu(signal.SIGSTOP))
    assert result.outcome is Outcome.LOST
    assert "qemu was stopped" in result.cause


def failed(result: CellResult) -> list[str]:
    causes = [seen.failed for seen in seen_of(result)] + [seen.failed for seen in taken(result).answers]
    return list(filter(None, causes))
