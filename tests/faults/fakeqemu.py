# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Takes the place of a qemu that continues a saved machine: `fakeqemu.py SCENARIO ARGUMENT...`, in the guest's folder.

Speaks QMP, and answers as a warm agent with what recorded.py has. What it does wrong, and when, is the scenario's name.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from runner.agent.warm import Served
from tests.faults import recorded
from tests.faults.fakevng import PANIC

CONSOLE = os.dup(1)  # an agent's stdout is its port


class Recorded:
    """In the place of an agent that is ready."""

    def __init__(self, scenario: str) -> None:
        self._scenario = scenario

    def ask(self, document: dict[str, Any], folder: str) -> None:
        self._say(recorded.hello())
        for ask in document["asks"]:
            announced, *answer = recorded.answers(ask["probe"])
            self._say(announced)
            if ask["probe"] == recorded.FAULTY:
                self._misbehave()
            for line in answer:
                self._say(line)
        self._say(recorded.end(ask["probe"] for ask in document["asks"]))

    def _say(self, line: str) -> None:
        os.write(1, f"{line}\n".encode())

    def _misbehave(self) -> None:
        if self._scenario == "panics-in-a-probe":
            os.write(CONSOLE, PANIC.encode())
        if self._scenario in {"panics-in-a-probe", "killed-in-a-probe"}:
            os.kill(os.getppid(), signal.SIGKILL)
            os._exit(1)
        if self._scenario == "silent-in-a-probe":
            signal.pause()
        if self._scenario == "agent-ends-early":
            os._exit(137)


class Guest(Served):
    """Changes nothing of this machine."""

    def _wake(self, request: dict[str, Any]) -> None:
        self.done()

    def _run(self, request: dict[str, Any]) -> None:
        self._take(request["stdin"])
        self.done()


def control(listener: socket.socket, scenario: str) -> None:
    connection, _ = listener.accept()
    stream = connection.makefile("rw")

    def say(**message: object) -> None:
        stream.write(json.dumps(message) + "\n")
        stream.flush()

    say(QMP={})
    for line in stream:
        command = json.loads(line)["execute"]
        if command == "migrate-incoming" and scenario == "refuses-the-state":
            os.write(CONSOLE, b"qemu-system-x86_64: Unknown savevm section or instance 'x' 0\n")
            os._exit(1)
        status = "inmigrate" if scenario == "never-loads" else "paused"
        say(**{"return": {"status": status} if command == "query-status" else {}})


def main(scenario: str) -> None:
    if scenario == "does-not-know-a-device":
        sys.exit("qemu-system-x86_64: -device i6300esb: 'i6300esb' is not a valid device model name")
    listeners = {}
    for name in ("qmp", "agent"):
        listeners[name] = socket.socket(socket.AF_UNIX)
        listeners[name].bind(name)
        listeners[name].listen()
    threading.Thread(target=control, args=(listeners["qmp"], scenario), daemon=True).start()
    port, _ = listeners["agent"].accept()
    if scenario == "agent-is-silent":
        signal.pause()
    served = Guest(port.fileno(), Recorded(scenario), str(Path.cwd()))  # type: ignore[arg-type]
    while True:
        served.serve()


if __name__ == "__main__":
    main(sys.argv[1])
