# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Calls at the edge, in real guests: what brings a kernel down is found without a hint, and the rest survives."""

from __future__ import annotations

import pytest

from tests.guest.conftest import Project, exported
from tests.integration.test_object_files import build
from tests.samples import ROOT

MATRIX = """\
kernels: [{debian: trixie, series: "6.12"}]
architectures: [x86_64]
probes: [{boundaries: [bpf_skb_set_xfrm_info, bpf_skb_ct_lookup, bpf_ct_release]}]
"""
NULL = "bpf_skb_set_xfrm_info from NULL"  # 6.12 reads it: net/xfrm/xfrm_interface_bpf.c


def test_a_call_that_brings_the_kernel_down_is_found_and_costs_no_other_one(project: Project) -> None:
    (project.root / "matrix.yaml").write_text(MATRIX)
    done = project.runner("matrix", "run")
    assert done.returncode == 1, done.stdout + done.stderr
    (cell,) = exported(project)["cells"]
    rows = {row["subject"]: row for row in cell["boundaries"] if row["type"] == "tc"}
    assert [subject for subject, row in rows.items() if row["state"] == "the kernel died"] == [NULL]
    assert "NULL pointer dereference" in rows[NULL]["cause"]
    assert rows["bpf_skb_ct_lookup right"]["state"] == "survived"
    assert rows["bpf_skb_ct_lookup opts of 8 bytes"]["state"] == "survived"
    assert rows["bpf_ct_release nfct NULL"]["state"] == "refused"
    assert not [subject for subject, row in rows.items() if row["state"] == "no answer"]

    build(rows[NULL]["program"], project.root / "null.bpf.o")
    done = project.runner("load", "null.bpf.o", "--kernel", "6.12", "--arch", "x86_64")
    assert done.returncode == 0, "the verifier accepts the program as C, too: " + done.stdout + done.stderr


# A perf event holds a reference of its task, its file one of the credentials, and a cgroup two of its parent.
HOLDS = """\
import ctypes, json, os
from agent.boundaries import Sweep
from agent.kernelbtf import KernelBtf
from agent.libbpf import Libbpf
from agent.references import references
from agent.runs import Runs
from agent.structs import PROG_TYPES

libbpf = Libbpf()
btf = KernelBtf(libbpf)
tc = PROG_TYPES["tc"]
counted = references(btf)
runs = Runs(libbpf, Sweep(libbpf, {}, tc.number, btf.load_opts(tc), {}), counted)
assert not runs.impossible()
objects = runs.held_by_task()

def counts():
    return {line.split()[0]: int(line.split()[1]) for line in counted.lines(objects)}

before = counts()
call = {"x86_64": 298, "aarch64": 241}[os.uname().machine]
attribute = (ctypes.c_uint32 * 32)(1, 128)  # software, its clock
for _ in range(64):
    assert ctypes.CDLL(None, use_errno=True).syscall(call, attribute, 0, -1, -1, 0) > 0, ctypes.get_errno()
mine = "/sys/fs/cgroup" + open("/proc/self/cgroup").read().split("::")[1].strip()
for number in range(64):
    os.mkdir(f"{mine}/{number}")
after = counts()
grew = {name: after[name] - before[name] for name in before}
print(json.dumps(grew))
assert {name for name, by in grew.items() if by >= 64} == {
    "refs:task_struct.usage.refs,the+running+task", "refs:cred.usage,its+real_cred",
    "refs:cgroup.self.refcnt,its+cgroups.dfl_cgrp", "refs:cgroup.bpf.refcnt,its+cgroups.dfl_cgrp",
}
"""


@pytest.mark.parametrize(("kernel", "arch"), [("6.12", "x86_64"), ("7.3", "arm64")])
def test_references_are_counted_where_the_kernel_counts_them(project: Project, kernel: str, arch: str) -> None:
    (project.root / "holds.py").write_text(HOLDS)
    copies = ("--copy", f"{ROOT / 'runner' / 'agent'}:agent", "--copy", "holds.py")
    done = project.runner("exec", "--kernel", kernel, "--arch", arch, *copies, "--", "python3", "holds.py")
    assert done.returncode == 0, done.stdout + done.stderr
