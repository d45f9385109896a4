# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A question that takes a real kernel down costs only itself, and its last words are kept."""

from __future__ import annotations

import json
import re

from tests.guest.conftest import Project

CELL = "kernel=6.12,arch=x86_64"
# Documentation/admin-guide/sysctl/vm.rst: "Setting this too high will OOM your machine instantly." The program is
# loaded for this question alone, so that memory is asked for while it is set.
FATAL = """
    sysctl: {vm.panic_on_oom: "2", vm.min_free_kbytes: "4000000"}
    types: [tc]
"""


def test_a_question_that_panics_a_kernel_costs_only_itself(project: Project) -> None:
    path = project.root / "bpf" / "conntrack.yaml"
    head = "  - id: release-twice\n"
    text = path.read_text()
    assert head in text
    path.write_text(text.replace(head, head + FATAL.lstrip("\n")))
    done = project.runner("matrix", "run", "--only", CELL)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Crashed the kernel" in done.stdout
    log = next((project.root / "reports" / "runs").glob("*/*/console.log")).read_text(errors="replace")
    boots = log.split("Linux version")[1:]
    assert len(boots) == 3
    assert re.findall(r"runner: begin (\S+)", boots[1]) == ["release-twice:tc"], "asked again alone"
    assert "release-twice:tc" not in re.findall(r"runner: begin (\S+)", boots[2]), "the others are asked"
    (cell,) = json.loads(project.runner("report", "export").stdout)["cells"]
    assert cell["outcome"] == "ran"
    crashed = [claim for claim in cell["claims"] if claim["crashed"]]
    assert [(claim["id"], claim["prog_type"], claim["verdict"]) for claim in crashed] == [
        ("release-twice", "tc", "broken")
    ]
    assert "Out of memory: compulsory panic_on_oom is enabled" in crashed[0]["cause"]
    innocent = [claim["verdict"] for claim in cell["claims"] if not claim["crashed"]]
    assert len(innocent) > 200
    assert set(innocent) <= {"holds", "not applicable"}
    shown = project.runner("cell", "show", cell["id"], "--probe", "release-twice:tc").stdout
    assert "it took the guest down" in shown
    assert "Call Trace:" in shown
    assert "out_of_memory" in shown
    told = json.loads(
        project.runner("cell", "show", cell["id"], "--probe", "release-twice:tc", "--format", "json").stdout
    )
    assert told["rows"]["claims"][0]["crashed"] is True
    assert "Kernel panic - not syncing" in told["crashes"][0]["oops"]
