# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What runner/engine/ uses of xdist and execnet beyond their documented names is still there, and the same."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Callable
from itertools import count
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from execnet import gateway_base, gateway_bootstrap, gateway_io, multi
from xdist import dsession, newhooks, remote, workermanage
from xdist.scheduler import Scheduling

from runner.engine.fleet import this_machine_alone
from runner.engine.scheduling import TurnScheduling
from runner.engine.xdist import FleetSession
from tests.samples import ROOT

SIGNATURES: dict[Callable[..., object], str] = {
    dsession.DSession.worker_workerready: "self, node, workerinfo",
    dsession.DSession.worker_workerfinished: "self, node",
    dsession.DSession.worker_internal_error: "self, node, formatted_error",
    dsession.DSession.worker_errordown: "self, node, error",
    dsession.DSession.worker_testreport: "self, node, rep",
    dsession.DSession.worker_collectionfinish: "self, node, ids",
    dsession.DSession.handle_crashitem: "self, nodeid, worker",
    dsession.DSession.triggershutdown: "self",
    dsession.DSession.loop_once: "self",
    workermanage.NodeManager.__init__: "self, config, specs, defaultchdir",
    workermanage.NodeManager.setup_node: "self, spec, putevent",
    workermanage.WorkerController.send_runtest_some: "self, indices",
    workermanage.WorkerController.shutdown: "self",
    workermanage.WorkerController.ensure_teardown: "self",
    gateway_io.Popen2IOMaster.kill: "self",
    gateway_io.Popen2IOMaster.wait: "self",
    gateway_base.Popen2IO.__init__: "self, outfile, infile, execmodel",
    gateway_io.popen_args: "spec",
    gateway_io.ssh_args: "spec",
    gateway_bootstrap.bootstrap: "io, spec",
    multi.Group._register: "self, gateway",
}


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__qualname__)
def test_what_is_called_or_replaced_takes_what_it_took(function: Callable[..., object]) -> None:
    assert ", ".join(inspect.signature(function).parameters) == SIGNATURES[function]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        # an event is a name and keyword arguments, and calls a method of that name
        (
            dsession.DSession.loop_once,
            ("self.queue.get", '"worker_" + callname', "self._active_nodes"),
        ),
        (dsession.DSession.__init__, ("self.queue", "self.shuttingdown", "self.sched", "self._active_nodes")),
        (dsession.DSession.pytest_sessionfinish, ("teardown_nodes()",)),
        (dsession.DSession.worker_testreport, ("rep.node = node", "pytest_runtest_logreport")),
        (workermanage.NodeManager.teardown_nodes, ("self.group.terminate(self.EXIT_TIMEOUT)",)),
        (workermanage.NodeManager.setup_node, ("self.group.makegateway(spec)", "node.setup()")),
        (workermanage.WorkerController.setup, ("pytest_configure_node", "self.workerinput", "self.nodemanager.roots")),
        # a worker runs an item only when it knows the next one: see scheduling.py
        (remote.WorkerInteractor.run_one_test, ("self.torun.get()", "nextitem")),
    ],
    ids=lambda it: it.__qualname__ if callable(it) else "",
)
def test_what_is_relied_on_is_still_how_they_work(function: Callable[..., object], words: tuple[str, ...]) -> None:
    source = inspect.getsource(function)
    assert [word for word in words if word not in source] == []


def test_the_scheduling_has_all_that_xdist_asks_for() -> None:
    public = {name for name in vars(Scheduling) if not name.startswith("_")}
    assert public
    assert {name for name in public if not hasattr(TurnScheduling, name)} == set()


def test_every_event_has_its_handler() -> None:
    ours = {name for name in vars(FleetSession) if name.startswith("worker_")}
    added = {"worker_connected", "worker_unreachable", "worker_beat"}
    assert added <= ours
    assert not [name for name in added if hasattr(dsession.DSession, name)]
    assert [name for name in ours - added if not hasattr(dsession.DSession, name)] == []
    assert hasattr(newhooks, "pytest_xdist_make_scheduler")


def test_their_versions_are_bounded() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    bounded = {it.split(">=")[0] for it in dependencies if ">=" in it and ",<" in it}
    assert bounded >= {"pytest-xdist", "execnet"}


@pytest.mark.parametrize(("package", "file"), [("xdist", "xdist.py"), ("execnet", "gateways.py")])
def test_the_private_names_of_each_stand_in_one_file(package: str, file: str) -> None:
    files = {path.name: path.read_text() for path in (ROOT / "runner").rglob("*.py")}
    imports = re.compile(rf"^(from|import) {package}\b", re.MULTILINE)
    assert {name for name, text in files.items() if imports.search(text)} == {file}


@pytest.mark.parametrize(("error", "why"), [(OSError("no way"), "no way"), (KeyError(), "KeyError")])
def test_whatever_keeps_a_worker_from_coming_is_told_to_the_session(error: Exception, why: str) -> None:
    def setup_node(*_: object) -> None:
        raise error

    host, place, told = this_machine_alone(1).hosts[0], object(), SimpleQueue[object]()
    session: Any = SimpleNamespace(
        _coming={place: host},
        _numbers=count(),
        _announcing=lambda _: None,
        nodemanager=SimpleNamespace(setup_node=setup_node),
        queue=told,
    )
    FleetSession._connect(session, host, [place])
    assert told.get_nowait() == ("unreachable", {"place": place, "why": why})
