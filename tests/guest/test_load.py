"""`runner load` of objects in which each program has a reason of its own not to load, on two real kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.guest.conftest import Project, exported
from tests.integration.test_object_files import build
from tests.samples import DATA

LOADS = "loads"
# Each: what is said of it on 6.1, and on 6.12.
SAID = {
    "causes/loads": (LOADS, LOADS),  # and reads CONFIG_HZ
    "causes/attach_nowhere": (("attach", ""), ("attach", "")),
    "causes/core_field": (("core", "struct task_struct.no_such_field"),) * 2,
    "causes/extern_kfunc": (("extern", "bpf_no_such_kfunc"),) * 2,
    "causes/extern_prototype": (("extern", "bpf_key_put"),) * 2,
    "causes/extern_of_module": (("extern", "bpf_xdp_flow_lookup"), LOADS),
    "causes/helper_of_tc": (("helper", "bpf_skb_store_bytes#9"),) * 2,
    "causes/map_used": (("map", "map_of_no_type"),) * 2,
    "causes/map:fine": (LOADS, LOADS),
    "causes/map:map_of_no_type": (("map", "map_of_no_type"),) * 2,
    "causes/refused_packet": (("refused", ""),) * 2,
    "causes/target_ext": (("target", "target_ext"),) * 2,
    "causes/target_function": (("target", "no_such_function"),) * 2,
    "causes/too_large_loop": (("too-large", "8193"),) * 2,
    "causes/type_since_6_4": (("type", ""), LOADS),
    "causes/untyped_section": (("untyped", "untyped_section"),) * 2,
    "causes/@together": (("extern", "bpf_key_put"),) * 2,
    "replaces/base": (LOADS, LOADS),
    "replaces/ext": (("target", "ext"),) * 2,
    "tail/of_tc": (LOADS, LOADS),
    "tail/of_xdp": (LOADS, LOADS),
    "tail/@together": (("tail-call", "calls"),) * 2,
}


@pytest.fixture
def objects(tmp_path: Path) -> list[str]:
    folder = tmp_path / "objects"
    folder.mkdir()
    return [
        str(build(source, folder / f"{source.name.removesuffix('.c')}.o"))
        for source in sorted((DATA / "objects").glob("*.bpf.c"))
    ]


def said(cell: dict[str, Any]) -> dict[str, Any]:
    return {
        row["id"]: LOADS if row["answer"] == LOADS else (row["cause_word"], row["cause_name"])
        for row in cell["objects"]
    }


def test_each_reason_is_told_and_costs_its_own_program_alone(project: Project, objects: list[str]) -> None:
    kernels = [word for series in ("6.1", "6.12") for word in ("--kernel", series)]
    done = project.runner("load", *objects, "--attach", *kernels, "--arch", "x86_64")
    assert done.returncode == 1, done.stderr
    old, new = (said(cell) for cell in exported(project)["cells"])
    assert {name: (old.get(name), new.get(name)) for name in SAID} == SAID


def test_a_kernel_that_an_object_takes_down_costs_that_object_alone() -> None: ...
