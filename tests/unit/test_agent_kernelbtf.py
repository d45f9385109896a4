# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Finding kfuncs in BTF, with the host's libbpf, on BTF made here by hand: a vmlinux and a module on top of it."""

from __future__ import annotations

import contextlib
import faulthandler
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.agent.btf import DECL_TAG, FUNC, FUNC_PROTO, INT, PTR, STRUCT, Btf, BtfError
from runner.agent.kernelbtf import KernelBtf
from runner.agent.libbpf import Libbpf, LibbpfError
from tests.unit.test_agent_btf import record

BASE = b"\0int\0sk_buff\0skb\0bpf_one\0bpf_kfunc\0bpf_fastcall\0bpf_plain\0elsewhere\0value\0"
OWN = b"\0bpf_mod\0m\0"
WHOLE = 0xFFFFFFFF  # component_idx: the tag is of the function itself, not of a parameter


def at(text: str, strings: bytes = BASE) -> int:
    return strings.index(b"\0" + text.encode() + b"\0") + 1


def own(text: str) -> int:
    return len(BASE) + at(text, OWN)


def blob(types: bytes, strings: bytes) -> bytes:
    return struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


VMLINUX = blob(
    b"".join(
        (
            record(at("int"), INT, 0, 4, 1 << 24 | 32),  # 1
            record(at("sk_buff"), STRUCT, 1, 4, at("value"), 1, 0),  # 2
            record(0, PTR, 0, 2),  # 3
            record(0, FUNC_PROTO, 2, 1, at("skb"), 3, at("value"), 1),  # 4: int (struct sk_buff *skb, int value)
            record(at("bpf_one"), FUNC, 1, 4),  # 5
            record(at("bpf_kfunc"), DECL_TAG, 0, 5, WHOLE),  # 6
            record(at("bpf_fastcall"), DECL_TAG, 0, 5, WHOLE),  # 7
            record(at("bpf_plain"), FUNC, 0, 4),  # 8: static, without a tag
        )
    ),
    BASE,
)
MODULE = blob(
    b"".join(
        (
            record(0, FUNC_PROTO, 1, 0, own("m"), 3),  # 9: void (struct sk_buff *m)
            record(own("bpf_mod"), FUNC, 1, 9),  # 10
            record(at("bpf_kfunc"), DECL_TAG, 0, 10, WHOLE),  # 11
            record(at("elsewhere"), FUNC, 1, 9),  # 12: its name is one of vmlinux' strings
        )
    ),
    OWN,
)


@pytest.fixture(scope="module")
def libbpf() -> Libbpf:
    return Libbpf()


@pytest.fixture
def folder(tmp_path: Path, libbpf: Libbpf, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "vmlinux").write_bytes(VMLINUX)
    (tmp_path / "mod").write_bytes(MODULE)
    monkeypatch.setattr(libbpf, "kernel_btf_fds", lambda: {"vmlinux": 3, "mod": 4})
    return tmp_path


def test_tagged_functions_and_named_ones(libbpf: Libbpf, folder: Path) -> None:
    found = KernelBtf(libbpf, str(folder)).kfuncs(frozenset({"bpf_plain", "elsewhere", "bpf_gone", "sk_buff"}))
    assert {name: (it.object, it.btf_id, it.fd, it.tags) for name, it in found.items()} == {
        "bpf_one": ("vmlinux", 5, 0, ("bpf_kfunc", "bpf_fastcall")),
        "bpf_plain": ("vmlinux", 8, 0, ()),
        "bpf_mod": ("mod", 10, 4, ("bpf_kfunc",)),
        "elsewhere": ("mod", 12, 4, ()),
    }


def test_prototypes(libbpf: Libbpf, folder: Path) -> None:
    found = KernelBtf(libbpf, str(folder)).kfuncs(frozenset({"bpf_plain"}))
    assert found["bpf_one"].prototype == "int bpf_one(struct sk_buff *skb, int value)"
    assert found["bpf_plain"].prototype == "int bpf_plain(struct sk_buff *skb, int value)"
    assert found["bpf_mod"].prototype == "void bpf_mod(struct sk_buff *m)"


def test_structures_and_strings(libbpf: Libbpf, folder: Path) -> None:
    vmlinux = KernelBtf(libbpf, str(folder)).vmlinux
    assert vmlinux.find("sk_buff", STRUCT) == 2
    assert vmlinux.find("bpf_one", STRUCT) is vmlinux.find("sk_buff", FUNC) is None
    assert vmlinux.offsets("bpf_fastcall")
    assert not vmlinux.offsets("fastcall")


def test_a_tag_of_something_else_is_no_kfunc(libbpf: Libbpf, tmp_path: Path) -> None:
    types = record(at("int"), INT, 0, 4, 1 << 24 | 32) + record(at("bpf_kfunc"), DECL_TAG, 0, 1, WHOLE)
    (tmp_path / "vmlinux").write_bytes(blob(types, BASE))
    with contextlib.suppress(LibbpfError):  # newer ones look closer, and do not take it
        assert Btf.of_file(libbpf, str(tmp_path / "vmlinux")).tagged("bpf_kfunc") == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(place=st.integers(0, len(VMLINUX) - 1), value=st.integers(0, 255), cut=st.integers(0, len(VMLINUX)))
def test_damaged_btf_raises_nothing_else(libbpf: Libbpf, folder: Path, place: int, value: int, cut: int) -> None:
    """A kernel under test may hand out anything. Names may be lost, the agent may not."""
    faulthandler.disable()  # what libbpf does with it in a child is not to be told
    damaged = bytearray(VMLINUX)
    damaged[place] = value
    (folder / "vmlinux").write_bytes(damaged if cut % 3 else damaged[:cut])
    try:
        found = KernelBtf(libbpf, str(folder)).kfuncs(frozenset({"bpf_plain"}))
    except (BtfError, LibbpfError):
        return
    assert {kfunc.object for kfunc in found.values()} <= {"vmlinux", "mod"}
