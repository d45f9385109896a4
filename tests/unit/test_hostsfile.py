# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""hosts.yaml: what it means, what is said about a wrong one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.caches import cache_root
from runner.errors import UserError
from runner.hosts.health import HostFacts, remote_runner, slots_of
from runner.hosts.hostsfile import HostEntry, HostsFile, json_schema, load_hosts
from runner.model import GuestSize
from tests.samples import ROOT

GOOD = """\
hosts:
  - name: here
  - name: big
    ssh: ci@big.example.org
    port: 2222
    slots: {x86_64: 8, arm64: 4}
    options: {IdentityFile: ~/.ssh/ci, UserKnownHostsFile: /etc/runner/known_hosts}
    cache: /srv/cache
limits: {connect_s: 10, silence_s: 9, failures: 2}
"""


def loaded(folder: Path, text: str) -> HostsFile:
    path = folder / "hosts.yaml"
    path.write_text(text)
    return load_hosts(path)


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        loaded(folder, text)
    return str(caught.value).replace(f"{folder}/", "")


def test_a_whole_file(tmp_path: Path) -> None:
    here, big = loaded(tmp_path, GOOD).hosts
    assert here.ssh is None
    assert (big.user, big.address, big.port) == ("ci", "big.example.org", 2222)
    assert remote_runner(big, "host", "describe") == (
        "RUNNER_CACHE=/srv/cache ~/.local/share/kfunc-runner/venv/bin/runner host describe"
    )


def test_a_cache_in_the_home_folder_is_in_that_of_the_user_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (host,) = loaded(tmp_path, "hosts: [{name: a, ssh: b, cache: ~/kfuncs}]").hosts
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNNER_CACHE", str(host.cache))  # as a worker has it: no shell has read it
    assert cache_root() == tmp_path / "kfuncs"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("name: a, shh: b", "hosts.yaml:2: hosts[0].shh: unknown key; did you mean 'ssh'?"),
        ("name: a, ssh: '-oProxyCommand=id'", "is not an ssh target"),
        ("name: a, ssh: 'a b'", "is not an ssh target"),
        ("name: a, ssh: 'b;id'", "is not an ssh target"),
        ("name: A", "is not a host's name"),
        ("name: a, port: 0", "hosts.yaml:2: hosts[0].port: should be greater than or equal to 1, not 0"),
        ("name: a, ssh: b, python: 'python3'", "is not a path"),
        ("name: a, ssh: b, python: '/usr/bin/python3 -c id'", "is not a path"),
        ("name: a, ssh: b, python: '~//x'", "is not a path"),
        ("name: a, ssh: b, cache: '/tmp/$(id)'", "is not a path"),
        ("name: a, ssh: b, python: ~/venv", "is not a path of a Python"),
        ("name: a, ssh: b, options: {ProxyCommand: id}", "unknown key; known: IdentityFile"),
        ("name: a, ssh: b, options: {identityfile: /k}", "did you mean 'IdentityFile'?"),
        ("name: a, slots: {x86: 1}", "unknown architecture 'x86'; did you mean 'x86_64'?"),
        ("name: a, slots: {}", "the host would get no guest"),
        ("name: a, slots: 0", "greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    said = complaint(tmp_path, f"hosts:\n  - {{{line}}}\n")
    assert said.startswith("hosts.yaml:2: ")
    assert words in said


def test_names_are_there_once_and_so_is_this_machine(tmp_path: Path) -> None:
    said = complaint(tmp_path, "hosts:\n  - name: a\n  - {name: a, ssh: b}\n  - name: c\n")
    assert said == (
        "hosts.yaml:3: hosts[1].name: two hosts are called 'a'\n"
        "hosts.yaml:4: hosts[2]: this machine (no `ssh`) is there already"
    )


def test_no_hosts_is_no_file(tmp_path: Path) -> None:
    assert complaint(tmp_path, "hosts: []\n") == "hosts.yaml:1: hosts: needs at least 1"


@pytest.mark.parametrize(
    ("slots", "found"),
    [
        (None, {"x86_64": 8, "arm64": 4}),
        (3, {"x86_64": 3, "arm64": 3}),
        ({"x86_64": 2}, {"x86_64": 2}),
    ],
)
def test_slots_are_as_written_or_what_the_host_can_carry(slots: object, found: dict[str, int]) -> None:
    facts = HostFacts(
        runner_version="1", code_sha256="", node="n", machine="x86_64", cpus=4, memory_mib=64000,
        accel={"x86_64": "kvm", "arm64": "tcg"}, tools={}, missing=(),
    )  # fmt: skip
    entry = HostEntry.model_validate({"name": "a", "slots": slots})
    assert slots_of(entry, facts, GuestSize()) == found


def test_the_schema_is_the_committed_one() -> None:
    assert json.loads((ROOT / "hosts.schema.json").read_text()) == json_schema(), "`make schema` writes it again"
