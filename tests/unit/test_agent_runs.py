# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Runs of calls at the edge, by a kernel that is made up: what it does to its memory, its slabs and its caller."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from sys import byteorder
from typing import Any

import pytest

from runner.agent import runs as module
from runner.agent.calls import AREA, VALUE
from runner.agent.runs import Runs

PROGRAM: dict[str, Any] = {
    "areas": [[8, "x_get opts"], [8, "x_need opts"]],
    "slots": [8],
    "body": [["call", "x_get", [["area", 0]], 0], ["note", 0]],
}
CALLS = [("x_get", PROGRAM)]


class Kernel:
    """Stands for libbpf and for the sweep. `does` is told the map's value, and changes it."""

    def __init__(self, does: Callable[[bytearray], None]) -> None:
        self.does, self.c, self.map = does, self, 3
        self.value = bytearray(VALUE)

    def bpf_map_update_elem(self, fd: int, key: bytes, value: bytes, flags: int) -> int:
        self.value = bytearray(value)
        return 0

    def bpf_map_lookup_elem(self, fd: int, key: bytes, buffer: Any) -> int:
        ctypes.memmove(buffer, bytes(self.value), VALUE)
        return 0

    def test_run(self, fd: int, packet: bytes, repeat: int, context: bytes) -> tuple[int, int]:
        for _ in range(repeat or 1):
            self.does(self.value)
        return 0, 0

    def load(self, program: object) -> int:
        return os.open(os.devnull, os.O_RDONLY)

    def right(self, name: str) -> dict[str, Any]:
        return {**PROGRAM, "areas": PROGRAM["areas"][1:]}

    def fields(self, name: str) -> list[tuple[str, int, int]]:
        return [("x_need opts", 0, 4), ("x_need opts", 4, 4)] if name == "x_need" else []

    def objects(self, program: object) -> list[tuple[int, str, str]]:
        return [(0, "x_get", "thing")]


def answer(does: Callable[[bytearray], None]) -> dict[str, Any]:
    kernel: Any = Kernel(does)
    return Runs(kernel, kernel)._run("x_get", PROGRAM)


def made(value: bytearray) -> None:
    value[8] = 1


def test_bytes_behind_the_memory_are_told_by_what_it_is_for() -> None:
    def writes(value: bytearray) -> None:
        made(value)
        value[AREA + 8 : AREA + 10] = b"\1\1"  # behind the 8 bytes of x_get
        value[2 * AREA] = 1  # what it was given

    assert answer(writes)["runs"]["zeros"] == {"ret": 0, "wrote": [["x_get opts", 0], ["x_get opts", 1]]}


def test_what_is_not_made_has_returned_nothing() -> None:
    found = answer(lambda _: None)
    assert found["runs"]["ones"] == {"ret": None, "wrote": []}


def test_memory_is_found_with_which_a_call_that_is_needed_returns_an_object() -> None:
    seen = []

    def needs(value: bytearray) -> None:
        made(value)
        for at in (AREA, 2 * AREA):
            if value[at : at + 8] == b"\xff\xff\xff\xff\6\0\0\0":
                seen.append(at)
                value[0] = 1

    found = answer(needs)
    assert found["contents"] == {"x_need opts": "ffffffff06000000"}
    assert 2 * AREA in seen, "the call itself is made with it"


def test_slabs_that_grow_with_each_call_and_do_not_shrink_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"leaked": 0, "lent": 0, "quiet": 7}
    monkeypatch.setattr(module, "_REST_S", 0.3)
    monkeypatch.setattr(module, "_STEP_S", 0.05)
    monkeypatch.setattr(module, "_slabs", lambda: [f"{name} {number} 9 9\n" for name, number in held.items()])

    def leaks(value: bytearray) -> None:
        made(value)
        held["leaked"] += 1
        held["lent"] += 1

    kernel: Any = Kernel(leaks)
    close = os.close

    def closes(fd: int) -> None:
        held["lent"] = 0
        close(fd)

    monkeypatch.setattr(module.os, "close", closes)  # type: ignore[attr-defined]
    assert Runs(kernel, kernel)._run("x_get", PROGRAM)["grew"] == {"leaked": 1024}


class Counters:
    """Stands for the kernel's: each call takes a reference of the object that it is given, and of the task."""

    def __init__(self) -> None:
        self.held = {"task": 1, "object": 1}

    def held_by(self, task: int) -> list[tuple[str, str, int]]:
        return [("task", "task_struct", task)]

    def lines(self, objects: Any) -> list[str]:
        return [f"refs:{name}.usage,{whose} {self.held.get(whose, 0)} \n" for whose, name, _ in objects]


def test_references_that_each_call_keeps_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REST_S", 0.0)
    monkeypatch.setattr(module, "_slabs", list)
    counters: Any = Counters()

    def takes(value: bytearray) -> None:
        made(value)
        value[16:24] = (0x1000).to_bytes(8, byteorder)
        counters.held["x_get's"] = counters.held.get("x_get's", 0) + 1

    kernel: Any = Kernel(takes)
    found = Runs(kernel, kernel, counters)._run("x_get", PROGRAM)
    assert found["grew"] == {"refs:thing.usage,x_get's": 1024}
    kernel.does = made  # no object: the place in the map is as it was
    assert Runs(kernel, kernel, counters)._run("x_get", PROGRAM)["grew"] == {}


def test_a_call_that_ends_its_caller_is_told_by_the_signal_and_the_next_one_is_run() -> None:
    def ends(value: bytearray) -> None:
        made(value)
        if value[AREA] == 0xFF:
            os.kill(os.getpid(), signal.SIGKILL)

    kernel: Any = Kernel(ends)
    runs = Runs(kernel, kernel)
    assert runs.run(CALLS, 0)["killed"] == signal.SIGKILL
    kernel.does = made
    said: Any = runs.run(CALLS, 0)
    assert said["runs"]["ones"]["ret"] == 0
    os.close(runs._to_child)
    assert os.waitpid(runs._child, 0)[1] == 0, "the child ends with its parent"
    runs._from_child.close()


@pytest.mark.parametrize(
    ("takes", "why"),
    [
        (("packet", "context", ""), ""),
        (("context", ""), ""),
        (("",), ""),
        ((), "the program was not run: ENOTSUPP"),
        (("nothing",), "a test run does not run it"),
    ],
)
def test_how_programs_of_a_type_can_be_run_is_found_out(takes: tuple[str, ...], why: str) -> None:
    kernel: Any = Kernel(made)

    def tried(fd: int, packet: bytes, repeat: int, context: bytes) -> tuple[int, int]:
        if takes == ("nothing",):
            return 0, 0
        runs = ("packet" if packet else "context" if context else "") in takes
        made(kernel.value) if runs else None
        return 0 if runs else 524, 0

    kernel.test_run = tried
    assert Runs(kernel, kernel).impossible() == why
