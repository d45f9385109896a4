# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Hostile commands in real guests: each costs its own row alone, and a lack of the guest is no answer of a kernel."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from typing import Any

import pytest

from tests.guest.conftest import RUNNER, Project, exported
from tests.samples import ROOT

PASSED, FAILED, NO_ANSWER = "passed", "failed", "no answer"
VERDICTS = {PASSED: "holds", FAILED: "broken", NO_ANSWER: "no answer"}
MATRIX = """\
kernels: [{debian: trixie, series: "6.12"}]
architectures: [x86_64]
guest: {memory_mib: 640}
limits: {cell_s: 3600}
probes:
"""
SHOWN = """\
set -e
sha256sum large/some
[ "$(cat large/sub/small)" = small ]
[ ! -e large/sub/out ]
echo written > large/sub/small
rm large/some
! touch /run/shared/x
"""
CLEAN = "test ! -e /sys/class/net/left && test ! -e /tmp/left && test ! -e /payload/left && ! pidof sleep"
ENTITIES = """\
cat <<X
<?xml version="1.0"?>
<!DOCTYPE t [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>
<testsuite><testcase name="t"><failure>&b;&f;</failure></testcase></testsuite>
X"""
# It reaches the agent's limit, 2,048, which takes more than 512 MiB, and lacks memory then. What waits for that needs
# no process more.
BOMB = """\
met=0
b() { b | b & }
(b)
while [ $met = 0 ]; do read -r _ met < /sys/fs/cgroup/pids.events; done
exit 1"""
TOO_NEW = """\
python3 -c "
import re
program = re.sub(b'GLIBC_2.3[0-9]', b'GLIBC_2.99', open('/usr/bin/python3', 'rb').read())
open('new', 'wb').write(program)"
chmod +x new; ./new"""
# Each: its settings, what it does, its state, words of the cause. They share a boot in this order, while it lasts.
COMMANDS: dict[str, tuple[str, str, str, str]] = {
    "segv": ("", "kill -SEGV $$", FAILED, "killed by SIGSEGV"),
    "daemon": (
        "",
        "setsid sleep 1000 & until pidof sleep; do :; done; touch /tmp/left left; ip link add left type dummy",
        PASSED,
        "",
    ),
    "after-daemon": ("", CLEAN, PASSED, ""),
    "netns": ("", "ip netns add n && ip -n n link set lo up && ip netns exec n ping -c 1 127.0.0.1", PASSED, ""),
    "oom": ("", "tail /dev/zero", NO_ANSWER, "lack of memory"),
    "full": ("", "cat /dev/zero > /payload/z; exit 1", NO_ANSWER, "no room is left on /payload"),
    "bomb": ("", BOMB, NO_ANSWER, "limit of its processes"),
    "after-bomb": ("", f"{CLEAN} && touch /run/mark", PASSED, ""),
    "same-guest": ("", "test -e /run/mark", PASSED, ""),
    "too-new": ("", TOO_NEW, NO_ANSWER, "newer C library"),
    "flood": ("", "dd if=/dev/zero bs=1M count=1024; echo; echo end", PASSED, ""),
    "silent": ("silence_s: 1", "sleep inf", NO_ANSWER, "silence limit"),
    "endless": ("timeout_s: 3", "yes", NO_ANSWER, "time limit"),
    "after-limits": ("", CLEAN, PASSED, ""),
    "links": (
        "bring: [link, behind/shadow, kept, pipe, '../etc/passwd']",
        "ln -s /etc/passwd link; ln -s /etc behind; mkfifo pipe; echo kept > kept",
        PASSED,
        "",
    ),
    "cut-tap": ("results: tap", "echo 1..3; echo ok 1 - first; kill -KILL $$", FAILED, "killed by SIGKILL"),
    "short-tap": ("results: tap", "echo 1..3; echo ok 1 - first", NO_ANSWER, "its plan is 3 tests, and 1 have"),
    "long-tap": ("results: tap", "echo 1..10000; seq 10000 | sed 's/.*/ok & - t&/'", PASSED, ""),
    "entities": ("results: junit", ENTITIES, NO_ANSWER, "declares a document type"),
    "alone": ("isolate: guest", "! test -e /run/mark", PASSED, ""),
    "panic": ("isolate: guest", "echo c > /proc/sysrq-trigger; sleep 5", NO_ANSWER, "sysrq"),
    "reboot": ("", "reboot -f; sleep 5", NO_ANSWER, "switched off or restarted from inside"),
    "after-all": ("", CLEAN, PASSED, ""),
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose matrix was run, with nothing but these commands."""
    root = tmp_path_factory.mktemp("hostile")
    shutil.copy(ROOT / "matrix.lock", root)
    entries = (
        f"  - {{id: {name}, command: [sh, -c, {json.dumps(does)}], {settings or 'timeout_s: 600'}}}\n"
        for name, (settings, does, _, _) in COMMANDS.items()
    )
    (root / "matrix.yaml").write_text(MATRIX + "".join(entries))
    project = Project(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PWD", os.fspath(root))
        done = project.runner("matrix", "run", "--snapshots")  # what ends its guest costs no boot
    assert done.returncode == 1, done.stdout + done.stderr
    assert not project.guests()
    return project


@pytest.fixture(scope="module")
def rows(hostile: Project) -> dict[str, Any]:
    (cell,) = exported(hostile)["cells"]
    assert cell["outcome"] == "ran"
    return {row["subject"]: row for row in cell["commands"]}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_costs_its_own_row_alone(rows: dict[str, Any], name: str) -> None:
    _, _, state, words = COMMANDS[name]
    row = rows[name]
    verdict = "broken" if row["crashed"] else VERDICTS[state]
    assert (row["state"], row["verdict"]) == (state, verdict), row["cause"]
    assert words in row["cause"]
    assert row["crashed"] == (name == "panic")


def test_tests_before_a_command_ends_count(rows: dict[str, Any]) -> None:
    assert rows["cut-tap/first"]["state"] == rows["short-tap/first"]["state"] == PASSED
    assert sum(name.startswith("long-tap/") for name in rows) == 10_000
    assert {row["verdict"] for name, row in rows.items() if name.startswith("long-tap")} == {"holds"}


def test_a_shell_opens_where_the_command_would_run(hostile: Project) -> None:
    words = [os.fspath(RUNNER), "cell", "shell", "6.12", "--with", "daemon"]
    asked = "echo $PWD; ls /sys/class/net; test -e /boot/config-$(uname -r) && echo there; exit\n"
    done = subprocess.run(
        words, cwd=hostile.root, input=asked, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["/payload", "lo", "there"]
    assert "the command: sh -c 'setsid sleep 1000 & " in done.stderr


def test_a_large_folder_is_shown_and_what_is_written_there_is_gone(hostile: Project) -> None:
    digest = hashlib.sha256()
    folder = hostile.root / "large"
    (folder / "sub").mkdir(parents=True)
    with (folder / "some").open("wb") as file:
        for number in range(200):
            block = number.to_bytes(4, "little") * (1 << 18)
            digest.update(block)
            file.write(block)
    (folder / "sub/small").write_text("small\n")
    (folder / "sub/out").symlink_to("/etc/passwd")
    options = ("--kernel", "6.12", "--repeat", "2", "--copy", "large", "--format", "json")
    done = hostile.runner("exec", *options, "--", "sh", "-c", SHOWN)
    assert done.returncode == 0, done.stdout + done.stderr
    (cell,) = exported(hostile, json.loads(done.stdout.splitlines()[-1])["run"])["cells"]
    assert digest.hexdigest() in cell["commands"][0]["log"]
    assert (folder / "sub/small").read_text() == "small\n"


def test_of_a_flood_its_end_is_kept(rows: dict[str, Any]) -> None:
    assert rows["flood"]["log"].endswith("\nend")


def test_of_what_it_left_a_link_brings_nothing(rows: dict[str, Any]) -> None:
    (run,) = rows["links"]["answer"]["body"]["runs"]
    assert rows["links"]["files"] == ["etc/passwd", "kept"]  # the first was named itself
    assert run["not_brought"] == {
        "link": "a link, which is not followed",
        "behind/shadow": "a link, which is not followed",
        "pipe": "no regular file",
    }
