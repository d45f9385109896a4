# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The agent's view of the real BPF object: opened by the host's libbpf, never loaded."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.agent.btf import BtfError
from runner.agent.claimobject import Object, Slot, number, store
from runner.agent.libbpf import Libbpf
from runner.agent.traffic import FIELDS
from runner.model.deadline import Deadline
from runner.probes import compile_objects
from tests.samples import ROOT
from tests.unit.agent_samples import claims


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Object]:
    folder = tmp_path_factory.mktemp("objects")
    deadline = Deadline.after(120, "the test's limit")
    names = [name for file in claims() for name in file.objects]
    objects = compile_objects(ROOT, names, ["little"], folder, deadline=deadline)["little"]
    libbpf = Libbpf()
    found = {}
    for name in names:
        path = folder / f"{name}.bpf.o"
        path.write_bytes(objects[path.name])
        found[name] = Object(libbpf, ctypes.c_void_p(libbpf.c.bpf_object__open_file(bytes(path), None)), str(path))
    return found


@pytest.fixture(scope="module")
def opened(objects: dict[str, Object]) -> Object:
    return objects["conntrack"]


def test_every_claim_names_what_the_object_has(objects: dict[str, Object]) -> None:
    constants, inputs, results = set(), set(), set()
    for file, claim in ((of, claim) for of in claims() for claim in of.claims):
        name = claim.object or file.object
        constants |= {(name, path) for path in claim.constants}
        inputs |= {(name, path) for path in claim.inputs}
        answers = (claim.answer, *(entry.answer for entry in claim.expect))
        fields = {field for answer in answers for field in answer.fields}
        results |= {(name, f"result.{field}") for field in fields - (set(FIELDS) if claim.flow else set())}
    for wanted, sections in ((constants, {".rodata"}), (inputs, {".data", ".bss"}), (results, {".bss"})):
        assert wanted
        assert not [path for name, path in wanted if objects[name].slot(path)[0] not in sections]


def test_every_claim_names_a_program() -> None:
    files = claims()
    assert files
    for file in files:
        source = "".join(path.read_text() for path in (ROOT / "bpf").glob(f"{file.object}_*.h"))
        programs = set(re.findall(r"^SECTION int T\((\w+)\)", source, re.MULTILINE))
        assert {claim.program for claim in file.claims if not claim.object} == programs


def test_what_is_seen_of_a_flow_is_not_what_the_program_saw(objects: dict[str, Object]) -> None:
    assert FIELDS
    for field in FIELDS:
        with pytest.raises(BtfError):
            objects["traffic"].slot(f"result.{field}")


def test_unknown_names_are_refused(opened: Object) -> None:
    with pytest.raises(BtfError, match="no global 'nothing'"):
        opened.slot("nothing")
    with pytest.raises(BtfError, match="no member 'nothing'"):
        opened.slot("opts.nothing")
    with pytest.raises(BtfError, match="'flow' is not a constant"):
        opened.set_constants([("flow", 1)])
    with pytest.raises(BtfError, match="no program 'tc_nothing'"):
        opened.load("tc_nothing")


def test_only_what_is_asked_about_is_made_ready(opened: Object) -> None:
    c = opened._libbpf.c
    opened.leave_out_all_but({"tc_alloc", "xdp_lookup"})
    found, left = ctypes.c_void_p(None), set()
    while (found := ctypes.c_void_p(c.bpf_object__next_program(opened.handle, found))).value:
        left |= {c.bpf_program__name(found).decode()} if c.bpf_program__autoload(found) else set()
    assert left == {"tc_alloc", "xdp_lookup"}


def test_the_kfunc_of_an_unresolved_call_is_named(opened: Object) -> None:
    """By its place among the object's kfuncs, which libbpf puts into the call."""
    kfuncs = claims()[0].kfunc_names
    log = "12: (85) call unknown#{0}\ninvalid func unknown#{0}\nprocessed 9 insns\n"
    found = [opened.unresolved(log.format(2002000000 + at)) for at in range(len(kfuncs) + 1)]
    assert found == [*kfuncs, ""]
    assert [opened.unresolved(log.format(195896080)), opened.unresolved("R1 bad\n")] == ["", ""]


def test_reserved_bytes_are_where_the_kernel_has_them(opened: Object) -> None:
    """The layout of struct bpf_ct_opts is ABI: bytes 13 to 15 are reserved since v6.11."""
    start = opened.slot("opts.netns_id")[1].offset
    assert [opened.slot(f"opts.reserved.{n}")[1].offset - start for n in range(3)] == [13, 14, 15]
    assert opened.slot("opts.ct_zone_id")[1].offset - start == 10


@given(st.sampled_from([1, 2, 4, 8]), st.data())
def test_numbers_come_back(size: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(-(1 << 8 * size - 1), (1 << 8 * size) - 1))
    signed = data.draw(st.booleans()) if value < 1 << 8 * size - 1 else False
    content = bytearray(b"\xaa" * 16)
    slot = Slot(3, size, signed)
    store(content, "x", slot, value)
    assert number(content, slot) == (value if signed else value % (1 << 8 * size))
    assert content[:3] == b"\xaa" * 3
    assert content[3 + size :] == b"\xaa" * (13 - size)


@pytest.mark.parametrize("value", [256, -129])
def test_numbers_that_do_not_fit(value: int) -> None:
    with pytest.raises(BtfError, match="does not fit"):
        store(bytearray(1), "opts.dir", Slot(0, 1, False), value)


def test_the_agent_imports_little() -> None:
    """Each of these costs the guest 50 ms or more under emulation."""
    ours = ", ".join(f"agent.{name}" for name in ("__main__", "claims", "census", "traffic"))
    code = f"import sys; sys.path.append('.'); import {ours}; print(*sys.modules)"
    argv = [sys.executable, "-P", "-S", "-E", "-c", code]
    done = subprocess.run(argv, cwd=ROOT / "runner", check=True, capture_output=True, text=True)
    imported = set(done.stdout.split())
    assert {"agent.libbpf", "agent.kernelbtf", "agent.claims", "_json"} <= imported
    dear = {"collections", "contextlib", "enum", "functools", "json", "re", "runpy", "site", "socket", "typing"}
    assert not imported & dear
