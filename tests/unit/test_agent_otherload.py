# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A program is loaded as another type: what the kernel says of the type is not what it says of the program."""

from __future__ import annotations

import ctypes
import errno

import pytest

from runner.agent.btf import BtfError
from runner.agent.claimobject import Object
from runner.agent.libbpf import LibbpfError
from runner.agent.programs import Relocated
from runner.agent.structs import RETURN, LoadOpts
from tests.unit.test_agent_btf import blob

INSNS = b"calls..."
REFUSED = "calling kernel function bpf_skb_ct_alloc is not allowed"


class FakeKernel:
    """`types` are those that it has; it takes no program but the one that calls nothing. Its libbpf knows no map."""

    def __init__(self, *types: int) -> None:
        self._types = types
        self.c = self
        self._btf = ctypes.create_string_buffer(blob(b"", b"\0"))

    def bpf_object__btf(self, _: object) -> int:
        return 1

    def btf__raw_data(self, _: object, size: ctypes._Pointer[ctypes.c_uint32]) -> int:
        ctypes.cast(size, ctypes.POINTER(ctypes.c_uint32))[0] = len(self._btf)
        return ctypes.addressof(self._btf)

    def btf__type_cnt(self, _: object) -> int:
        return 1

    def btf__type_by_id(self, *_: object) -> None:
        return None

    def btf__find_by_name_kind(self, *_: object) -> int:
        return -errno.ENOENT

    def bpf_object__find_map_by_name(self, *_: object) -> None:
        return None

    def take_words(self) -> str:
        return ""

    def prog_load(
        self, prog_type: int, insns: bytes, opts: LoadOpts, license_: str = "GPL", *, logged: bool
    ) -> tuple[int, int, str]:
        return (-1, errno.EACCES, REFUSED) if prog_type in self._types else (-1, errno.EINVAL, "")

    def unloadable(self, prog_type: int, opts: LoadOpts) -> str:
        return "" if prog_type in self._types else "a program that calls nothing does not load: -EINVAL"


def program(kernel: FakeKernel, name: str = "tc_alloc") -> Object:
    made = Object(kernel, ctypes.c_void_p(1), "x")  # type: ignore[arg-type]
    made.ready({name: Relocated(INSNS, LoadOpts())})
    return made


def test_a_refusal_is_the_kernels_word_about_the_program() -> None:
    assert program(FakeKernel(2)).load_other("tc_alloc", "kprobe", "GPL") == (errno.EACCES, REFUSED)


def test_a_kernel_without_the_type_has_not_looked_at_the_program() -> None:
    with pytest.raises(LibbpfError, match="as KPROBE: a program that calls nothing does not load: -EINVAL"):
        program(FakeKernel(3)).load_other("tc_alloc", "kprobe", "GPL")


@pytest.mark.parametrize(("name", "taken"), [("tc_drop", 3), ("xdp_drop", 6)])
def test_a_program_of_any_type_is_loaded_as_the_one_that_is_asked_about(name: str, taken: int) -> None:
    made = program(FakeKernel(taken), "any_drop")
    assert made.load(name) == (-1, errno.EACCES, REFUSED)
    with pytest.raises(BtfError, match="no program 'tc_other'"):
        made.load("tc_other")


def test_the_smallest_program_calls_nothing() -> None:
    assert len(RETURN) == 16
