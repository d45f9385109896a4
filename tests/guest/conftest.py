# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Real guests: a project like a user's, and the runner as a user starts it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.samples import ROOT

RUNNER = Path(sys.executable).with_name("runner")


# Three questions instead of hundreds, where it does not matter what is asked.
SMALL_MATRIX = """\
kernels:
  - {debian: bookworm, series: "6.1"}
  - {debian: trixie, series: "6.12"}
architectures: [x86_64, arm64]
probes: [small]
limits: {probe_s: 15}
"""
SMALL_CLAIMS = """\
object: conntrack
modules: [nf_conntrack, nf_nat]
kfuncs:
  alloc: {tc: bpf_skb_ct_alloc, xdp: bpf_xdp_ct_alloc}
claims:
  - id: alloc-tcp
    says: Allocates an entry.
    source: {kind: commit, ref: d7e79c97c00c}
    kfunc: alloc
    program: alloc
    answer: {load: ok, fields: {acquired: 1}}
"""


@dataclass(frozen=True)
class Project:
    """A copy of the default matrix, its lock and its claims; the cache is the user's own."""

    root: Path

    def small(self, claims: str = "") -> None:
        """Ask little: whether an entry is allocated, and `claims`."""
        (self.root / "matrix.yaml").write_text(SMALL_MATRIX)
        (self.root / "bpf" / "small.yaml").write_text(SMALL_CLAIMS + claims)

    def runner(self, *arguments: str, timeout_s: float = 900, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [RUNNER, *arguments],
            cwd=self.root,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    @contextmanager
    def started(
        self, *arguments: str, stdin: int = subprocess.DEVNULL, stderr: int | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            [RUNNER, *arguments], cwd=self.root, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as process:
            yield process

    def guests(self) -> list[int]:
        """The processes of every qemu, vng and supervisor that was started for this project."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environ = (folder / "environ").read_bytes()
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            is_guest = (b"qemu" in command or b"vng" in command) and b"--version" not in command
            if is_guest and f"PWD={self.root}\0".encode() in environ:
                found.append(int(folder.name))
        return found


def exported(project: Project, *run: str) -> dict[str, Any]:
    """A run, by default the last one of a matrix, as other tools read it."""
    done = project.runner("report", "export", *run, "--format", "json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def answers(cell: dict[str, Any]) -> tuple[object, ...]:
    """What is the same at each boot. Raw answers are not: in them the seconds of a timeout run down."""
    return (
        cell["outcome"],
        {(claim["id"], claim["prog_type"]): claim["verdict"] for claim in cell["claims"]},
        {(state["kfunc"], state["prog_type"]): (state["state"], state["errno"]) for state in cell["census"]},
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in ("matrix.yaml", "matrix.lock"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "bpf", tmp_path / "bpf")
    monkeypatch.setenv("PWD", os.fspath(tmp_path))  # marks what it starts: see Project.guests
    return Project(tmp_path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.guest)
            item.add_marker(pytest.mark.heavy)
