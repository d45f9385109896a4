# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a real ssh makes of keys and configurations that are written for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from runner.guest.ssh import leave_key, make_keys
from runner.hosts.connection import ssh_config
from runner.model.deadline import Deadline
from runner.process import require, run
from tests.unit.test_hostsfile import GOOD, loaded


def test_a_key_that_is_left_is_the_users_alone_and_ssh_takes_it(tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys")
    for _ in range(2):  # asking twice is no mistake
        words = leave_key(keys, tmp_path, 40001)
    assert (tmp_path / "id").stat().st_mode & 0o777 == 0o600
    assert words[:2] == ("ssh", "-F")
    assert words[-3:] == ("-p", "40001", "root@127.0.0.1")
    deadline = Deadline.after(30, "the test's limit")
    public = run(["ssh-keygen", "-y", "-f", str(tmp_path / "id")], deadline=deadline)
    assert public.stdout.split()[1] in (tmp_path / "keys" / "authorized_keys").read_text()
    known = ["ssh-keygen", "-F", "[127.0.0.1]:40001", "-f", str(tmp_path / "known_hosts")]
    assert "ssh-ed25519" in run(known, deadline=deadline).stdout


def test_ssh_understands_its_configuration(tmp_path: Path) -> None:
    """`ssh -G` prints what ssh made of it."""
    file = loaded(tmp_path, GOOD)
    config = tmp_path / "ssh_config"
    config.write_text(ssh_config(file.hosts[1], file.limits))
    said = subprocess.run(
        [require("ssh"), "-G", "-F", config, "big.example.org"], capture_output=True, text=True, check=True
    ).stdout
    known = dict(line.split(" ", 1) for line in said.splitlines())
    assert (known["hostname"], known["user"], known["port"]) == ("big.example.org", "ci", "2222")
    assert known["stricthostkeychecking"] in {"true", "yes"}
    assert (known["serveraliveinterval"], known["serveralivecountmax"]) == ("3", "3")
    assert known["userknownhostsfile"] == "/etc/runner/known_hosts"
    assert (known["batchmode"], known["identitiesonly"]) == ("yes", "yes")
