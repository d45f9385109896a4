# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A real matrix on three hosts, one of which is cut off in the middle: the grid is that of a single host."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from runner.caches import cache_root
from runner.kernels import stored_kernel
from runner.matrix import load_matrix
from runner.matrix.lock import read_lock
from tests.guest.conftest import Project, answers, exported
from tests.hosts import namespaces
from tests.hosts.namespaces import Net, NetHost
from tests.integration.test_object_files import build
from tests.samples import ROOT

pytestmark = pytest.mark.guest

ONLY = "id=6.1.*-x86_64|6.12.*"  # three cells of two architectures
BUSY_WITHIN_S = 120.0
GONE_WITHIN_S = 60.0


@pytest.fixture
def project(tmp_path: Path) -> Project:
    shutil.copy(ROOT / "matrix.lock", tmp_path)
    shutil.copytree(ROOT / "bpf", tmp_path / "bpf")
    matrix = (ROOT / "matrix.yaml").read_text()
    (tmp_path / "matrix.yaml").write_text(re.sub(r"probes: \[[^]]*\]", "probes: [conntrack]", matrix))
    return Project(tmp_path)


@pytest.fixture
def prepared(three: Net, project: Project) -> Net:
    """Caches are warm but for one kernel, which is pushed; the hosts share one environment, for they share a disk."""
    for host in three.hosts:
        namespaces.warm(host, cache_root())
    amber = three.hosts[0]
    python = amber.home / ".local/share/kfunc-runner/venv/bin/python"
    (project.root / "hosts.yaml").write_text(three.hosts_yaml(python=str(python), connect_s=30, silence_s=10))
    first, *_ = load_matrix(project.root / "matrix.yaml").cells(read_lock(project.root / "matrix.lock"))
    _, key = stored_kernel(first.kernel, amber.cache)
    shutil.rmtree(amber.cache / "kernels" / key)
    done = project.runner("host", "prepare", "amber", "--push")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of " in done.stdout
    return three


def test_the_grid_is_that_of_one_host_though_one_of_three_is_cut_off(prepared: Net, project: Project) -> None:
    birch = prepared.hosts[1]
    with project.started("matrix", "run", "--hosts", "hosts.yaml", "--only", ONLY) as process:
        await_guest(birch, process)
        birch.cut()
        out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    spread = exported(project)
    assert {cell["host"] for cell in spread["cells"]} == {"amber", "cedar"}
    assert sorted(cell["attempts"] for cell in spread["cells"]) == [1, 1, 2]
    assert "lost: the worker on birch died" in out
    consoles = list((project.root / "reports" / "runs").rglob("console*"))
    assert sum(b"Linux version" in console.read_bytes() for console in consoles) == 3
    for host in prepared.hosts:
        await_nothing(host)  # birch, too, which is cut off still
    birch.mend()

    alone = project.runner("matrix", "run", "--fresh", "--only", ONLY)
    assert alone.returncode == 0, alone.stdout + alone.stderr
    assert grid(exported(project)) == grid(spread)

    (project.root / "data").mkdir()
    (project.root / "data/word").write_text("from the controller\n")
    one = ("--hosts", "hosts.yaml", "--kernel", "6.12", "--arch", "x86_64")
    does = "cat data/word; cat data/word > out"
    done = project.runner("exec", *one, "--copy", "data", "--bring", "out", "--", "sh", "-c", does)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [it.read_text() for it in (project.root / "reports").rglob("files/**/out")] == ["from the controller\n"]
    assert not list((project.root / "reports/runs").rglob("consoles-*"))

    build(ROOT / "tests/data/objects/calls.bpf.c", project.root / "calls.bpf.o")
    words = ("--hosts", "hosts.yaml", "--kernel", "6.12", "--arch", "x86_64", "--program", "none*")
    assert project.runner("load", "calls.bpf.o", *words).returncode == 64
    done = project.runner("load", "calls.bpf.o", *words[:-2])
    assert done.returncode in {0, 1}, done.stdout + done.stderr  # what this kernel says of it is not the question
    run = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("run load-"))
    (cell,) = exported(project, run.rstrip(":"))["cells"]
    assert (cell["outcome"], cell["host"] in {"amber", "birch", "cedar"}) == ("ran", True)
    assert {entry["answer"] for entry in cell["objects"]} <= {"loads", "refused"}


def grid(document: dict[str, Any]) -> dict[str, object]:
    return {cell["id"]: answers(cell) for cell in document["cells"]}


def await_guest(host: NetHost, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + BUSY_WITHIN_S
    consoles = host.cache / "scratch"
    while not any(b"Linux version" in log.read_bytes() for log in consoles.glob("consoles-*/*/console.log")):
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < end, f"{host.name} got no cell"
        time.sleep(0.2)


def await_nothing(host: NetHost) -> None:
    end = time.monotonic() + GONE_WITHIN_S
    while left := host.processes(b""):
        assert time.monotonic() < end, f"left on {host.name}: {left}"
        time.sleep(0.5)
    assert not list((host.cache / "scratch").glob("consoles-*/*"))
