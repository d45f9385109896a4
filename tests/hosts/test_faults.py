# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What happens to a run when something happens to its hosts. Real ssh, sshd and networks; the guests are fakes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner.engine.execute import execute
from runner.engine.fleet import Fleet, HostLimits
from runner.errors import InfraError
from runner.hosts.connection import connect
from runner.hosts.health import fleet_host
from runner.hosts.hostsfile import HostEntry, HostsFile, load_hosts
from runner.model import CellResult, Outcome
from runner.model.deadline import Deadline
from tests import fakes
from tests.answers import seen_of
from tests.hosts.namespaces import Net, NetHost

SILENCE_S = 3.0  # less than hosts.yaml allows: a worker of a fake guest answers at once
GONE_WITHIN_S = 30.0


@dataclass
class Played:
    """A run over the hosts, and what was done to them meanwhile."""

    results: list[CellResult] = field(default_factory=list)

    def of(self, outcome: Outcome) -> list[CellResult]:
        return [result for result in self.results if result.outcome is outcome]


def hosts_file(three: Net, folder: Path, connect_s: float) -> HostsFile:
    path = folder / "hosts.yaml"
    path.write_text(three.hosts_yaml(python=sys.executable, connect_s=connect_s))
    file = load_hosts(path)
    return file.model_copy(update={"limits": file.limits.model_copy(update={"silence_s": SILENCE_S})})


def play(
    three: Net,
    folder: Path,
    *behaviours: str,
    do: Callable[[NetHost], None] = lambda _: None,
    only: int = 3,
    connect_s: float = 30.0,
    ends: bool = True,
) -> Played:
    """Run cells that behave so. `do` is done to birch when each host is at a cell.

    `until-go` lasts until then, or until a host is given up.

    Does the run end by itself?
    """
    file = hosts_file(three, folder, connect_s)
    hosts = [
        fleet_host(entry, file.limits, folder, slots={"x86_64": 1}, accel={"x86_64": "tcg"}, tools={})
        for entry in file.hosts
    ]
    fleet = Fleet(tuple(hosts[:only]), file.limits)
    birch, played, over = three.hosts[1], Played(), threading.Event()
    for host in three.hosts:
        host.cache.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(host.cache / "scratch", ignore_errors=True)
        (host.cache / fakes.GO).unlink(missing_ok=True)

    def act() -> None:
        while not over.wait(0.05):
            if all(busy(host) for host in three.hosts):
                do(birch)
                go()
                return

    def go() -> None:
        for host in three.hosts:
            (host.cache / fakes.GO).touch()

    class Seen(fakes.Told):
        def result(self, result: CellResult) -> None:
            played.results.append(result)
            if [it.host for it in played.of(Outcome.INFRA_FAILED)] == ["birch"] * fleet.limits.failures:
                go()

    orders = [fakes.cell_order(behaviour, number=number) for number, behaviour in enumerate(behaviours)]
    actor = threading.Thread(target=act)
    actor.start()
    try:
        ended = execute(fakes.plan(folder, *orders, fleet=fleet), [Seen()]).complete
    finally:
        over.set()
        actor.join()
    assert ended is ends
    return played


def busy(host: NetHost) -> list[Path]:
    return list((host.cache / "scratch").glob("consoles-*/*"))


def workers(host: NetHost) -> list[int]:
    return host.processes(b"sys.stdin.readline")


def await_nothing_left(host: NetHost) -> None:
    end = time.monotonic() + GONE_WITHIN_S
    while left := workers(host):
        assert time.monotonic() < end, f"left on {host.name}: {left}"
        time.sleep(0.2)


@contextmanager
def all_answered(played: Played, cells: int) -> Iterator[None]:
    """Every cell ran in the end, each once; nothing but what a machine did wrong came besides."""
    final = {result.cell.id: result for result in played.results}
    assert len(final) == cells
    assert {result.outcome for result in final.values()} == {Outcome.RAN}
    assert len(played.of(Outcome.RAN)) == cells
    seen = {(len(seen_of(result)), "Linux version" in result.console) for result in final.values()}
    assert seen == {(3, True)}
    yield


def test_every_cell_comes_back_whole_from_whatever_host(three: Net, tmp_path: Path) -> None:
    played = play(three, tmp_path, *["until-go"] * 3, *["fine"] * 3)
    with all_answered(played, 6):
        assert {result.host for result in played.results} == {"amber", "birch", "cedar"}
    for host in three.hosts:
        await_nothing_left(host)
        assert not busy(host)


