# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The wheel brings all that it needs: it works in an empty folder, for a user who may write nowhere but at home."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_object_files import SMALL, build
from tests.samples import ROOT

pytestmark = pytest.mark.heavy

# everything is as installed but for the guests; argv are the words of a command line
LOADED = """
import sys
from runner import cli
from runner.cli.running import Engine
from runner.engine.plan import Ended, RunEnd
from runner.model import Answer, CellResult, Outcome

def execute(plan, sinks, *, guests=None):
    for sink in sinks:
        sink.began(plan)
    for order in plan.orders:
        asked = [Answer(kind="objects", probe=ask.probe, item=it, body=dict(errno=0))
                 for ask in order.asks for it in ("f", "@together")]
        ended = [Answer(kind="objects", probe=ask.probe) for ask in order.asks]
        for sink in sinks:
            sink.result(CellResult(cell=order.cell, outcome=Outcome.RAN, answers=(*asked, *ended)))
    end = RunEnd(plan.run.id, Ended.COMPLETE, 1.0)
    for sink in sinks:
        sink.finished(end)
    return end

sys.exit(cli.run(sys.argv[1:], Engine(payloads=lambda *_, **__: {}, execute=execute)))
"""


@pytest.fixture(scope="module")
def python() -> Iterator[Path]:
    """Of a virtual environment with the wheel."""
    with tempfile.TemporaryDirectory(prefix="wheel-") as name:  # below /tmp: any user may go there
        folder = Path(name)
        folder.chmod(0o755)
        yield installed(folder)


def installed(folder: Path) -> Path:
    """The interpreter of a new virtual environment with the wheel, and with what it depends on from ours."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _call([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT])
    (wheel,) = folder.glob("*.whl")
    _call([sys._base_executable, "-m", "venv", "--without-pip", folder / "venv"])  # type: ignore[attr-defined]
    made = folder / "venv/bin/python"
    _call([*pip, "--python", made, "install", "--no-deps", "--no-index", wheel])
    site = folder / f"venv/lib/python{sysconfig.get_python_version()}/site-packages"
    others = [path for path in sys.path if path.endswith("site-packages")]
    (site / "others.pth").write_text("".join(f"{path}\n" for path in others))
    return made


@pytest.fixture
def user(tmp_path: Path, python: Path) -> Iterator[dict[str, Any]]:
    """What runs a program in an empty folder, with a home of its own: as nobody, where root can be that."""
    with tempfile.TemporaryDirectory(prefix="user-") as name:
        home, here = Path(name) / "home", Path(name) / "empty"
        home.mkdir()
        here.mkdir()
        build(SMALL, tmp_path / "prog.bpf.o").rename(here / "prog.bpf.o")
        words: dict[str, Any] = {"cwd": here, "env": {"HOME": str(home), "PATH": os.environ["PATH"]}}
        Path(name).chmod(0o755)
        nobody = pwd.getpwnam("nobody")
        as_nobody = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        if os.geteuid() == 0 and _works(python, as_nobody):
            os.chown(home, nobody.pw_uid, nobody.pw_gid)
            words |= as_nobody
        yield words


def _works(python: Path, words: dict[str, Any]) -> bool:
    """An interpreter below /root is of no use to others."""
    try:
        return (
            subprocess.run([python, "-c", "import pydantic"], check=False, capture_output=True, **words).returncode == 0
        )
    except OSError:
        return False


def _call(argv: Sequence[str | Path]) -> None:
    subprocess.run(argv, check=True, cwd="/")


def run(python: Path, user: dict[str, Any], *words: str) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [python, *words], check=False, capture_output=True, text=True, **user
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_object_is_asked_in_an_empty_folder(python: Path, user: dict[str, Any]) -> None:
    said = run(
        python, user, "-c", LOADED, "load", "prog.bpf.o", "--kernel", "6.12", "--arch", "x86_64", "--offline", "-n", "1"
    )
    assert "1 cell: 1 ran" in said
    assert [path.name for path in user["cwd"].iterdir()] == ["prog.bpf.o"]
    home = Path(user["env"]["HOME"])
    assert (home / ".local/state/kfunc-runner/reports/results.db").exists()
    assert "load-" in run(python, user, "-m", "runner", "report", "runs")


def test_a_kfunc_is_answered_in_an_empty_folder(python: Path, user: dict[str, Any]) -> None:
    said = run(python, user, "-m", "runner", "kfunc", "bpf_skb_ct_alloc")
    assert "struct bpf_ct_opts: 16 bytes" in said
    assert [path.name for path in user["cwd"].iterdir()] == ["prog.bpf.o"]


def test_the_built_in_matrix_is_used_where_there_is_none(python: Path, user: dict[str, Any]) -> None:
    assert run(python, user, "-m", "runner", "matrix", "list").count("6.12.117") >= 1
    assert "builtin/matrix.yaml: 8 cells" in run(python, user, "-m", "runner", "matrix", "validate")
    run(
        python,
        user,
        "-c",
        LOADED,
        "matrix",
        "run",
        "--only",
        "kernel=6.12*",
        "--offline",
        "-n",
        "1",
        "--fail-on",
        "broken",
    )
    shown = subprocess.run(
        [python, "-m", "runner", "report", "show"], check=False, capture_output=True, text=True, **user
    )
    assert "6.12.117" in shown.stdout
    assert [path.name for path in user["cwd"].iterdir()] == ["prog.bpf.o"]


def test_the_license_comes_with_it(python: Path) -> None:
    (license_,) = python.parents[1].glob("lib/*/site-packages/kfunc_runner-*.dist-info/licenses/LICENSE")
    assert license_.read_text() == (ROOT / "LICENSE").read_text()
