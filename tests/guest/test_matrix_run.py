# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Real kernels on two architectures, as a user runs them."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from pathlib import Path

from tests.guest.conftest import RUNNER, Project, exported

ENDS_WITHIN_S = 30
APART = {"timings", "reused_from", "reused"}  # in which a cell that is reused differs


def test_two_architectures_and_two_runs_answer_the_same(project: Project) -> None:
    done = project.runner("matrix", "run", "--only", "kernel=6.12")
    assert done.returncode == 0, done.stdout + done.stderr
    document = exported(project)
    assert document["schema"] == 1
    cells = {cell["arch"]: cell for cell in document["cells"]}
    assert sorted(cells) == ["arm64", "x86_64"]
    for cell in cells.values():
        assert (cell["outcome"], cell["cause"]) == ("ran", "")
        assert cell["kernel"]["version"].startswith("6.12.")
        assert {claim["prog_type"] for claim in cell["claims"]} >= {"tc", "xdp"}
        assert len(cell["claims"]) >= 80
        answers = {claim["id"] + ":" + claim["prog_type"]: claim["observed"] for claim in cell["claims"]}
        assert "acquired 1" in answers["alloc-tcp:tc"]
        assert "acquired 1" in answers["alloc-tcp:xdp"]
        states = {(state["kfunc"], state["prog_type"]): state["state"] for state in cell["census"]}
        assert states["bpf_skb_ct_alloc", "tc"] == "usable"
        assert states["bpf_skb_ct_alloc", "xdp"] == "registered"
        assert states["bpf_xdp_ct_alloc", "xdp"] == "usable"
        assert list(states.values()).count("no answer") == 0
    verdicts = [
        {claim["id"] + ":" + claim["prog_type"]: claim["verdict"] for claim in cell["claims"]}
        for cell in cells.values()
    ]
    assert verdicts[0] == verdicts[1]
    assert project.runner("report", "export", "--format", "markdown").stdout.count("6.12.") > 2
    assert not (project.root / "reports" / "availability.md").exists(), "that is for the whole matrix"
    assert project.guests() == []

    reused = project.runner("matrix", "run", "--only", "kernel=6.12")
    assert (reused.returncode, "2 cells, none is booted" in reused.stdout) == (0, True), reused.stdout + reused.stderr
    run_id = document["run"]["id"]
    of_run = [{key: it for key, it in cell.items() if key not in APART} for cell in document["cells"]]
    now = exported(project)["cells"]
    assert [cell["reused_from"] for cell in now] == [run_id] * 2
    assert [{key: it for key, it in cell.items() if key not in APART} for cell in now] == of_run

    for _ in ("made", "started"):  # snapshots: the first guests of their kind, and those that start from them
        again = project.runner("matrix", "run", "--fresh", "--snapshots", "--only", "kernel=6.12")
        assert again.returncode == 0, again.stdout + again.stderr
        now = exported(project)["cells"]
        assert [(cell["start"], cell["no_snapshot"]) for cell in now] == [("snapshot", None)] * 2
    last, _, _, first = json.loads(project.runner("report", "runs", "--format", "json").stdout)
    compared = project.runner("report", "diff", first["id"], last["id"], "--same")
    assert "2 cells compared; nothing changed" in " ".join(compared.stdout.split()), compared.stdout


def test_a_killed_worker_takes_its_guest_with_it_and_its_cell_is_run_again(project: Project) -> None:
    project.small()
    with project.started("matrix", "run", "--only", "kernel=6.12,arch=arm64") as process:
        await_guests(project, some=True)
        (worker,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(worker), signal.SIGKILL)
        await_guests(project, some=False)
        process.communicate(timeout=120)
    (cell,) = exported(project)["cells"]
    assert (process.returncode, cell["outcome"], cell["attempts"]) == (0, "ran", 2)


def test_ctrl_c_ends_everything_and_says_what_is_missing(project: Project) -> None:
    with project.started("matrix", "run", "--only", "kernel=6.12,arch=x86_64") as process:
        await_guests(project, some=True)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=ENDS_WITHIN_S)
    assert process.returncode == 130
    assert "never finished" in out
    await_guests(project, some=False)


def await_guests(project: Project, *, some: bool) -> None:
    end = time.monotonic() + ENDS_WITHIN_S
    while bool(project.guests()) != some:
        assert time.monotonic() < end, f"guests: {project.guests()}"
        time.sleep(0.1)


def test_a_shell_in_a_cell(project: Project) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [RUNNER, "cell", "shell", "6.12", "x86_64"], cwd=project.root, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        said = read_until(ours, b"# ")
        os.write(ours, b"echo $((6*7))-$(uname -r); exit\n")
        said += read_until(ours, b"\0never\0")
        assert process.wait(timeout=ENDS_WITHIN_S) == 0
    assert b"42-6.12." in said
    await_guests(project, some=False)


def read_until(descriptor: int, mark: bytes) -> bytes:
    said = b""
    while mark not in said:
        try:
            chunk = os.read(descriptor, 4096)
        except OSError:  # the other side is closed
            break
        if not chunk:
            break
        said += chunk
    return said
