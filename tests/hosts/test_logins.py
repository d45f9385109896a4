# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Hosts as people have them: their shells, keys, users, known_hosts and jumps. Real ssh and sshd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from runner.engine.fleet import HostLimits
from runner.errors import InfraError
from runner.hosts.connection import connect
from runner.hosts.hostsfile import HostEntry
from runner.model import Outcome
from runner.model.deadline import Deadline
from runner.process import require
from tests.hosts.namespaces import Net, NetHost
from tests.hosts.test_faults import play


def limit() -> Deadline:
    return Deadline.after(30, "the test's limit")


def entry(three: Net, target: str, **options: object) -> HostEntry:
    known = {"IdentityFile": str(three.key), "UserKnownHostsFile": str(three.known_hosts)}
    given = {key: value for key, value in (known | options).items() if value}
    return HostEntry.model_validate({"name": "big", "ssh": target, "options": given})


def said(host: HostEntry, command: str, connect_s: float = 30) -> str:
    with connect(host, HostLimits(connect_s=connect_s)) as connection:
        return connection.run(command, deadline=limit()).stdout


def refusal(host: HostEntry) -> InfraError:
    with pytest.raises(InfraError) as caught, connect(host, HostLimits()):
        pass
    return caught.value


@contextmanager
def users(host: NetHost, *lines: str) -> Iterator[None]:
    """The host's users, in place of its own root; the file is bound over /etc/passwd there."""
    file = host.folder / "passwd"
    before = file.read_text()
    kept = [line for line in before.splitlines() if not (lines[0].startswith("root:") and line.startswith("root:"))]
    file.write_text("\n".join([*lines, *kept]) + "\n")
    try:
        yield
    finally:
        file.write_text(before)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own, with an empty ~/.ssh."""
    (tmp_path / "home/.ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path / "home"


def tool(*words: str) -> str:
    argv = [require(words[0]), *words[1:]]
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout


def keygen(path: Path, *words: str) -> str:
    tool("ssh-keygen", "-q", "-N", "", "-t", "ed25519", *words, "-f", str(path))
    return str(path)


@pytest.fixture
def agent(home: Path) -> Iterator[dict[str, str]]:
    """An agent; the test's processes use it."""
    out = tool("ssh-agent", "-s")
    found = dict(re.findall(r"(SSH_\w+)=([^;]+);", out))
    os.environ["SSH_AUTH_SOCK"] = found["SSH_AUTH_SOCK"]  # `home` restores it
    yield found
    os.kill(int(found["SSH_AGENT_PID"]), 15)


NOISE = {
    "bash": (".bashrc", "echo Welcome\nprintf 'no end of line'\necho and a warning >&2\n"),
    "fish": (".config/fish/config.fish", "echo Welcome\n"),
    "tcsh": (".cshrc", "echo Welcome\n"),
}


@pytest.mark.parametrize("shell", NOISE)
def test_what_the_shell_of_a_host_prints_first_is_not_the_commands(three: Net, tmp_path: Path, shell: str) -> None:
    program, amber = shutil.which(shell), three.hosts[0]
    if program is None:
        pytest.skip(f"{shell} is not installed")
    file, content = NOISE[shell]
    (amber.home / file).parent.mkdir(parents=True, exist_ok=True)
    (amber.home / file).write_text(content)
    try:
        with users(amber, f"root:x:0:0:root:{amber.home}:{program}"):
            with connect(entry(three, f"root@{amber.address}"), HostLimits()) as connection:
                done = connection.run('X=1 env | grep ^X && echo "it\'s" >&2 && cat', deadline=limit(), feed=b"fed")
            assert (done.stdout, done.stderr) == ("X=1\nfed", "it's\n")
            played = play(three, tmp_path, "fine", only=1)  # a worker starts as well
    finally:
        (amber.home / file).unlink()
    assert [(result.outcome, result.host) for result in played.results] == [(Outcome.RAN, "amber")]


