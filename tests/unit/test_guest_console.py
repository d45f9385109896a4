"""The console parser, on what real kernels printed (tests/data/console) and on what a hostile one might."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.guest import console

LOGS = Path(__file__).parents[1] / "data" / "console"


def log(name: str) -> str:
    return (LOGS / f"{name}.log").read_bytes().decode(errors="replace")


@pytest.mark.parametrize("name", ["panic-sysrq-6.1.192-x86_64", "panic-sysrq-6.1.192-arm64"])
def test_a_panic_is_fatal_and_named_in_the_kernels_words(name: str) -> None:
    fatal = console.first_fatal(log(name))
    assert fatal is not None
    assert (fatal.kind, fatal.line) == ("panic", "Kernel panic - not syncing: sysrq triggered crash")


@pytest.mark.parametrize("name", ["6.1.192-arm64", "6.12.113-riscv64", "6.12.113-s390x", "6.12.113-ppc64le"])
def test_a_clean_boot_has_nothing_to_say(name: str) -> None:
    text = log(f"clean-{name}")
    assert console.kernel_started(text)
    assert console.splats(text) == ()
    assert console.listening(text)
    assert not console.listening(text[: text.index("Not backgrounding")])


def test_a_firmware_that_talks_is_no_kernel() -> None:
    for name, first in (("riscv64", "[    0.000000]"), ("ppc64le", "Preparing to boot")):
        text = log(f"clean-6.12.113-{name}")
        firmware = text[: text.index(first)]
        assert len(firmware) > 1000
        assert not console.kernel_started(firmware)


def test_a_cut_command_line_looks_like_something_else() -> None:
    """Why guest/qemu.py looks first: 1162 bytes for a kernel that takes 1024, and the shell ends for want of a word."""
    fatal = console.first_fatal(log("panic-cut-command-line-6.12.113-riscv64"))
    assert fatal is not None
    assert fatal.line == "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100"


def test_running_out_of_memory_is_reported_and_not_fatal() -> None:
    kinds = {splat.kind: splat for splat in console.splats(log("oom-6.1.192-x86_64"))}
    assert "python3" in kinds["out of memory"].line
    assert not kinds["out of memory"].fatal
    assert console.first_fatal(log("oom-6.1.192-x86_64")) is None


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("lockup", "watchdog: BUG: soft lockup - CPU#0 stuck for 5s! [bpftool:188]"),
        ("stall", "rcu: INFO: rcu_preempt self-detected stall on CPU"),
    ],
)
def test_a_kernel_that_hangs_is_named_and_did_not_die(kind: str, line: str) -> None:
    text = log(f"{kind}-6.12.117-x86_64")
    assert console.first_fatal(text) is None
    stuck = console.trouble(text)
    assert stuck is not None
    assert (stuck.kind, stuck.line) == (kind, line)
    assert "bpf_prog_test_run_skb" in console.last_words(text)


def test_a_task_that_hangs_is_named_and_the_kernel_did_not_die() -> None:
    text = log("hung-task-6.12.117-x86_64")
    assert console.first_fatal(text) is None
    stuck = console.trouble(text)
    assert stuck is not None
    assert (stuck.kind, stuck.line) == ("hung task", "INFO: task khugepaged:41 blocked for more than 2 seconds.")
    assert {splat.kind for splat in console.splats(text)} == {"hung task", "lockup"}


def test_what_takes_the_guests_memory_comes_before_what_follows_from_it() -> None:
    text = "[1.0] rcu: INFO: rcu_preempt self-detected stall on CPU\n" + log("oom-6.1.192-x86_64")
    found = console.trouble(text)
    assert found is not None
    assert found.starved
    deadlocked = console.trouble("[3.0] Kernel panic - not syncing: System is deadlocked on memory")
    assert deadlocked is not None
    assert deadlocked.starved


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("[  12.3] BUG: kernel NULL pointer dereference, address: 0000000000000010", "oops"),
        ("[  12.3] Internal error: Oops: 0000000096000004 [#1] SMP", "oops"),
        ("[  12.3] kernel BUG at net/netfilter/nf_conntrack_core.c:123!", "oops"),
        ("[  52.3] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [python3:133]", "lockup"),
        ("[  52.3] rcu: INFO: rcu_preempt self-detected stall on CPU", "stall"),
        ("[   26.972694] INFO: task kworker/u8:1:31 blocked for more than 2 seconds.", "hung task"),
        ("[  12.3] WARNING: CPU: 0 PID: 133 at kernel/bpf/verifier.c:1234 foo+0x1/0x2", "warning"),
    ],
)
def test_splats_are_told_apart(line: str, kind: str) -> None:
    (splat,) = console.splats(f"noise\n{line}\nnoise")
    assert splat.kind == kind
    assert splat.fatal == (kind == "oops")
    assert splat.stuck == (kind in {"lockup", "stall", "hung task"})


def test_a_program_that_prints_an_escape_sequence_into_the_words_does_not_hide_them() -> None:
    assert console.first_fatal("Kernel \x1b[31mpanic\x1b[0m - not syncing: x") is not None


def test_clean_neutralises_what_a_terminal_would_obey() -> None:
    hostile = "a\x1b[2Jb\x1b]0;title\x07c\x9bmd\x00e\x08f\rg\x1bPh"
    assert console.clean(hostile) == "abcmdefgh"


@given(st.text())
def test_clean_leaves_no_control_character(text: str) -> None:
    assert not any((ord(char) < 32 and char not in "\t\n") or 127 <= ord(char) < 160 for char in console.clean(text))


@given(st.binary(max_size=4096))
def test_any_bytes_can_be_parsed(content: bytes) -> None:
    text = content.decode(errors="replace")
    console.splats(text)
    console.tail(text)
    console.kernel_started(text)


def test_tail_keeps_the_last_lines_that_say_something() -> None:
    assert console.tail("a\n\nb\n \nc\n", lines=2) == "b\nc"


def test_last_words_begin_with_the_first_complaint_and_have_an_end() -> None:
    before = [f"[    1.{n}] all is well" for n in range(50)]
    oops = "[    2.0] BUG: unable to handle page fault for address: dead"
    trace = [f"[    2.1]  nf_nat_setup_info+{n:#x}/0x99" for n in range(500)]
    words = console.last_words("\n".join([*before, oops, *trace])).splitlines()
    assert words[:4] == [*before[-3:], oops]
    assert words[4:6] == trace[:2]
    assert len(words) == 120
    assert console.last_words("\n".join(before)) == console.tail("\n".join(before))


@pytest.mark.parametrize("name", ["panic-sysrq-6.1.192-arm64", "panic-sysrq-6.1.192-x86_64"])
def test_last_words_of_a_real_panic_hold_its_trace(name: str) -> None:
    words = console.last_words(log(name))
    assert "Kernel panic - not syncing: sysrq triggered crash" in words
    assert "write_sysrq_trigger" in words
    assert "Linux version" not in words


def test_a_port_that_somebody_took_is_recognised() -> None:
    said = "qemu-system-x86_64: -netdev user,id=ssh: Could not set up host forwarding rule 'tcp:127.0.0.1:22-:22'\n"
    assert console.port_taken(said)
    assert not console.kernel_started(said)
