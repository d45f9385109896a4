# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The steps of action.yml, and of the workflow that `runner init` writes, run as GitHub runs them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import yaml

from tests.guest.conftest import RUNNER
from tests.integration.test_wheel import installed
from tests.samples import ROOT

PROGRAM = """\
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("xdp") int pass(struct xdp_md *context) { return XDP_PASS; }
char _license[] SEC("license") = "GPL";
"""
USES = [  # not run here: they need GitHub
    "actions/cache@5a3ec84eff668545956fd18022155c47e93e2684",
    "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683",
    "actions/upload-artifact@ea165f8d65b6e75b540449e92b4886f43607fa02",
]


@dataclass
class Job:
    """Runs `run:` steps as GitHub does: bash -e, a file for each way in which a step tells something."""

    folder: Path
    env: dict[str, str]
    outputs: dict[str, str] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)

    def file(self, name: str) -> Path:
        return self.folder / name

    def step(self, step: dict[str, Any], words: dict[str, str]) -> None:
        """`words` are the values of expressions."""

        def filled(text: str) -> str:
            for expression, value in words.items():
                text = text.replace("${{ " + expression + " }}", value)
            return text

        told = {name: str(self.file(name)) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH")}
        env = self.env | told | {key: filled(str(value)) for key, value in step.get("env", {}).items()}
        env["PATH"] = os.pathsep.join([*reversed(self.path), env["PATH"]])
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", filled(step["run"])]
        done = subprocess.run(shell, cwd=self.folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{step.get('name')}: {done.stdout}{done.stderr}"
        for line in self._lines("GITHUB_OUTPUT"):
            key, _, value = line.partition("=")
            self.outputs[key] = value
        self.path = self._lines("GITHUB_PATH")

    def _lines(self, name: str) -> list[str]:
        return self.file(name).read_text().splitlines() if self.file(name).exists() else []


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "prog.bpf.c").write_text(PROGRAM)
    (tmp_path / "temp").mkdir()
    env = {"RUNNER_TEMP": str(tmp_path / "temp"), "GITHUB_ACTION_PATH": str(ROOT), "NO_COLOR": "1"}
    return Job(tmp_path, {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), **env})


def steps_of(steps: list[dict[str, Any]], run: Callable[[dict[str, Any]], object]) -> set[str]:
    """Run those that can be run; the others' `uses`."""
    for step in steps:
        if "run" in step:
            run(step)
    return {step["uses"] for step in steps if "uses" in step}


def test_the_action_loads_a_program_and_tells_github(job: Job) -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    given = {"objects": "prog.bpf.c", "command": "", "kernels": "6.12", "architectures": "x86_64"}
    assert set(given) == set(action["inputs"])
    inputs = {f"inputs.{name}": value for name, value in given.items()}

    def run(step: dict[str, Any]) -> None:
        job.step(step, inputs | {"steps.ask.outputs.run": job.outputs.get("run", "")})

    assert steps_of(action["runs"]["steps"], run) <= set(USES)
    assert job.outputs["run"].startswith("load-")
    assert "pass" in job.file("GITHUB_STEP_SUMMARY").read_text()
    assert 'name="prog/pass' in job.file("temp/kernels.xml").read_text()


def test_the_workflow_of_init_asks_the_kernels_of_the_matrix(job: Job) -> None:
    """From the wheel, as `pipx install` leaves it."""
    (folder := job.folder / "installed").mkdir()
    runner = installed(folder).with_name("runner")
    for name in ("vng", "virtme-run"):  # pipx would bring them as well
        (runner.parent / name).symlink_to(RUNNER.with_name(name))
    subprocess.run(
        [runner, "init", "*.bpf.o", "--kernel", "6.12", "--arch", "x86_64"], cwd=job.folder, env=job.env, check=True
    )
    flags = ("-target", "bpf", "-O2", "-g", "-I/usr/include/x86_64-linux-gnu")
    subprocess.run(
        [which("clang") or "clang", *flags, "-c", "prog.bpf.c", "-o", "prog.bpf.o"], cwd=job.folder, check=True
    )
    (tools := job.folder / "tools").mkdir()
    called = 'echo "${0##*/} $*" >> "$RUNNER_TEMP/called"\n'
    tool(tools / "apt-get", called)  # it would change this machine
    tool(tools / "pipx", f'{called}mkdir -p "$HOME/.local/bin" && ln -s {runner} "$HOME/.local/bin"\n')
    job.env["PATH"] = os.pathsep.join([str(tools), "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
    job.env["HOME"], home = str(job.folder), os.environ["HOME"]
    job.env.setdefault("RUNNER_CACHE", f"{home}/.cache/kfunc-runner")
    workflow = yaml.safe_load((job.folder / ".github/workflows/kernels.yml").read_text())
    assert steps_of(workflow["jobs"]["kernels"]["steps"], lambda step: job.step(step, {})) <= set(USES)
    assert "pipx install kfunc-runner==" in job.file("temp/called").read_text()
    assert job.path == [f"{job.folder}/.local/bin"]
    assert "pass" in job.file("GITHUB_STEP_SUMMARY").read_text()
    assert 'name="prog/pass' in (job.folder / "junit.xml").read_text()


def tool(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)
