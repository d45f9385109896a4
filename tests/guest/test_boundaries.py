# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Calls at the edge, in a real guest: what brings a kernel down is found without a hint, and the rest survives."""

from __future__ import annotations

from tests.guest.conftest import Project, exported
from tests.integration.test_object_files import build

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
