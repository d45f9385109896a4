"""The keys of a guest on the disk."""

from __future__ import annotations

from pathlib import Path

from runner.deadline import Deadline
from runner.guest.keys import leave_key, make_keys
from runner.process import run


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
