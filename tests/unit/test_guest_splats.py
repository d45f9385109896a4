# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel reports by itself: on what real kernels printed (tests/data/console), and on what others print.

The reports below are put together from the format strings of the kernel's sources: mm/kasan/report.c,
mm/kfence/report.c, lib/ubsan.c, lib/refcount.c, lib/list_debug.c, kernel/panic.c, kernel/locking/lockdep.c,
kernel/sched/core.c, kernel/workqueue.c, mm/page_alloc.c, mm/slub.c, arch/x86/kernel/dumpstack.c, arch/*/mm/fault.c.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.guest.splats import MAX_LINES, MAX_SPLATS, ConsoleParser, ends_a_kernel
from runner.model import Splat, SplatKind
from tests.fakes import said

LOGS = Path(__file__).parents[1] / "data" / "console"
BAR = "=" * 66
CUT = "------------[ cut here ]------------"
END = "---[ end trace 0000000000000000 ]---"
STACK = [
    "CPU: 0 UID: 0 PID: 133 Comm: python3 Not tainted 6.12.117+deb13-amd64 #1",
    "Call Trace:",
    " <TASK>",
    " dump_stack_lvl+0x5d/0x80",
    " bpf_prog_d71d16b1d383b0e6_outer+0x65/0x87",
    " </TASK>",
]


def log(name: str) -> list[str]:
    return (LOGS / f"{name}.log").read_bytes().decode(errors="replace").split("\n")


def console(*messages: str, at: float = 12.0) -> list[str]:
    """As a console has them: one hundredth of a second apart."""
    return [f"[{at + number / 100:12.6f}] {message}" for number, message in enumerate(messages)]


def splats_of(lines: Iterable[str]) -> tuple[Splat, ...]:
    return said("\n".join(lines)).splats


def report(kind: str) -> tuple[SplatKind, str, list[str]]:
    """Its kind, the line that says what happened, and all its lines."""
    kasan = "BUG: KASAN: slab-out-of-bounds in bpf_skb_ct_alloc+0x1c2/0x2f0 [nf_conntrack]"
    kfence = "BUG: KFENCE: use-after-free read in __nf_ct_refresh_acct+0x2a/0x90"
    ubsan = "UBSAN: array-index-out-of-bounds in net/netfilter/nf_conntrack_core.c:123:17"
    refcount = "refcount_t: underflow; use-after-free."
    listed = "list_add corruption. next->prev should be prev (ffff8880), but was ffff8881. (next=ffff8882)."
    warning = "WARNING: CPU: 0 PID: 133 at lib/refcount.c:28 refcount_warn_saturate+0xba/0x110"
    newer = "WARNING: lib/refcount.c:28 at refcount_warn_saturate+0xba/0x110, CPU#0: python3/133"
    null = "BUG: kernel NULL pointer dereference, address: 0000000000000010"
    gpf = "Oops: general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1] SMP NOPTI"
    atomic = "BUG: scheduling while atomic: python3/133/0x00000002"
    sleeping = "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:585"
    deadlock = "WARNING: possible circular locking dependency detected"
    rcu = "WARNING: suspicious RCU usage"
    page = "BUG: Bad page state in process python3  pfn:103249"
    slab = "BUG kmalloc-64 (Not tainted): Right Redzone overwritten"
    lockup = "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 35s!"
    arm64 = "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000010"
    both: dict[str, tuple[SplatKind, str, list[str]]] = {
        "KASAN": ("KASAN", kasan, [BAR, kasan, "Write of size 8 at addr ffff by task a", *STACK, "Allocated by:", BAR]),
        "KFENCE": ("KFENCE", kfence, [BAR, kfence, "Use-after-free read at 0xffff (in kfence-#9):", *STACK, BAR]),
        "UBSAN": ("UBSAN", ubsan, [CUT, ubsan, "index 9 is out of range for type 'x'", *STACK, "---[ end trace ]---"]),
        "old UBSAN": ("UBSAN", ubsan, ["=" * 80, ubsan, "index 9 is out of range for type 'x'", *STACK, "=" * 80]),
        "refcount": ("refcount", refcount, [CUT, refcount, warning, "Modules linked in: nf_nat", *STACK, END]),
        "new refcount": ("refcount", refcount, [CUT, newer, refcount, "Modules linked in: nf_nat", *STACK, END]),
        "WARNING": ("WARNING", warning, [CUT, warning, *STACK, END]),
        "told WARNING": ("WARNING", warning, [CUT, "unexpected state 7", warning, *STACK, END]),
        "new WARNING": ("WARNING", newer, [CUT, newer, *STACK, END]),
        "list, warned": ("list corruption", listed, [CUT, listed, warning, *STACK, END]),
        "list, died": (
            "list corruption",
            listed,
            [listed, CUT, "kernel BUG at lib/list_debug.c:29!", "Oops: invalid opcode: 0000 [#1] SMP", *STACK, END],
        ),
        "oops": ("oops", null, [null, "#PF: supervisor read access", "Oops: Oops: 0000 [#1] SMP", *STACK, END]),
        "gpf": ("oops", gpf, [gpf, "KASAN: maybe wild-memory-access in range [0xdead-0xdeae]", *STACK, END]),
        "arm64": ("oops", arm64, [arm64, "Mem abort info:", "Internal error: Oops: 0000000096000004 [#1] SMP", END]),
        "atomic": ("scheduling while atomic", atomic, [atomic, "Modules linked in: nf_nat", *STACK]),
        "sleeping": ("sleeping function", sleeping, [sleeping, "in_atomic(): 1, irqs_disabled(): 0", *STACK]),
        "deadlock": (
            "lockdep",
            deadlock,
            [BAR, deadlock, "6.12.117 #1 Not tainted", "-" * 54, "python3/133 is trying to acquire lock:", *STACK],
        ),
        "rcu": ("lockdep", rcu, ["=" * 29, rcu, "6.12.117 #1 Not tainted", "-" * 29, "stack backtrace:", *STACK]),
        "page": ("BUG", page, [page, "page: refcount:0 mapcount:0", "page dumped because: nonzero _refcount", *STACK]),
        "slab": ("BUG", slab, [BAR, slab, "-" * 77, "0xffff-0xffff @offset=64. First byte 0x0", *STACK]),
        "workqueue": ("stuck", lockup, [lockup, "Showing busy workqueues and worker pools:", "pwq 0: cpus=0"]),
    }  # fmt: skip
    return both[kind]


REPORTS = (
    *("KASAN", "KFENCE", "UBSAN", "old UBSAN", "refcount", "new refcount", "WARNING", "told WARNING", "new WARNING"),
    *("list, warned", "list, died", "oops", "gpf", "arm64", "atomic", "sleeping", "deadlock", "rcu", "page", "slab"),
    "workqueue",
)


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_has_its_kind_its_words_and_all_its_lines(name: str) -> None:
    kind, text, whole = report(name)
    before = console("virtio_net virtio0 eth0: renamed from enp0s2", at=11.0)
    after = console("eth0: NIC Link is Up", at=20.0)
    (splat,) = splats_of([*before, *console(*whole), *after])
    assert (splat.kind, splat.text) == (kind, text)
    assert list(splat.lines) == whole


def test_reports_that_follow_each_other_at_once_are_told_apart() -> None:
    wholes = {name: report(name)[2] for name in REPORTS}
    everything = [line for whole in wholes.values() for line in whole]
    found = splats_of(console(*everything))
    assert [splat.kind for splat in found] == [report(name)[0] for name in REPORTS]
    assert [list(splat.lines) for splat in found] == list(wholes.values())


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("oops", "BUG: unable to handle page fault for address: ffffffffc0de0000"),
        ("oops", "BUG: Unable to handle kernel data access on read at 0x00000010"),
        ("oops", "invalid opcode: 0000 [#1] PREEMPT SMP NOPTI"),
        ("oops", "divide error: 0000 [#1] PREEMPT SMP NOPTI"),
        ("oops", "general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1] SMP"),
        ("oops", "double fault: 0000 [#1] PREEMPT SMP"),
        ("oops", "PANIC: double fault, error_code: 0x0"),
        ("oops", "specification exception: 0006 ilc:3 [#1] SMP"),
        ("oops", "Oops: 0004 ilc:2 [#1] SMP"),
        ("oops", "Oops: Kernel access of bad area, sig: 11 [#1]"),
        ("oops", "Oops [#1]"),
        ("oops", "Kernel BUG [#1]"),
        ("oops", "Internal error: UBSAN: array index out of bounds: 00000000f2005512 [#1] SMP"),
        ("oops", "kernel BUG at net/netfilter/nf_conntrack_core.c:123!"),
        ("stuck", "watchdog: Watchdog detected hard LOCKUP on cpu 1"),
        ("stuck", "watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 1"),
        ("stuck", "watchdog: CPU 19 self-detected hard LOCKUP @ _raw_spin_lock_irq+0x60/0x100"),
        ("stuck", "rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 1-.... }"),
        ("stuck", "INFO: rcu_tasks detected stalls on tasks:"),
        ("stuck", "INFO: task python3:267 blocked in I/O wait for more than 120 seconds."),
        ("stuck", "Kernel panic - not syncing: softlockup: hung tasks"),
        ("panic", "Kernel panic - not syncing: Fatal exception in interrupt"),
        ("out of memory", "Out of memory: Killed process 139 (python3) total-vm:905272kB"),
        ("out of memory", "Kernel panic - not syncing: System is deadlocked on memory"),
        ("KMSAN", "BUG: KMSAN: uninit-value in nf_nat_setup_info+0x1/0x2"),
        ("KCSAN", "BUG: KCSAN: data-race in tick_nohz_stop_tick / tick_sched_timer"),
        ("lockdep", "WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected"),
        ("lockdep", "WARNING: python3/133 still has locks held!"),
        ("lockdep", "[ BUG: Invalid wait context ]"),
        ("BUG", "BUG: using smp_processor_id() in preemptible [00000000] code: python3/133"),
        ("BUG", "BUG: Bad rss-counter state mm:00000000 type:MM_ANONPAGES val:1"),
        ("WARNING", "WARNING: at bpf_check+0x12/0x345, CPU#0: python3/133"),
    ],
)  # fmt: skip
def test_first_lines(kind: SplatKind, line: str) -> None:
    for prefix in ("", "[   12.345678] ", "[   12.345678][  T133] ", "[   12.345678][    C0] \x1b[31m"):
        (splat,) = splats_of(["all is well", f"{prefix}{line}\r"])
        assert (splat.kind, splat.text) == (kind, line.removeprefix("[ "))
        parser = ConsoleParser()
        parser.feed(f"{line}\n")
        assert bool(parser.died) == (kind in {"oops", "panic"})
        assert ends_a_kernel(f"[   12.345678] {line}") == (kind in {"oops", "panic", "stuck", "out of memory"})


@pytest.mark.parametrize(
    "line",
    [
        "kasan: KernelAddressSanitizer initialized",
        "kfence: initialized - using 2097152 bytes for 255 objects at 0x00000000(____ptrval____)",
        "Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
        "rcu: INFO: lockdep is turned off",
        "NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.",
        "traps: python3[133] general protection fault ip:7f00 sp:7ffe error:0 in libc.so.6[7f00+1000]",
        "traps: python3[133] trap invalid opcode ip:7f00 sp:7ffe error:0 in libc.so.6[7f00+1000]",
        "python3[133]: segfault at 0 ip 00007f00 sp 00007ffe error 4 in libc.so.6[7f00+1000]",
        "User process fault: interruption code 0011 ilc:2 in python3[1000+2000]",
        "Memory cgroup out of memory: Killed process 139 (python3) total-vm:905272kB",
        "warning: `python3' uses wireless extensions which will stop working for Wi-Fi 7 hardware",
        "WARNING: The kernel was compiled without CONFIG_X: look at the docs",
        "EXT4-fs (vda): warning: mounting unchecked fs, running e2fsck is recommended",
        "DEBUG: BUGGY firmware, WARNING ignored",
        "Kernel command line: panic=-1 oops=panic panic_on_warn=0",
        "nf_conntrack: nf_conntrack: table full, dropping packet",
        "clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable",
        "[176] Nov 25 17:31:58 Not backgrounding",
    ],
)
def test_words_that_only_look_like_it(line: str) -> None:
    assert splats_of([line, f"[    1.000000] {line}"]) == ()


@pytest.mark.parametrize(
    "name", ["clean-6.1.192-arm64", "clean-6.12.113-ppc64le", "clean-6.12.113-riscv64", "clean-6.12.113-s390x"]
)
def test_a_clean_boot_reports_nothing(name: str) -> None:
    assert splats_of(log(name)) == ()


@pytest.mark.parametrize(
    ("name", "kind", "texts", "last"),
    [
        ("lockup-6.12.117-x86_64", "stuck", ("CPU#0 stuck for 5s", "for 11s", "for 17s"), " </TASK>"),
        ("stall-6.12.117-x86_64", "stuck", ("rcu_preempt self-detected stall on CPU",) * 3, " </TASK>"),
        ("oom-6.1.192-x86_64", "out of memory", ("Killed process 139 (python3)",), "Out of memory: Killed"),
        ("panic-sysrq-6.1.192-x86_64", "panic", ("sysrq triggered crash",), "Kernel Offset: 0x2aa00000"),
        ("panic-sysrq-6.1.192-arm64", "panic", ("sysrq triggered crash",), "Memory Limit: none"),
    ],
)
def test_what_real_kernels_reported(name: str, kind: str, texts: tuple[str, ...], last: str) -> None:
    found = splats_of(log(name))
    assert [splat.kind for splat in found] == [kind] * len(texts)
    for splat, text in zip(found, texts, strict=True):
        assert text in splat.text
        assert splat.text in splat.lines[0]
    assert found[-1].lines[-1].startswith(last)
    assert not any("qemu-system" in line or "backgrounding" in line for splat in found for line in splat.lines)


def test_tasks_that_hang_are_a_report_each_and_the_lockup_has_its_own() -> None:
    found = splats_of(log("hung-task-6.12.117-x86_64"))
    assert [splat.text.split()[1] for splat in found] == ["task"] * 10 + ["BUG:"]
    assert {len(splat.lines) for splat in found[:-1]} == {3}


def test_lines_of_somebody_else_and_of_much_later_are_not_of_the_report() -> None:
    first = console("watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [python3:133]", "Modules linked in: nf_nat")
    (splat,) = splats_of([*first, "qemu-system-x86_64: terminating on signal 15 from pid 12352"])
    assert len(splat.lines) == 2
    (splat,) = splats_of([*first, *console("nf_conntrack: table full, dropping packet", at=14)])
    assert len(splat.lines) == 2


def test_a_kernel_in_a_loop_of_reports_fills_no_memory() -> None:
    whole = report("WARNING")[2]
    many = [line for number in range(3 * MAX_SPLATS) for line in console(*whole, at=float(number))]
    found = splats_of([*many, *console("BUG: kernel NULL pointer dereference, address: 0", *["x"] * 999, at=9999)])
    assert len(found) <= MAX_SPLATS + 1
    assert sum(len(splat.lines) for splat in found) < 8 * MAX_SPLATS
    endless = splats_of(console("Kernel panic - not syncing: x", *["noise"] * 500))
    assert len(endless[0].lines) == MAX_LINES


@given(st.text())
def test_any_text_can_be_parsed(text: str) -> None:
    said(text)


def test_a_report_has_the_probe_that_was_named_before_it() -> None:
    _, _, warning = report("WARNING")
    before = ["runner: begin alloc-tcp:tc"]
    found = splats_of(
        [*console(*warning), *console(*before, *warning, at=20.0), *console("runner: begin b:tc", at=30.0)]
    )
    assert [splat.probe for splat in found] == ["", "alloc-tcp:tc"]
    assert found[0].lines == found[1].lines


def test_a_real_kernel_with_kasan_reports_while_a_probe_is_asked() -> None:
    """6.12.117 built with KASAN, PROVE_LOCKING and LKDTM: provoke-crash was told WARNING, and then
    SLAB_LINEAR_OVERFLOW. That such a kernel speaks of lockdep while it boots is no report."""
    lines = log("kasan-warning-6.12.117-x86_64")
    warning, overflow = splats_of(lines)
    assert (warning.kind, warning.probe) == ("WARNING", "")
    assert warning.text.startswith("WARNING: CPU: 0 PID: 63 at drivers/misc/lkdtm/bugs.c:112 lkdtm_WARNING")
    assert (overflow.kind, overflow.probe) == ("KASAN", "census:tc")
    assert overflow.text == "BUG: KASAN: slab-out-of-bounds in lkdtm_SLAB_LINEAR_OVERFLOW+0x43/0x60"
    assert any("Allocated by task" in line for line in overflow.lines)
    assert any("MAX_LOCKDEP_KEYS" in line for line in lines)
