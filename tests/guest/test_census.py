# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The census of the newest kernel of the default matrix."""

from __future__ import annotations

from runner.probes.files import load_kfuncs
from tests.guest.conftest import Project, exported
from tests.samples import ROOT


def test_every_kfunc_of_the_newest_kernel_has_a_state(project: Project) -> None:
    done = project.runner("matrix", "run", "--only", "kernel=7,arch=x86_64")
    assert done.returncode in {0, 1}, done.stdout + done.stderr  # 1: what docs/findings.md tells of this build
    (cell,) = exported(project)["cells"]
    assert (cell["outcome"], cell["cause"]) == ("ran", "")
    assert (cell["config"]["NF_CONNTRACK"], cell["config"]["DEBUG_INFO_BTF"]) == ("m", "y")
    there = {(it["kfunc"], it["prog_type"]): it for it in cell["census"] if it["object"]}
    assert len({kfunc for kfunc, _ in there}) >= 300
    assert {prog_type for _, prog_type in there} == {"tc", "xdp"}
    for state in there.values():
        assert state["kfunc"] + "(" in state["prototype"]
        assert state["state"] in {"not allowed", "registered", "usable"} or state["hidden"]
    assert there["bpf_dynptr_from_skb", "tc"]["state"] == "usable"
    assert there["bpf_dynptr_from_skb", "xdp"]["state"] == "not allowed"
    assert there["bpf_xdp_metadata_rx_hash", "xdp"]["state"] == "usable"
    assert there["bpf_skb_set_fou_encap", "tc"]["object"] == "fou"
    assert there["crash_kexec", "tc"]["state"] == "registered"
    opts = next(it for it in there["bpf_skb_ct_alloc", "tc"]["layouts"] if it["name"] == "bpf_ct_opts")
    assert (opts["size"], opts["constants"]) == (16, [{"name": "NF_BPF_CT_OPTS_SZ", "value": 16}])
    assert [it["name"] for it in opts["members"]][-2:] == ["ct_zone_dir", "reserved"]
    types = {it["subject"]: it["state"] for it in cell["features"] if "MAP_TYPE" in it["subject"]}
    assert set(types.values()) <= {"available", "not available"}, "libbpf knows a new type of maps no more than it did"
    assert types["BPF_MAP_TYPE_INSN_ARRAY"] == types["BPF_MAP_TYPE_RHASH"] == "available"
    seen = {kfunc for kfunc, _ in there} - load_kfuncs(ROOT).names
    assert not seen, "bpf/kfuncs.yaml lacks these names: add them below the object that holds them"
