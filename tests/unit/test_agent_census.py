# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How the agent takes a census, and asks without an obstacle; the kernel behind it is made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import pytest

from runner.agent import NoAnswer, census
from runner.agent.btf import Btf
from runner.agent.census import Prober, program
from runner.agent.kernelbtf import Kfunc
from runner.agent.structs import PROG_TYPES, LoadOpts, instruction
from runner.model import Answer as CellAnswer
from runner.model import CellResult, Outcome, ProgType
from runner.probes.census.answers import taken
from tests import fakes

NO_BTF = cast("Btf", None)
NAMES = ("bpf_a", "bpf_b")
REFUSED = "calling kernel function is not allowed\n"


class FakeBtf:
    """Has NAMES, and all types of programs."""

    def kfuncs(self, names: frozenset[str]) -> dict[str, Kfunc]:
        found = {name: Kfunc(name, "vmlinux", NO_BTF, 1, 0) for name in NAMES}
        for kfunc in found.values():
            kfunc.tags = ("bpf_kfunc",)
        return found

    def load_opts(self, prog_type: object) -> LoadOpts:
        return LoadOpts()


class Refusing:
    """Refuses every kfunc; `unloadable` as told."""

    def __init__(self, why: str) -> None:
        self._why = why

    def unloadable(self, prog_type: int, opts: LoadOpts) -> str:
        return self._why

    def verified(self, prog_type: int, insns: bytes, opts: LoadOpts) -> tuple[int, str]:
        return 13, REFUSED


def prober(monkeypatch: pytest.MonkeyPatch, why: str = "") -> Prober:
    monkeypatch.setattr(census, "KernelBtf", lambda libbpf: FakeBtf())
    return Prober(Refusing(why), "")  # type: ignore[arg-type]


def test_what_is_known_of_a_kfunc_goes_with_its_first_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asking = prober(monkeypatch)
    answers: list[CellAnswer] = []
    for prog_type in ("tc", "xdp"):
        items: list[Any] = [
            (name, ask()) for name, ask in asking.ask({"prog_type": prog_type, "kfuncs": ["bpf_gone", *NAMES]})
        ]
        answers += [
            CellAnswer(kind="census", probe=f"census:{prog_type}", item=it, body=json.loads(json.dumps(body)))
            for it, body in items
        ]
    assert ["tags" in answer.body for answer in answers] == [True, True, False, False]
    seen = taken(CellResult(cell=fakes.cell(), outcome=Outcome.RAN, answers=tuple(answers))).answers
    assert [(one.kfunc, one.prog_type) for one in seen] == [(name, it) for it in ("tc", "xdp") for name in NAMES]
    assert {(one.object, one.load_errno, one.log, one.tags) for one in seen} == {
        ("vmlinux", 13, REFUSED, ("bpf_kfunc",))
    }


def test_a_type_of_which_nothing_loads_has_no_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoAnswer, match=r"^no such type$"):
        next(prober(monkeypatch, "no such type").ask({"prog_type": "tc", "kfuncs": []}))


def test_the_census_program() -> None:
    """r2 to r5 = 0, call, r0 = 0, exit; a module's function by way of fd_array[1], vmlinux's without."""
    module, vmlinux = program(Kfunc("f", "nf_nat", NO_BTF, 7, 5)), program(Kfunc("f", "vmlinux", NO_BTF, 7, 0))
    assert len(module) == 7 * 8
    assert module[32:40] == instruction(0x85, 0, 2, 1, 7)
    assert vmlinux[32:40] == instruction(0x85, 0, 2, 0, 7)
    assert module[40:48] == instruction(0xB7, 0, 0, 0, 0)
    assert module[48:56] == instruction(0x95, 0, 0, 0, 0)


class Kernel:
    """Answers loads from a list: (errno, log)."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.answers: Iterator[tuple[int, str]] = iter(answers)
        self.loads: list[tuple[int, int, bytes]] = []  # flags, ifindex, instructions

    def verified(self, number: int, insns: bytes, opts: LoadOpts) -> tuple[int, str]:
        self.loads.append((opts.prog_flags, opts.prog_ifindex, insns))
        return next(self.answers)

    def map_create(self, *arguments: int) -> int:
        return 9


class Asking:
    """Asks this kernel, with the same options each time."""

    def __init__(self, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(census, "KernelBtf", lambda libbpf: FakeBtf())
        self._prober, self._opts = Prober(kernel, ""), LoadOpts()  # type: ignore[arg-type]

    def ask(self) -> dict[str, object]:
        return self._prober.answer(KFUNC, 6, self._opts)


KFUNC = Kfunc("bpf_x", "vmlinux", NO_BTF, 7, 0)
METADATA = "metadata kfuncs require device-bound program\n"


def test_asked_again_as_a_device_bound_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "devices", lambda: [("dummy0", 2), ("eth0", 3), ("eth1", 4)])
    kernel = Kernel((22, METADATA), (95, ""), (13, "Possibly NULL pointer"))
    answer = Asking(kernel, monkeypatch).ask()
    assert [(flags, index) for flags, index, _ in kernel.loads] == [(0, 0), (64, 2), (64, 3)]
    assert (answer["load_errno"], answer["log"]) == (22, METADATA)
    assert (answer["again"], answer["again_errno"], answer["again_log"]) == (
        "bound to eth0",
        13,
        "Possibly NULL pointer",
    )


def test_without_a_device_there_is_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "devices", list)
    answer = Asking(Kernel((22, METADATA)), monkeypatch).ask()
    assert "again" not in answer


def test_asked_again_with_an_arena(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel((22, "R1 arena pointer requires a program with an associated arena\n"), (13, REFUSED))
    answer = Asking(kernel, monkeypatch).ask()
    assert (answer["again"], answer["again_errno"], answer["again_log"]) == ("with an arena", 13, REFUSED)
    assert kernel.loads[1][2] == instruction(0x18, 0, 1, 0, 9) + bytes(8) + program(KFUNC)


def test_every_program_type_of_the_host_is_known() -> None:
    assert set(PROG_TYPES) == {str(prog_type) for prog_type in ProgType}
    assert len({it.number for it in PROG_TYPES.values()}) == len(PROG_TYPES)


def test_the_next_load_is_bound_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "devices", lambda: [("dummy0", 2)])
    kernel = Kernel((22, METADATA), (13, ""), (13, ""))
    asking = Asking(kernel, monkeypatch)
    for _ in range(2):
        asking.ask()
    assert [(flags, index) for flags, index, _ in kernel.loads] == [(0, 0), (64, 2), (0, 0)]
