"""Is the other side alive? Every worker is asked each second, and answers from a thread of its own.

ssh notices a network that is gone; this also notices a worker that is stopped, and, on the worker's side, a controller
that cannot be reached: a worker of another machine then ends itself, and what it started ends with it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

PULSE_KEY = "runner_pulse"  # an execnet channel, in xdist's workerinput
_EVERY_S = 1.0
_LATE = 3.0  # times _EVERY_S: then it was this process that slept


@dataclass(slots=True)
class Pulses:
    """The controller's side: a channel to each worker, and when it was last heard."""

    silence_s: float
    on_silence: Callable[[Any], None]  # with the node
    on_beat: Callable[[], None]  # after each round of questions
    clock: Callable[[], float] = time.monotonic
    _channels: dict[Any, Any] = field(default_factory=dict)  # node -> channel
    _heard: dict[Any, float] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)

    def prepare(self, node: Any) -> None:
        """Give the worker its end. It is asked only from `watch` on: until then it may be busy starting."""
        channel = node.gateway.newchannel()
        channel.setcallback(lambda _: self._hear(node))
        node.workerinput[PULSE_KEY] = channel
        self._channels[node] = channel

    def watch(self, node: Any) -> None:
        self._heard[node] = self.clock()

    def forget(self, node: Any) -> None:
        self._heard.pop(node, None)
        self._channels.pop(node, None)

    def start(self) -> None:
        threading.Thread(target=self._go, name="pulses", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def _hear(self, node: Any) -> None:
        if node in self._heard:
            self._heard[node] = self.clock()

    def _go(self) -> None:
        asked = self.clock()
        while not self._ended.wait(_EVERY_S):
            now = self.clock()
            if now - asked > _LATE * _EVERY_S:  # stopped and continued, or out of processor time: nobody could answer
                self._heard.update(dict.fromkeys(list(self._heard), now))
            asked = now
            for node, heard in list(self._heard.items()):
                if now - heard > self.silence_s:
                    self.forget(node)
                    self.on_silence(node)
                elif channel := self._channels.get(node):
                    with suppress(OSError):  # xdist learns of it in its own way
                        channel.send(None)
            self.on_beat()


def answer(channel: Any, *, silence_s: float | None, last: Callable[[], None]) -> None:
    """The worker's side. With `silence_s`, this process ends when it is not asked for so long; `last` tidies up."""
    asked = [time.monotonic()]

    def beat(_: object) -> None:
        asked[0] = time.monotonic()
        with suppress(OSError):
            channel.send(None)

    channel.setcallback(beat)
    if silence_s is not None:
        threading.Thread(target=_end_when_silent, args=(asked, silence_s, last), name="pulse", daemon=True).start()


def _end_when_silent(asked: list[float], silence_s: float, last: Callable[[], None]) -> None:
    while time.monotonic() - asked[0] < silence_s:
        time.sleep(_EVERY_S)
    last()
    os.kill(os.getpid(), signal.SIGKILL)  # guests end with their worker: runner/process.py
