"""What the agent makes of a closer look, without a kernel."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from runner.agent.libbpf import Libbpf, instruction
from runner.agent.look import LOG_CHARS, KernelLog, ProgInfo, called, look, translated

SYMBOLS = "ffffffff81000000 T _text\nffffffff81200000 T __bpf_call_base\nffffffffc0001230 t bpf_skb_ct_alloc\t[nf]\n"
KFUNC = instruction(0x85, 0, 2, 0, 0xC0001230 - 0x81200000)


@pytest.fixture
def symbols(tmp_path: Path) -> str:
    path = tmp_path / "kallsyms"
    path.write_text(SYMBOLS)
    return str(path)


def test_calls_get_the_names_of_the_kernels_symbols(symbols: str) -> None:
    to_program, unknown, leave = (
        instruction(0x85, 0, 1, 0, 1),
        instruction(0x85, 0, 0, 0, 4),
        instruction(0x95, 0, 0, 0, 0),
    )
    assert called(KFUNC + to_program + unknown + leave, symbols) == {0: "bpf_skb_ct_alloc"}


def test_without_symbols_calls_have_no_names(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text("0000000000000000 T __bpf_call_base\n0000000000000000 t bpf_skb_ct_alloc\n")  # kptr_restrict
    assert called(KFUNC, str(path)) == {}
    assert called(instruction(0x95, 0, 0, 0, 0), "/nonexistent") == {}


def test_a_refused_program_has_its_log_and_no_instructions() -> None:
    log = "a" * LOG_CHARS + "z"
    seen = look(Libbpf.__new__(Libbpf), lambda level: (-1, 22, f"{log} level {level}"))
    assert list(seen) == ["log"]
    assert str(seen["log"]).endswith("z level 2")
    assert len(str(seen["log"])) < LOG_CHARS + 60


class Kernel:
    """A program of two instructions, in place of bpf(2) behind libbpf."""

    CODE = instruction(0xB7, 0, 0, 0, 7) + instruction(0x95, 0, 0, 0, 0)

    def bpf_obj_get_info_by_fd(self, fd: int, info: object, size: object) -> int:
        asked = info._obj  # type: ignore[attr-defined]  # ctypes.byref
        if asked.xlated_prog_len:
            ctypes.memmove(asked.xlated_prog_insns, self.CODE, asked.xlated_prog_len)
        asked.xlated_prog_len, asked.jited_prog_len = len(self.CODE), 40
        return 0


def test_a_loaded_program_is_read_back() -> None:
    libbpf = Libbpf.__new__(Libbpf)
    libbpf.c = Kernel()  # type: ignore[assignment]
    assert translated(libbpf, 3) == (Kernel.CODE, 40)


def test_the_kernels_structure_is_laid_out_as_in_its_header() -> None:
    assert ctypes.sizeof(ProgInfo) == 40
    assert ProgInfo.xlated_prog_insns.offset == 32


def test_only_the_words_of_a_record_of_the_kernels_log_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "kmsg"
    path.touch()
    listening = KernelLog(str(path))
    path.write_text("4,900,123456,-;eth0: renamed; twice\n SUBSYSTEM=net\n")
    assert listening.lines() == ["eth0: renamed; twice"]
