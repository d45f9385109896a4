# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner load` on real kernels: each reason why something does not load or attach, and what an object can cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.guest.conftest import Project, exported
from tests.integration.test_object_files import build
from tests.samples import DATA

LOADS, NO_ANSWER = "loads", "no answer"
# Each: what is said of it on 6.1, and on 6.12.
SAID = {
    "causes/loads": (LOADS, LOADS),  # and reads CONFIG_HZ
    "causes/attach_nowhere": (("attach", ""),) * 2,
    "causes/core_field": (("core", "struct task_struct.no_such_field"),) * 2,
    "causes/extern_kfunc": (("extern", "bpf_no_such_kfunc"),) * 2,
    "causes/extern_of_module": (("extern", "bpf_xdp_flow_lookup"), LOADS),
    "causes/extern_prototype": (("extern", "bpf_key_put"),) * 2,
    "causes/helper_of_tc": (("helper", "bpf_skb_store_bytes#9"),) * 2,
    "causes/map:fine": (LOADS, LOADS),
    "causes/map:huge": (NO_ANSWER, NO_ANSWER),
    "causes/map:map_of_no_type": (("map", "map_of_no_type"),) * 2,
    "causes/map_used": (("map", "map_of_no_type"),) * 2,
    "causes/map_without_memory": (NO_ANSWER, NO_ANSWER),
    "causes/refused_packet": (("refused", ""),) * 2,
    "causes/target_ext": (("target", "target_ext"),) * 2,
    "causes/target_function": (("target", "no_such_function"),) * 2,
    "causes/too_large_loop": (("too-large", "8193"),) * 2,
    "causes/type_since_6_4": (("type", ""), LOADS),
    "causes/untyped_section": (("untyped", "untyped_section"),) * 2,
    "causes/@together": (("extern", "bpf_key_put"),) * 2,
    "optional/plain": (LOADS, LOADS),
    "optional/optional": (("refused", ""),) * 2,
    "optional/@together": (LOADS, LOADS),
    "tail/of_tc": (LOADS, LOADS),
    "tail/of_xdp": (LOADS, LOADS),
    "tail/map:calls": (LOADS, LOADS),
    "tail/@together": (("tail-call", "calls"),) * 2,
}
# What their own loaders set; `bound` and `of_dynptr` call kfuncs of 6.3 and 6.4.
CONTRACT = """
objects:
  - {file: replaces.bpf.o, up_to: attach, programs: {ext: {target: "base:verdict"}}}
  - file: contract.bpf.o
    up_to: attach
    constants: {backends: 16, strict: true}
    maps: {unsized: {max_entries: cpus}, outer: {inner: {type: hash, key: 4, value: 8}}}
    programs: {bound: {device: eth0}}
    one_of: [[of_dynptr, of_pointer]]
    expect:
      - {programs: [bound], until: ["6.3"], answer: {cause: type}, why: metadata kfuncs since 6.3}
  - file: contract.bpf.o
    id: unbound
    maps: {unsized: {max_entries: 1}, outer: {inner: {type: array, key: 4, value: 8}}}
    programs: {bound: skip, constant: skip}
    one_of: [[of_dynptr, of_pointer]]
"""


def built(name: str, folder: Path) -> str:
    return str(build(DATA / "objects" / f"{name}.bpf.c", folder / f"{name}.bpf.o"))


def said(cell: dict[str, Any]) -> dict[str, Any]:
    return {
        row["id"]: (row["cause_word"], row["cause_name"]) if row["answer"] == "refused" else row["answer"]
        for row in cell["objects"]
    }


def loaded(project: Project) -> dict[str, Any]:
    (run,) = (project.root / "reports" / "runs").iterdir()
    return exported(project, run.name)


def test_each_reason_is_told_and_costs_its_own_program_alone(project: Project) -> None:
    kernels = [word for series in ("6.1", "6.12") for word in ("--kernel", series)]
    objects = [built(name, project.root) for name in ("causes", "optional", "tail")]
    done = project.runner("load", *objects, "--attach", *kernels, "--arch", "x86_64")
    assert done.returncode == 1, done.stderr
    old, new = loaded(project)["cells"]
    assert [(cell["start"], cell["no_snapshot"], cell["attempts"]) for cell in (old, new)] == [
        ("snapshot", None, 1)
    ] * 2
    assert {name: (said(old).get(name), said(new).get(name)) for name in said(old)} == SAID
    assert {row["modules"] for row in new["objects"] if row["id"].startswith("causes/")} == {"nf_flow_table"}
    causes = {row["id"]: row["cause"] for row in new["objects"]}
    assert causes["causes/extern_prototype"].endswith(
        "bpf_key_put is in vmlinux with another prototype than the program's"
    )
    assert "failed to create kprobe 'no_such_function" in causes["causes/attach_nowhere"]


def test_what_its_own_loader_sets_is_set_before_a_load(project: Project) -> None:
    for name in ("replaces", "contract"):
        built(name, project.root)
    project.small()
    path = project.root / "matrix.yaml"
    path.write_text(path.read_text().replace("[small]", "[contract]"))
    (project.root / "bpf/contract.yaml").write_text(CONTRACT)
    done = project.runner("matrix", "run", "--only", "arch=x86_64")
    assert done.returncode == 0, done.stdout + done.stderr
    cells = exported(project)["cells"]
    old, new = map(said, cells)
    (together,) = [row for row in cells[1]["objects"] if row["id"] == "contract/@together"]
    assert 0 <= together["numbers"]["peak_mem_mib"] < 64
    refused = {name: it for name, it in old.items() if it != LOADS}
    assert refused == {
        "contract/bound": ("type", ""),
        "contract/of_dynptr": ("extern", "bpf_dynptr_from_xdp"),
        "contract/@together": ("type", ""),
        "unbound/of_dynptr": ("extern", "bpf_dynptr_from_xdp"),  # and together of_pointer is loaded in its place
    }
    assert new == dict.fromkeys(old, LOADS)


def test_an_object_that_takes_a_kernel_down_costs_itself_alone(project: Project) -> None:
    objects = [built(name, project.root) for name in ("greedy", "tail")]
    project.small()
    path = project.root / "matrix.yaml"
    panics = '{debian: trixie, series: "6.12", cmdline: "sysctl.vm.panic_on_oom=2"}'
    text = path.read_text().replace('  - {debian: bookworm, series: "6.1"}\n', "")
    text = text.replace("probe_s: 15", "probe_s: 60")  # all memory is taken page by page, on a busy machine slowly
    path.write_text(text.replace('{debian: trixie, series: "6.12"}', panics))
    done = project.runner("load", *objects, "--arch", "x86_64")
    assert done.returncode == 1, done.stdout + done.stderr
    (cell,) = loaded(project)["cells"]
    crashed = {row["id"]: row["crashed"] for row in cell["objects"]}
    assert {name for name in crashed if crashed[name]} == {"greedy/idle", "greedy/map:all", "greedy/@together"}
    assert said(cell)["tail/of_tc"] == LOADS
    assert said(cell)["tail/@together"] == ("tail-call", "calls")