def test_an_account_without_a_shell_is_told_with_its_words(three: Net) -> None:
    amber = three.hosts[0]
    with users(amber, f"root:x:0:0:root:{amber.home}:/usr/sbin/nologin"):
        error = refusal(entry(three, f"root@{amber.address}"))
    assert error.what == "big: the login works, but no command runs there: This account is currently not available."


def test_a_connection_that_breaks_in_a_command_is_no_exit_status(three: Net) -> None:
    with (
        connect(entry(three, f"root@{three.hosts[0].address}"), HostLimits()) as connection,
        pytest.raises(InfraError, match=r"big: the connection broke during `kill -9 \$PPID`: "),
    ):
        connection.run("kill -9 $PPID", deadline=limit(), check=False)


def test_a_connection_that_breaks_before_the_command_is_a_broken_one(three: Net, tmp_path: Path) -> None:
    amber, shell = three.hosts[0], tmp_path / "shell"
    shell.write_text("#!/bin/sh\nkill -9 $PPID\n")
    shell.chmod(0o755)
    with users(amber, f"root:x:0:0:root:{amber.home}:{shell}"):
        error = refusal(entry(three, f"root@{amber.address}"))
    assert error.what.startswith("big: the connection broke during `true`: ")


def test_what_cannot_be_sent_is_the_error(three: Net) -> None:
    def feed(to: IO[bytes]) -> None:
        to.write(b"some")
        raise InfraError("it is not in the cache")

    with (
        connect(entry(three, f"root@{three.hosts[0].address}"), HostLimits()) as connection,
        pytest.raises(InfraError, match="it is not in the cache"),
    ):
        connection.run("cat", deadline=limit(), feed=feed)


def test_lines_of_known_hosts_about_others_are_ignored(three: Net, tmp_path: Path) -> None:
    amber = three.hosts[0]
    own = next(line for line in three.known_hosts.read_text().splitlines() if line.startswith(amber.address))
    key = (three.hosts[1].folder / "host_key.pub").read_text().split()[1]
    file = tmp_path / "known_hosts"
    strange = f"@cert-authority *.example.com ssh-ed25519 {key}\ncut.example.com ssh-ed25519 {key[:21]}\n"
    file.write_bytes(f"{strange}é.example.com ssh-ed25519 {key} Zoé\n{own}\n".encode("latin-1"))
    assert said(entry(three, f"root@{amber.address}", UserKnownHostsFile=str(file)), "hostname") == "amber\n"


def test_a_host_key_that_changed_is_refused_with_the_line_that_has_the_old_one(three: Net, tmp_path: Path) -> None:
    amber, birch = three.hosts[:2]
    file = tmp_path / "known_hosts"
    file.write_text(f"# one\n{amber.address} {(birch.folder / 'host_key.pub').read_text()}")
    error = refusal(entry(three, f"root@{amber.address}", UserKnownHostsFile=str(file)))
    assert error.what.startswith(f"big: the host shows another key than {file}:2 has: ssh-ed25519 SHA256:")


@pytest.mark.parametrize("words", [(), ("-m", "PEM", "-t", "rsa")], ids=["openssh", "pem"])
def test_an_encrypted_key_that_no_agent_holds_is_named(
    three: Net, tmp_path: Path, agent: dict[str, str], words: tuple[str, ...]
) -> None:
    assert agent
    amber = three.hosts[0]
    key = keygen(tmp_path / "locked", *words)
    tool("ssh-add", "-q", key)
    public, allowed = (tmp_path / "locked.pub").read_text(), amber.folder / "authorized_keys"
    before = allowed.read_text()
    allowed.write_text(before + public)
    tool("ssh-keygen", "-q", "-p", "-N", "secret", "-f", key)
    host = entry(three, f"root@{amber.address}", IdentityFile=key)
    try:
        assert said(host, "hostname") == "amber\n"  # the agent holds it
        tool("ssh-add", "-q", "-D")
        (tmp_path / "locked.pub").unlink()
        error = refusal(host)
    finally:
        allowed.write_text(before)
    assert (error.what, error.hint) == (f"big: the key {key} is encrypted, and no agent holds it", f"ssh-add {key}")


