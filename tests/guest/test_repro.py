# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One cell of a real run is booted again: it answers the same, and shows more."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from tests.guest.conftest import Project

WRONG = """\
  - id: alloc-none
    says: Allocates none.
    source: {kind: commit, ref: d7e79c97c00c}
    kfunc: alloc
    program: alloc
    answer: {load: ok, fields: {acquired: 0}}
"""


def test_a_cell_answers_again_what_it_answered(project: Project, tmp_path: Path) -> None:
    project.small(WRONG)
    ran = project.runner("matrix", "run", "--only", "kernel=6.12,arch=x86_64")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    (cell_id,) = (cell["id"] for cell in json.loads(project.runner("report", "export").stdout)["cells"])

    with project.started("cell", "repro", cell_id, "--hold", stdin=subprocess.PIPE, stderr=subprocess.STDOUT) as run:
        assert run.stdin
        assert run.stdout
        lines = iter(run.stdout.readline, "")
        assert "The guest is open:" in next(it for it in lines if "open:" in it)
        ssh = shlex.split(next(lines))
        asked = subprocess.run([*ssh, "cat /run/runner/asks.json"], capture_output=True, text=True, check=True)
        assert {ask["probe"] for ask in json.loads(asked.stdout)["asks"]} > {"alloc-tcp:tc", "alloc-none:tc"}
        run.stdin.write("\n")
        run.stdin.flush()
        rest = "".join(lines)
    assert run.returncode == 0, rest

    again = project.runner("cell", "repro", cell_id, "--probe", "alloc-tcp:tc")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "The answer is the same as the stored one." in again.stdout
    assert "Note:" not in again.stdout
    assert re.search(r"\(85\) call bpf_skb_ct_alloc#", again.stdout), again.stdout
    assert "processed " in again.stdout  # the verifier's log of a program that it took

    exported = project.root / "export.json"
    assert project.runner("report", "export", "--output", str(exported)).returncode == 0
    shutil.rmtree(project.root / "reports")
    words = ("--from", str(exported), "--probe", "alloc-none:tc", "--format", "json")
    document = json.loads(project.runner("cell", "repro", cell_id, *words).stdout)
    assert (document["same"], document["notes"], document["changed"]) == (True, [], [])
    assert document["answers"][0]["body"]["fields"]["acquired"] == 1
    assert project.guests() == []
