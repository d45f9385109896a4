# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The agent's reader of BTF, with the host's libbpf, on BTF made here by hand."""

from __future__ import annotations

import faulthandler
import os
import signal
import struct
from tempfile import NamedTemporaryFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.agent.btf import ARRAY, DATASEC, FUNC, FUNC_PROTO, INT, PTR, STRUCT, TYPE_TAG, VAR, Btf, BtfError, sections
from runner.agent.claimobject import slot_of
from runner.agent.libbpf import Libbpf, LibbpfError
from runner.agent.programs import PREFIX, tagged_btf
from tests.samples import ROOT

LIBBPF = Libbpf()
STRINGS = b"\0int\0netns_id\0opts\0.data\0f\0u\0values\0flags\0"


def name(text: str) -> int:
    return STRINGS.index(b"\0" + text.encode() + b"\0") + 1


def record(name_off: int, kind: int, vlen: int, size: int, *rest: int, flag: int = 0) -> bytes:
    return struct.pack(f"={3 + len(rest)}I", name_off, flag << 31 | kind << 24 | vlen, size, *rest)


TYPES = b"".join(
    (
        record(name("int"), INT, 0, 4, 1 << 24 | 32),  # 1: signed
        record(name("u"), INT, 0, 1, 8),  # 2
        record(0, ARRAY, 0, 0, 2, 1, 3),  # 3: u[3]
        record(0, STRUCT, 1, 4, name("values"), 3, 0),  # 4: unnamed struct { u values[3]; }
        record(name("opts"), STRUCT, 3, 12, name("netns_id"), 1, 32, 0, 4, 64, name("flags"), 1, 3 << 24, flag=1),  # 5
        record(name("opts"), VAR, 0, 5, 1),  # 6
        record(name(".data"), DATASEC, 1, 40, 6, 16, 12),  # 7
        record(0, FUNC_PROTO, 0, 0),  # 8
        record(name("f"), FUNC, 1, 8),  # 9
    )
)


def blob(types: bytes = TYPES, strings: bytes = STRINGS) -> bytes:
    return struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


def parsed(raw: bytes, base: Btf | None = None) -> Btf:
    with NamedTemporaryFile() as file:
        file.write(raw)
        file.flush()
        return Btf.of_file(LIBBPF, file.name, base)


def test_variables_and_members() -> None:
    btf = parsed(blob())
    assert btf.variables(".data") == {"opts": (16, 5)}
    assert btf.variables(".bss") == {}
    assert btf.fields(5) == {"netns_id": (4, 1), "values": (8, 3)}, "bit fields are left out, unnamed structs opened"


def test_slots() -> None:
    btf = parsed(blob())
    signed = slot_of(btf, 16, 5, ["netns_id"])
    assert (signed.offset, signed.size, signed.signed) == (20, 4, True)
    element = slot_of(btf, 16, 5, ["values", "2"])
    assert (element.offset, element.size, element.signed) == (26, 1, False)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (["netns"], "no member 'netns'; there are: netns_id, values"),
        (["values", "3"], "not an index below 3"),
        (["values", "x"], "not an index"),
        (["values"], "not a number"),
        ([], "not a number"),
    ],
)
def test_no_such_slot(path: list[str], words: str) -> None:
    with pytest.raises(BtfError, match=words):
        slot_of(parsed(blob()), 0, 5, path)


def test_split_btf_continues_its_base() -> None:
    own = b"\0bpf_ct_release\0"
    types = record(len(STRINGS) + 1, FUNC, 1, 8) + record(name("f"), FUNC, 1, 8)
    base = parsed(blob())
    btf = parsed(blob(types, own), base)
    assert (btf.find("bpf_ct_release", FUNC), btf.name(10)) == (10, "bpf_ct_release")
    assert (btf.name(6), btf.holder(6), btf.holder(10)) == ("opts", base, btf)
    assert btf.find("opts", STRUCT) is None, "it is the base's"
    assert (btf.kind(0), btf.name(0), btf.plain(0)) == (0, "", 0), "void"
    with pytest.raises(BtfError, match="no type 12 here"):
        btf.kind(12)


def test_another_byte_order_is_said() -> None:
    swapped = bytes(reversed(blob()[:2])) + blob()[2:]
    with pytest.raises(BtfError, match="another byte order"):
        sections(swapped)


@given(st.integers(min_value=0, max_value=len(blob()) - 1))
def test_cut_anywhere_is_an_error(length: int) -> None:
    with pytest.raises(BtfError):
        sections(blob()[:length])


@given(st.binary(max_size=200))
def test_garbage_types_never_raise_anything_else(types: bytes) -> None:
    """In a child: libbpf 1.1 reads behind the end of some, and dies of it."""
    child = os.fork()
    if not child:
        faulthandler.disable()
        try:
            btf = parsed(blob(types))
            for type_id in range(len(types)):
                list(btf.members(type_id))
        except (BtfError, LibbpfError):
            os._exit(0)
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in {0, -signal.SIGSEGV}


@pytest.mark.parametrize("tag", ["kptr", "kptr_ref", "kptr_untrusted"])
def test_the_btf_of_a_tagged_map_is_what_the_kernel_looks_for(tag: str) -> None:
    """It wants the pointer, its tag and the structure in this order."""
    found = Btf(LIBBPF, tagged_btf(LIBBPF, tag))
    assert [found.kind(type_id) for type_id in range(1, 6)] == [INT, STRUCT, TYPE_TAG, PTR, STRUCT]
    assert found.fields(5) == {"entry": (0, 4)}
    assert (found.target(4), found.target(3)) == (3, 2)
    assert (found.name(3), found.name(2)) == (tag, "nf_conn")
    assert f"TAGGED({PREFIX}{tag})" in (ROOT / "bpf" / "conntrack_kptr.bpf.c").read_text()
