# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The layout of structures that kfuncs take, from BTF made here by hand: half of it in vmlinux, half in a module."""

from __future__ import annotations

import contextlib
import faulthandler
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.agent.btf import ARRAY, DECL_TAG, ENUM, FUNC, FUNC_PROTO, INT, PTR, STRUCT, TYPEDEF, UNION, BtfError
from runner.agent.kernelbtf import KernelBtf, shared
from runner.agent.libbpf import Libbpf, LibbpfError
from runner.probes.census.answers import CensusObservation
from tests.unit.test_agent_btf import record
from tests.unit.test_agent_kernelbtf import WHOLE, blob

_BASE = b"\0int\0u8\0bpf_big\0bpf_kfunc\0unsigned char\0elsewhere_opts\0"
_OWN = b"\0bpf_ct_opts\0id\0error\0reserved\0raw\0low\0high\0opts\0bpf_mod\0NF_BPF_CT_OPTS_SZ\0other\0bpf_mod2\0big\0"


def base(text: str) -> int:
    return _BASE.index(b"\0" + text.encode() + b"\0") + 1


def own(text: str) -> int:
    return len(_BASE) + _OWN.index(b"\0" + text.encode() + b"\0") + 1


_VMLINUX = blob(
    record(base("int"), INT, 0, 4, 1 << 24 | 32)  # 1
    + record(base("unsigned char"), INT, 0, 1, 8)  # 2
    + record(base("u8"), TYPEDEF, 0, 2)  # 3
    + record(base("bpf_big"), STRUCT, 1, 4096, base("int"), 1, 0),  # 4
    _BASE,
)


def module(ending: bytes = b"") -> bytes:
    types = (
        record(0, ARRAY, 0, 0, 3, 1, 3)  # 5: u8[3]
        + record(0, UNION, 1, 4, own("raw"), 1, 0)  # 6
        # 7: a bit field has its width in the offset's upper byte
        + record(
            own("bpf_ct_opts"), STRUCT, 5, 16,
            own("id"), 1, 0,
            own("reserved"), 5, 32,
            0, 6, 64,
            own("low"), 1, 3 << 24 | 96,
            own("high"), 1, 5 << 24 | 99,
            flag=1,
        )
        + record(0, PTR, 0, 7)  # 8
        + record(0, PTR, 0, 4)  # 9
        + record(0, ENUM, 2, 4, own("other"), 1, own("NF_BPF_CT_OPTS_SZ"), 16)  # 10
        + record(0, FUNC_PROTO, 2, 1, own("opts"), 8, own("big"), 9)  # 11
        + record(own("bpf_mod"), FUNC, 1, 11)  # 12
        + record(base("bpf_kfunc"), DECL_TAG, 0, 12, WHOLE)  # 13
    )  # fmt: skip
    return blob(types + ending, _OWN)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KernelBtf:
    libbpf = Libbpf()
    (tmp_path / "vmlinux").write_bytes(_VMLINUX)
    (tmp_path / "mod").write_bytes(module())
    monkeypatch.setattr(libbpf, "kernel_btf_fds", lambda: {"vmlinux": 3, "mod": 4})
    return KernelBtf(libbpf, str(tmp_path))


def test_members_sizes_and_the_constant_of_the_size(kernel: KernelBtf) -> None:
    found = kernel.kfuncs(frozenset())["bpf_mod"]
    seen = CensusObservation.model_validate({"kfunc": "bpf_mod", "prog_type": "tc", "layouts": found.layouts})
    (layout,) = seen.layouts  # and not of bpf_big, whose 4096 bytes are the kernel's own business
    assert (layout.name, layout.size) == ("bpf_ct_opts", 16)
    assert [(it.name, it.type, it.offset, it.size, it.bits) for it in layout.members] == [
        ("id", "int", 0, 4, 0),
        ("reserved", "u8[3]", 4, 3, 0),
        ("", "union {...}", 8, 4, 0),
        ("low", "int", 12, 4, 3),
        ("high", "int", 12, 4, 5),
    ]
    assert [(it.name, it.value) for it in layout.constants] == [("NF_BPF_CT_OPTS_SZ", 16)]


@pytest.mark.parametrize(
    ("prototype", "names"),
    [
        ("struct nf_conn *f(struct xdp_md *c, struct bpf_sock_tuple *b, struct bpf_ct_opts *o)",
         {"bpf_sock_tuple", "bpf_ct_opts"}),
        ("int f(const struct bpf_dynptr *p, struct hid_opts *o)", {"bpf_dynptr", "hid_opts"}),
        ("struct", set()),
        ("", set()),
    ],
)  # fmt: skip
def test_which_structures_programs_share(prototype: str, names: set[str]) -> None:
    assert shared(prototype) == names


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(place=st.integers(24, len(module()) - 1), value=st.integers(0, 255))
def test_damaged_layouts_raise_nothing_else(tmp_path: Path, kernel: KernelBtf, place: int, value: int) -> None:
    """A kernel under test may hand out anything: a layout may be lost or wrong, the agent may not."""
    faulthandler.disable()  # what libbpf does with it in a child is not to be told
    damaged = bytearray(module())
    damaged[place] = value
    (tmp_path / "mod").write_bytes(damaged)
    with contextlib.suppress(BtfError, LibbpfError):
        for found in kernel.kfuncs(frozenset({"bpf_mod"})).values():
            CensusObservation.model_validate({"kfunc": "x", "prog_type": "tc", "layouts": found.layouts})