def test_a_killed_worker_costs_one_attempt_and_the_cell_runs_elsewhere(three: Net, tmp_path: Path) -> None:
    def kill(birch: NetHost) -> None:
        for pid in workers(birch):
            os.kill(pid, signal.SIGKILL)

    played = play(three, tmp_path, *["until-go"] * 3, do=kill)
    with all_answered(played, 3):
        (lost,) = played.of(Outcome.LOST)
        assert lost.host == "birch"
        assert "the worker on birch died" in lost.cause
        (again,) = [result for result in played.results if result.cell == lost.cell and result is not lost]
        assert (again.attempts, again.host != "birch") == (2, True)
    await_nothing_left(three.hosts[1])


def test_a_cut_ssh_connection_leaves_nothing_on_the_host(three: Net, tmp_path: Path) -> None:
    def cut(birch: NetHost) -> None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0] == b"ssh" and str(tmp_path / "birch.config").encode() in words:
                os.kill(int(folder.name), signal.SIGKILL)

    played = play(three, tmp_path, *["until-go"] * 3, do=cut)
    with all_answered(played, 3):
        assert [lost.host for lost in played.of(Outcome.LOST)] == ["birch"]
    await_nothing_left(three.hosts[1])


def test_a_stopped_worker_is_noticed(three: Net, tmp_path: Path) -> None:
    """The network is well, ssh is content; the worker says nothing."""

    def stop(birch: NetHost) -> None:
        for pid in workers(birch):
            os.kill(pid, signal.SIGSTOP)

    played = play(three, tmp_path, *["until-go"] * 3, do=stop)
    with all_answered(played, 3):
        (lost,) = played.of(Outcome.LOST)
        assert f"no heartbeat for {SILENCE_S:g} s" in lost.cause
    for pid in workers(three.hosts[1]):
        os.kill(pid, signal.SIGCONT)
    await_nothing_left(three.hosts[1])


def test_a_network_that_swallows_everything_is_noticed_on_both_sides(three: Net, tmp_path: Path) -> None:
    birch = three.hosts[1]
    try:
        played = play(three, tmp_path, *["until-go"] * 3, *["fine"] * 3, do=NetHost.cut)
        with all_answered(played, 6):
            (lost,) = played.of(Outcome.LOST)
            assert lost.host == "birch"
            assert "on birch died" in lost.cause
        await_nothing_left(birch)  # it is cut off still: its worker gave up by itself
    finally:
        birch.mend()


def test_a_host_that_fails_every_cell_is_set_aside_and_named(
    three: Net, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    played = play(three, tmp_path, *["until-go.no-disk-on-birch"] * 6)
    with all_answered(played, 6):
        assert [result.host for result in played.of(Outcome.INFRA_FAILED)] == ["birch"] * 3
    (notice,) = caplog.messages
    assert notice.startswith("host birch is set aside after 3 failures in a row")
    assert "no space left" in notice


def test_an_interrupt_leaves_nothing_on_any_host(three: Net, tmp_path: Path) -> None:
    def interrupt(_: NetHost) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    played = play(three, tmp_path, *["until-go"] * 3, do=interrupt, ends=False)
    assert not played.results
    for host in three.hosts:
        await_nothing_left(host)


def test_when_the_last_host_is_gone_the_cells_say_so(three: Net, tmp_path: Path) -> None:
    amber = three.hosts[0]
    amber.cut()
    try:
        played = play(three, tmp_path, "fine", "fine", only=1, connect_s=1)
    finally:
        amber.mend()
    assert {result.outcome for result in played.results} == {Outcome.INFRA_FAILED}
    causes = {result.cause for result in played.results}
    assert [it for it in causes if "no host is left that runs x86_64 guests: amber: cannot be reached" in it] == [
        *causes
    ]


def test_an_unknown_host_key_is_refused_with_the_command_that_accepts_it(three: Net, tmp_path: Path) -> None:
    amber = three.hosts[0]
    (tmp_path / "known_hosts").touch()
    entry = HostEntry.model_validate(
        {
            "name": "amber",
            "ssh": f"root@{amber.address}",
            "options": {"IdentityFile": str(three.key), "UserKnownHostsFile": str(tmp_path / "known_hosts")},
        }
    )
    with (
        pytest.raises(InfraError, match="host key is not known: ssh-ed25519 SHA256:") as caught,
        connect(entry, HostLimits()),
    ):
        pass
    command = caught.value.hint.partition("accepts it: ")[2]
    assert os.system(f"{command} 2>/dev/null") == 0  # noqa: S605  as a user would
    with connect(entry, HostLimits()) as connection:
        assert connection.run("hostname", deadline=Deadline.after(30, "the test's limit")).stdout == "amber\n"
