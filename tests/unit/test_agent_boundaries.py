# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Calls at the edge, derived from BTF made here by hand; the verifier behind them is made up."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from runner.agent.boundaries import _end
from runner.agent.btf import DECL_TAG, FUNC, FUNC_PROTO, INT, PTR, STRUCT
from runner.agent.calls import AREA, VALUE, Assembler
from runner.agent.derive import Call, Calls
from runner.agent.kernelbtf import KernelBtf
from runner.agent.libbpf import Libbpf
from tests.unit.test_agent_btf import record
from tests.unit.test_agent_kernelbtf import WHOLE, blob

WORDS = ("int", "__sk_buff", "bpf_x_opts", "thing", "id", "proto", "skb", "opts", "opts__sz", "t", "flags")
KFUNCS = ("x_get", "x_put", "x_set", "x_list", "x_find", "bpf_list_head")
STRINGS = b"\0" + b"\0".join(word.encode() for word in (*WORDS, *KFUNCS, "bpf_kfunc")) + b"\0"
JUMP, CALL, WIDE, EXIT = 0x15, 0x85, 0x18, 0x95


def at(text: str) -> int:
    return STRINGS.index(b"\0" + text.encode() + b"\0") + 1


def functions() -> Iterator[bytes]:
    protos = {"x_get": 9, "x_put": 10, "x_set": 11, "x_list": 12, "x_find": 13}
    for number, (name, proto) in enumerate(protos.items()):
        yield record(at(name), FUNC, 1, proto)
        yield record(at("bpf_kfunc"), DECL_TAG, 0, 16 + 2 * number, WHOLE)


TYPES = b"".join(
    (
        record(at("int"), INT, 0, 4, 1 << 24 | 32),  # 1
        record(at("__sk_buff"), STRUCT, 0, 4),  # 2
        record(0, PTR, 0, 2),  # 3
        record(at("bpf_x_opts"), STRUCT, 2, 8, at("id"), 1, 0, at("proto"), 1, 32),  # 4
        record(0, PTR, 0, 4),  # 5
        record(at("thing"), STRUCT, 0, 4096),  # 6
        record(0, PTR, 0, 6),  # 7
        record(at("bpf_list_head"), STRUCT, 0, 16),  # 8
        record(0, FUNC_PROTO, 3, 7, at("skb"), 3, at("opts"), 5, at("opts__sz"), 1),  # 9: x_get
        record(0, FUNC_PROTO, 1, 0, at("t"), 7),  # 10: x_put
        record(0, FUNC_PROTO, 2, 1, at("t"), 7, at("flags"), 1),  # 11: x_set
        record(0, FUNC_PROTO, 1, 1, at("t"), 14),  # 12: x_list
        record(0, FUNC_PROTO, 1, 7, at("t"), 7),  # 13: x_find
        record(0, PTR, 0, 8),  # 14
        record(0, PTR, 0, 1),  # 15
        *functions(),
    )
)


def decoded(insns: bytes) -> list[tuple[int, int, int]]:
    """Code, offset and immediate of each instruction."""
    return [(code, off, imm) for code, _, off, imm in struct.iter_unpack("=BBhi", insns)]


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Calls]:
    """Of these kfuncs, with a verifier that answers `refused` (errno, log) to all programs."""
    libbpf = Libbpf()
    (tmp_path / "vmlinux").write_bytes(blob(TYPES, STRINGS))
    monkeypatch.setattr(libbpf, "kernel_btf_fds", lambda: {"vmlinux": 3})
    kfuncs = KernelBtf(libbpf, str(tmp_path)).kfuncs(frozenset())
    return lambda refused=(0, ""): Calls(kfuncs, lambda _: refused)


def right(found: Calls, name: str) -> Call:
    call = found.right(name)
    assert isinstance(call, Call), call
    return call


def edges(found: Calls, name: str) -> list[Call]:
    return [right(found, name), *(call for _, call in found.edges(right(found, name)))]


def assembled(call: Call) -> list[tuple[int, int, int]]:
    """The function's place among KFUNCS stands for its BTF id."""
    assert call.program, call.why
    return decoded(Assembler(lambda name: (0, KFUNCS.index(name)), (5, 6)).program(call.program))


def test_a_size_belongs_to_its_pointer_and_stands_at_each_edge(calls: Callable[..., Calls]) -> None:
    found = edges(calls(), "x_get")
    labels = [call.label for call in found]
    assert labels[0] == "right"
    for edge in ("skb NULL", "opts NULL, size 8", "opts NULL, size 0", "opts of 7 bytes", "opts of 9 bytes"):
        assert edge in labels
    assert len(labels) == len(set(labels))
    sizes = {imm for call in found for _, _, imm in assembled(call)}
    assert {0, 1, 4, 7, 9, -1, 0x7FFFFFFF, VALUE} <= sizes


def test_programs_are_whole(calls: Callable[..., Calls]) -> None:
    found = calls()
    programs = [call for name in ("x_get", "x_set", "x_put", "x_find") for call in edges(found, name)]
    assert len(programs) > 40
    for code in map(assembled, programs):
        assert code[-1][0] == EXIT
        jumps = [number + 1 + off for number, (word, off, _) in enumerate(code) if word == JUMP]
        halves = {number + 1 for number, (word, _, _) in enumerate(code) if word == WIDE}
        assert all(0 < target < len(code) and target not in halves for target in jumps)


def test_an_object_comes_from_the_kfunc_that_returns_it_and_is_given_back(calls: Callable[..., Calls]) -> None:
    found = calls()
    called = [imm for word, _, imm in assembled(right(found, "x_set")) if word == CALL]
    places = [called.index(KFUNCS.index(name)) for name in ("x_get", "x_set", "x_put")]
    assert places == sorted(places)
    labels = [each.label for each in edges(found, "x_set")]
    assert {"t x_get's, released before", "t x_get's, not released", "t the running task", "flags -1"} <= {*labels}


def test_what_a_program_has_to_define_itself_is_said(calls: Callable[..., Calls]) -> None:
    assert calls().right("x_list") == "t is of a type that the program itself has to define"
    assert calls((22, "no")).right("x_get") == "no"


def test_what_no_program_of_the_type_may_call_is_tried_once(calls: Callable[..., Calls]) -> None:
    found, tried = calls(), []

    def forbid(program: Mapping[str, object]) -> tuple[int, str]:
        tried.append(str(program))
        return 13, "calling kernel function x_find is not allowed"

    found._load = forbid
    found.right("x_find")
    assert sum("x_find" in text for text in tried) == 1


def test_two_edges_are_tried_where_one_alone_is_refused(calls: Callable[..., Calls]) -> None:
    found = calls()
    call = right(found, "x_get")
    first = next(edge for edge, made in found.edges(call) if made.label == "skb NULL")
    pairs, count = found.pairs(call, {first})
    assert len(pairs) == count > 1
    assert all(each.label.startswith("skb NULL, opts ") for each in pairs)
    assert found.pairs(call, set()) == ([], 0)


def test_buffers_do_not_share_memory(calls: Callable[..., Calls]) -> None:
    program = right(calls(), "x_set").program
    assert program
    assert program["areas"] == [[8, "x_get opts"]]
    assert AREA in {imm for _, _, imm in assembled(right(calls(), "x_set"))}


def test_of_a_log_the_reason_is_kept_and_not_the_explanation_behind_it() -> None:
    reason = "calling kernel function bpf_x is not allowed"
    assert _end(f"0: R1=ctx()\n{reason}\n\nVerification failed: Policy\n{'Suggestion: ...' * 99}").endswith(reason)
    assert _end("no call was tried") == "no call was tried"
