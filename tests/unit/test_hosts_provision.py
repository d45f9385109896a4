# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How a host is made ready, as far as that is words; tests/hosts does it for real."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

from runner.errors import InfraError
from runner.hosts.connection import Connection, Feed, _fed
from runner.hosts.hostsfile import HostEntry
from runner.hosts.provision import install, warm
from runner.model import Limits
from runner.model.deadline import Deadline
from runner.process import Completed


@dataclass(frozen=True, slots=True)
class WithoutNetwork(Connection):
    """A host on which pip fails."""

    lines: list[str] = field(default_factory=list)

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        feed: Feed = b"",
        check: bool = True,
    ) -> Completed:
        self.lines.append(command)
        if "pip install" in command:
            raise InfraError("bare: pip failed")
        return Completed(0, "Segmentation \x1b[2Jfault", "")


@pytest.mark.parametrize("pushed", [False, True])
def test_a_host_that_cannot_fetch_is_told_of_the_other_way(tmp_path: Path, *, pushed: bool) -> None:
    wheel = tmp_path / "kfunc_runner-0.1.0-py3-none-any.whl"
    wheel.touch()
    host = WithoutNetwork(HostEntry(name="bare", ssh="root@bare"), tmp_path)
    with pytest.raises(InfraError, match="pip failed") as caught:
        install(host, wheel, (wheel,), lambda _: None, pushed=pushed, limits=Limits())
    assert ("With --push it needs none" in caught.value.hint) != pushed
    (pip,) = [line for line in host.lines if "pip install" in line]
    assert ("--no-index" in pip) == pushed
    assert host.lines[-1].startswith("rm -rf "), "what was unpacked there goes in any case"


def test_a_host_whose_runner_prints_nonsense_is_named(tmp_path: Path) -> None:
    host = WithoutNetwork(HostEntry(name="bare", ssh="root@bare"), tmp_path)
    with pytest.raises(InfraError, match="bare: what its runner prints is no list of kernels: 'Segmentation fault'"):
        warm(host, (), tmp_path, lambda _: None, push=False, limits=Limits())


def test_a_file_that_cannot_be_sent_is_named(tmp_path: Path) -> None:
    def feed(to: IO[bytes]) -> None:
        to.write((tmp_path / "gone").read_bytes())

    with pytest.raises(InfraError, match="gone: No such file"), _fed(feed):
        pass