def test_a_key_that_is_not_accepted_is_copied_there(three: Net, tmp_path: Path) -> None:
    target, key = f"root@{three.hosts[0].address}", keygen(tmp_path / "unknown")
    error = refusal(entry(three, target, IdentityFile=key))
    assert error.what == f"big: {target} accepts none of our keys"
    assert error.hint == f"ssh-copy-id -i {key} -o UserKnownHostsFile={three.known_hosts} {target}"


def test_seven_keys_in_the_agent_do_not_use_up_the_attempts_of_the_one_that_is_named(
    three: Net, tmp_path: Path, agent: dict[str, str]
) -> None:
    assert agent
    for number in range(7):
        tool("ssh-add", "-q", keygen(tmp_path / f"key{number}"))
    amber = three.hosts[0]
    assert said(entry(three, f"root@{amber.address}"), "hostname") == "amber\n"
    played = play(three, tmp_path, "fine", only=1)
    assert [result.outcome for result in played.results] == [Outcome.RAN]
    error = refusal(entry(three, f"root@{amber.address}", IdentityFile=""))
    assert "too many wrong keys" in error.what
    assert "IdentityFile" in error.hint


@pytest.mark.parametrize("user", ["jane@corp.example.com", "1000"])
def test_the_last_at_sign_divides_user_and_host(three: Net, user: str) -> None:
    amber = three.hosts[0]
    with users(amber, f"{user}:x:0:0:jane:{amber.home}:/bin/sh"):
        assert said(entry(three, f"{user}@{amber.address}"), "echo $LOGNAME") == f"{user}\n"


def test_jumps_of_the_users_ssh_configuration_are_taken(three: Net, tmp_path: Path, home: Path) -> None:
    amber, birch = three.hosts[:2]
    (home / ".ssh/config").write_text(
        f"Host {birch.address}\n    ProxyJump first\n"
        f"Host first\n    HostName {amber.address}\n    User root\n    IdentityFile {three.key}\n"
        f"    UserKnownHostsFile {three.known_hosts}\n"
    )
    host = entry(three, f"root@{birch.address}")
    assert said(host, "hostname; echo $SSH_CONNECTION").split()[:2] == ["birch", amber.address]
    played = play(three, tmp_path, *["until-go"] * 3)  # workers take the same way
    assert {result.host for result in played.results} == {"amber", "birch", "cedar"}
    amber.cut()
    try:
        with pytest.raises(InfraError, match="`true` did not end within connect_s"):
            said(host, "hostname", connect_s=2)
    finally:
        amber.mend()


def test_a_jump_that_refuses_is_named(three: Net, tmp_path: Path, home: Path) -> None:
    amber, birch = three.hosts[:2]
    (home / ".ssh/config").write_text(
        f"Host {birch.address}\n    ProxyJump jane@first\n"
        f"Host first\n    HostName {amber.address}\n    IdentityFile {keygen(tmp_path / 'unknown')}\n"
        f"    UserKnownHostsFile {three.known_hosts}\n"
    )
    error = refusal(entry(three, f"root@{birch.address}"))
    assert error.what.startswith(f"big: no connection to root@{birch.address}: ")
    assert f"jane@{amber.address}: Permission denied (publickey" in error.what


def test_a_host_of_the_users_ssh_configuration_has_its_name_user_and_key(three: Net, home: Path) -> None:
    amber = three.hosts[0]
    (home / ".ssh/config").write_text(
        f"Host lab\n    HostName {amber.address}\n    User root\n    IdentityFile {three.key}\n"
        f"    UserKnownHostsFile {three.known_hosts}\n    RemoteCommand tmux attach\n"
    )
    assert said(HostEntry(name="amber", ssh="lab"), "hostname") == "amber\n"
