# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The console, on what real kernels printed (tests/data/console) and on what a hostile one might."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import GuestSilent
from runner.guest import console
from runner.guest.console import Console
from runner.guest.splats import ConsoleParser
from runner.guest.ssh import ConnectionLost

LOGS = Path(__file__).parents[1] / "data" / "console"


def log(name: str) -> str:
    return (LOGS / f"{name}.log").read_bytes().decode(errors="replace")


def parsed(text: str, size: int = 1 << 16) -> ConsoleParser:
    """Fed in pieces of that many characters."""
    parser = ConsoleParser()
    for start in range(0, len(text), size):
        parser.feed(text[start : start + size])
    return parser


@pytest.mark.parametrize("name", ["6.1.192-arm64", "6.12.113-riscv64", "6.12.113-s390x", "6.12.113-ppc64le"])
def test_a_clean_boot_listens_and_has_nothing_to_report(name: str) -> None:
    text = log(f"clean-{name}")
    assert console.kernel_started(text)
    parser = parsed(text)
    assert (parser.died, parser.splats, parser.listening) == ("", (), True)
    assert not parsed(text[: text.index("Not backgrounding")]).listening


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 16])
def test_the_pieces_in_which_it_comes_make_no_difference(size: int) -> None:
    text = log("hung-task-6.12.117-x86_64")
    whole = parsed(text)
    assert parsed(text, size).splats == whole.splats
    assert len(whole.splats) == 11


def test_the_work_grows_as_the_console_does() -> None:
    """Counted: each character is looked at once, however much came before it and in whatever pieces it comes."""
    line = "[    1.000000] WARNING: nothing to see here, but nearly\n"
    for length in (1_000, 100_000):
        for size in (16, 4096):
            parser = parsed(line * (length // len(line)), size)
            assert parser.looked_at == length // len(line) * len(line)


def test_a_line_without_an_end_costs_no_more_than_its_beginning() -> None:
    parser = parsed("x" * 1_000_000 + "\nNot backgrounding\n", 4096)
    assert parser.looked_at < 10_000
    assert parser.listening


def test_a_kernel_that_dies_says_so_in_a_line() -> None:
    assert parsed(log("panic-sysrq-6.1.192-arm64")).died == "Kernel panic - not syncing: sysrq triggered crash"
    # Why guest/command.py looks first: 1162 bytes for a kernel that takes 1024, and the shell ends for want of a word.
    cut = "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100"
    assert parsed(log("panic-cut-command-line-6.12.113-riscv64")).died == cut
    assert parsed(log("oom-6.1.192-x86_64")).died == ""
    assert parsed(log("lockup-6.12.117-x86_64")).died == ""


def test_an_escape_sequence_in_the_words_does_not_hide_them() -> None:
    assert parsed("Kernel \x1b[31mpanic\x1b[0m - not syncing: x\n").died == "Kernel panic - not syncing: x"


@given(st.binary(max_size=4096), st.integers(1, 100))
def test_any_bytes_can_be_parsed(content: bytes, size: int) -> None:
    text = content.decode(errors="replace")
    parsed(text, size)
    console.last_lines(text)
    console.last_words(text)
    console.kernel_started(text)


# --- a whole console ------------------------------------------------------------------------------------------------


def test_a_firmware_that_talks_is_no_kernel() -> None:
    for name, first in (("riscv64", "[    0.000000]"), ("ppc64le", "Preparing to boot")):
        text = log(f"clean-6.12.113-{name}")
        firmware = text[: text.index(first)]
        assert len(firmware) > 1000
        assert not console.kernel_started(firmware)


def test_tail_keeps_the_last_lines_that_say_something() -> None:
    said = [f"line {number}" for number in range(30)]
    assert console.last_lines("\n\n \n".join(said)) == "\n".join(said[-20:])


def test_last_words_begin_with_the_first_complaint_and_have_an_end() -> None:
    before = [f"[    1.{n}] all is well" for n in range(50)]
    oops = "[    2.0] BUG: unable to handle page fault for address: dead"
    trace = [f"[    2.1]  nf_nat_setup_info+{n:#x}/0x99" for n in range(500)]
    words = console.last_words("\n".join([*before, oops, *trace])).splitlines()
    assert words[:4] == [*before[-3:], oops]
    assert words[4:6] == trace[:2]
    assert len(words) == 120
    assert console.last_words("\n".join(before)) == console.last_lines("\n".join(before))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("panic-sysrq-6.1.192-arm64", "write_sysrq_trigger"),
        ("panic-sysrq-6.1.192-x86_64", "write_sysrq_trigger"),
        ("lockup-6.12.117-x86_64", "bpf_prog_test_run_skb"),
        ("stall-6.12.117-x86_64", "bpf_prog_test_run_skb"),
    ],
)
def test_last_words_of_a_real_kernel_hold_its_trace(name: str, words: str) -> None:
    said = console.last_words(log(name))
    assert words in said
    assert "Linux version" not in said


def test_a_port_that_somebody_took_is_recognised() -> None:
    said = "qemu-system-x86_64: -netdev user,id=ssh: Could not set up host forwarding rule 'tcp:127.0.0.1:22-:22'\n"
    assert console.port_taken(said)
    assert not console.kernel_started(said)


def test_a_guest_that_restarts_itself_is_silent_though_qemu_has_not_ended_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_LAST_WORDS_S", 0.0)
    said = Console(tmp_path / "console.log")
    said._content += b"[  463.282289] reboot: Restarting system\n"
    with pytest.raises(GuestSilent, match="switched off or restarted from inside"), console.blame(said, os.getpid()):
        raise ConnectionLost("the connection to the guest broke")
