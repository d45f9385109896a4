# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a command finds in a real guest: Debian packages that were added, and a container image as its root."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.caches import cache_root
from runner.images import ensure_image
from runner.matrix.lock import read_lock
from runner.model.deadline import Deadline
from tests.guest.conftest import Project
from tests.integration.web_fixture import Web, serving
from tests.samples import ROOT
from tests.unit.oci_fixture import Registry, layer, link, member

KERNEL = ("--kernel", "6.12", "--arch", "x86_64")
SUITE = """\
import subprocess, sys

def test_python():
    assert sys.version_info >= (3, 11)

def test_names():
    subprocess.run(["ip", "netns", "add", "one"], check=True)
    assert "one" in subprocess.run(["ip", "netns"], check=True, capture_output=True, text=True).stdout

def test_alternatives():
    said = subprocess.run(["nc", "-h"], capture_output=True, text=True)
    assert "OpenBSD netcat" in said.stdout + said.stderr

def test_wrong():
    assert 1 == 2
"""
LOOK = """\
#!/bin/sh
fail() { echo "FAILED: $*"; exit 1; }
[ "$(cat /etc/os-release)" = NAME=container ] || fail another root
[ ! -e /etc/gone ] || fail a whiteout
[ "$WORD" = "of the image" ] && [ "$OTHER" = "of the command" ] || fail variables "$WORD" "$OTHER"
[ "$(hello)" = hello ] || fail PATH of the image
[ "$PWD" = /payload ] && touch written && touch /written || fail what is written
mount -t bpf | grep -q " /sys/fs/bpf " || fail /sys/fs/bpf
mount -t cgroup2 | grep -q " /sys/fs/cgroup " || fail /sys/fs/cgroup
[ "$(ls /sys/class/net)" = lo ] || fail network
grep -q localhost /etc/hosts || fail /etc/hosts
[ -s "/boot/config-$(uname -r)" ] || fail its options
modprobe nf_conntrack || fail modules
[ ! -e /usr/sbin/dropbear ] && [ ! -e /run/ssh ] || fail the root of the guest
echo brought > out.txt
echo everything is there
"""


def test_a_suite_of_pytest_runs_where_its_package_was_added(project: Project) -> None:
    (project.root / "test_it.py").write_text(SUITE)
    options = (
        "--package",
        "python3-pytest",
        "--package",
        "netcat-openbsd",
        "--results",
        "junit",
        "--bring",
        "out.xml",
        "--copy",
        "test_it.py",
    )
    command = ("python3", "-m", "pytest", "--junitxml=out.xml", "test_it.py")
    done = project.runner("exec", *KERNEL, *options, "--format", "json", "--", *command)
    assert done.returncode == 1, done.stderr
    states = {it["probe"]: it["state"] for it in commands(project, done.stdout)}
    assert states == {
        "python3": "failed",
        "python3/test_it.test_python": "passed",
        "python3/test_it.test_names": "passed",
        "python3/test_it.test_alternatives": "passed",
        "python3/test_it.test_wrong": "failed",
    }


def test_a_container_image_is_the_root_of_a_command(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER_CACHE", str(cache_root()))
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))  # has skopeo's settings
    look = project.root / "look.sh"
    look.write_text(LOOK)
    look.chmod(0o755)
    with serving(Web()) as web:
        text = Registry(web, home).push("busy/box", "1", {"amd64": layers()}, ["WORD=of the image", "PATH=/opt:/bin"])
        options = ("--image", f"oci:{text}", "--env", "OTHER=of the command", "--bring", "out.txt")
        done = project.runner("exec", *KERNEL, *options, "--format", "json", "--", "./look.sh")
    assert done.returncode == 0, done.stdout + done.stderr
    (answer,) = commands(project, done.stdout)
    assert (answer["state"], "everything is there" in answer["log"]) == ("passed", True)
    assert [it.read_text() for it in (project.root / "reports").rglob("out.txt")] == ["brought\n"]


def test_a_command_reaches_the_network_of_its_host_only_where_that_was_asked_for(project: Project) -> None:
    with serving(Web()) as web:
        web.files["page"] = b"a page"
        address = f"{web.address.replace('127.0.0.1', '10.0.2.2')}/page"  # as qemu names this host
        for option, state in (["--network"], "passed"), ([], "failed"):
            does = ("busybox", "wget", "-q", "-O", "-", address)
            done = project.runner("exec", *KERNEL, *option, "--format", "json", "--", *does)
            (answer,) = commands(project, done.stdout)
            assert (answer["state"], "a page" in answer["log"]) == (state, state == "passed"), answer
            assert ("NETWORK: " in done.stderr) == bool(option)


def commands(project: Project, lines: str) -> list[dict[str, str]]:
    """What a run's export says of its commands."""
    run = json.loads(lines.splitlines()[-1])["run"]
    exported = project.runner("report", "export", run, "--format", "json")
    (cell,) = json.loads(exported.stdout)["cells"]
    found: list[dict[str, str]] = cell["commands"]
    return found


def layers() -> list[bytes]:
    """Of an image of busybox, the one of the guest's own image."""
    pin = next(it for it in read_lock(ROOT / "matrix.lock").images if it.arch == "x86_64")
    image = ensure_image(pin, cache_root(), deadline=Deadline.after(900, "the test's limit"))
    busybox = member("usr/bin/busybox", Path(image.busybox).read_bytes())
    hello = member("opt/hello", b"#!/bin/sh\necho hello\n")
    for info, _ in (busybox, hello):
        info.mode = 0o755
    names = ("cat", "grep", "ls", "modprobe", "mount", "sh", "touch", "uname")
    applets = (link(f"usr/bin/{name}", "busybox") for name in names)
    first = layer(busybox, link("bin", "usr/bin"), *applets, member("etc/gone"), member("etc/os-release", b"NAME=x"))
    return [first, layer(member("etc/.wh.gone"), member("etc/os-release", b"NAME=container\n"), hello)]
