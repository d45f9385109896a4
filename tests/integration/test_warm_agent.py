# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The agent that waits for questions, and the connection to it: both ends, over a socket in the place of a port."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.agent.warm import Served
from runner.guest.channel import Channel
from runner.guest.ssh import MAX_LINE, ConnectionLost, ConnectionSilent
from runner.model.deadline import Deadline


class Answering:
    """In the place of what has imported every kind of probe: prints what it was given."""

    def ask(self, document: dict[str, object], folder: str) -> None:
        how = document.get("how", "")
        if how == "killed":
            os.write(1, b"the beginning of a line")
            os.kill(os.getpid(), 9)
        if how == "fails":
            raise OSError("no such thing")
        if how == "hangs":
            time.sleep(60)
        if how == "signals":
            caught = (Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2] for pid in (os.getppid(), "self"))
            os.write(1, b"".join(b"%d" % (int(mask[:17], 16) >> signal.SIGCHLD - 1 & 1) for mask in caught))
        os.write(1, b"hello\n" + Path(folder, "program.o").read_bytes() + b"\n")


def serve(port: socket.socket, folder: str) -> None:
    served = Served(port.fileno(), Answering(), folder)  # type: ignore[arg-type]
    served.done()
    while True:
        served.serve()


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Channel]:
    ours, theirs = socket.socketpair()
    process = multiprocessing.get_context("fork").Process(target=serve, args=(theirs, str(tmp_path)))
    process.start()
    theirs.close()
    channel = Channel(ours)
    try:
        channel.ready(soon())
        yield channel
    finally:
        channel.close()
        process.kill()
        process.join()


def soon(seconds: float = 20) -> Deadline:
    return Deadline.after(seconds, "the limit")


def asked(channel: Channel, document: str, silence: Callable[[], Deadline] = soon) -> list[str]:
    files = {"asks.json": document.encode(), "program.o": b"its bytes"}
    return list(channel.ask(files, silence=silence, deadline=soon()))


def test_each_question_is_asked_by_a_child_and_what_becomes_of_it_does_not_matter(channel: Channel) -> None:
    assert asked(channel, "{}") == ["hello", "its bytes"]
    assert asked(channel, '{"how": "killed"}') == ["the beginning of a line"]
    assert asked(channel, '{"how": "fails"}') == [""]
    assert channel.run("cat agent.err", deadline=soon()).returncode != 0  # it is in its own folder
    assert asked(channel, "{}") == ["hello", "its bytes"]


def test_who_asks_has_a_parent_to_which_a_signal_can_be_sent(channel: Channel) -> None:
    """As an ssh server: of what is ignored none is pending. Whoever asks has no handler of its own."""
    assert asked(channel, '{"how": "signals"}')[0].startswith("10")


def test_a_command_has_its_input_its_output_and_its_status(channel: Channel) -> None:
    done = channel.run("cat; echo wrong >&2; exit 3", deadline=soon(), stdin=b"x" * 200_000)
    assert (done.returncode, done.stdout) == (3, "x" * 200_000 + "wrong\n")
    assert channel.run("true", deadline=soon()).returncode == 0


def test_what_says_nothing_is_not_waited_for(channel: Channel) -> None:
    with pytest.raises(ConnectionSilent, match="sent no output within the limit of"):
        asked(channel, '{"how": "hangs"}', lambda: soon(0.2))
    with pytest.raises(ConnectionLost):  # what would come is an answer to that
        channel.run("true", deadline=soon())


@pytest.mark.parametrize(
    "said", [b'{"event": "done"\n', b'{"event": "done", "status": 0, "size": -1}\n', b"x" * (5 << 20), b""]
)
def test_a_guest_that_says_something_else_is_lost(said: bytes) -> None:
    ours, theirs = socket.socketpair()
    process = multiprocessing.get_context("fork").Process(target=theirs.sendall, args=(said,))
    process.start()
    theirs.close()
    with pytest.raises(ConnectionLost):
        Channel(ours).ready(soon())
    process.kill()
    process.join()


def test_a_command_may_print_more_without_a_line_end_than_a_line_has(channel: Channel) -> None:
    done = channel.run(f"head -c {MAX_LINE + 1} /dev/zero", deadline=soon())
    assert (done.returncode, len(done.stdout)) == (0, MAX_LINE + 1)


class Paged(Served):
    """On a port as a guest's is: it gives a page at a time."""

    def taken(self, size: int) -> bytes:
        return self._take(size)

    def _more(self) -> bytes:
        return bytes(4096)


def test_large_files_take_no_more_time_for_each_page_than_small_ones(tmp_path: Path) -> None:
    served = Paged(-1, Answering(), str(tmp_path))  # type: ignore[arg-type]
    begun = time.process_time()
    assert len(served.taken((32 << 20) + 1)) == (32 << 20) + 1
    assert len(served.taken(4095)) == 4095  # what is left of the last page
    assert time.process_time() - begun < 2
