# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A server on 127.0.0.1 that has files, and faults."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import pytest

from runner.kernels import download


@dataclass(frozen=True)
class Fault:
    """What a server does to one request instead of what it should."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None  # instead of the file
    cut_at: int | None = None  # the connection ends behind so many bytes
    drip_s: float = 0  # between bytes


@dataclass
class Web:
    """`files` by path, without a leading slash; `folders` are served as they are on disk; `faults` are used up.

    `anywhere` has files by the last part of a path. What is below a path of `elsewhere` is redirected.
    A path that ends in a slash, and has no file, is a page of links to what lies below it.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)  # Content-Type, by path
    folders: dict[str, Path] = field(default_factory=dict)
    anywhere: dict[str, Path] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    faults: dict[str, deque[Fault]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def fail(self, path: str, *faults: Fault) -> None:
        self.faults.setdefault(path, deque()).extend(faults)

    def find(self, path: str) -> bytes | None:
        if path in self.files:
            return self.files[path]
        if file := self.anywhere.get(path.rpartition("/")[2]):
            return file.read_bytes()
        for prefix, folder in self.folders.items():
            file = folder / path.removeprefix(prefix).lstrip("/")
            if path.startswith(prefix) and ".." not in path and file.is_file():
                return file.read_bytes()
        if path.endswith("/") or not path:
            names = {name.removeprefix(path).split("/")[0] + "/" for name in self.files if name.startswith(path)}
            if names:
                return "".join(f'<a href="{name}">{name}</a>\n' for name in sorted(names)).encode()
        return None


@contextmanager
def serving(web: Web) -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(self.path).lstrip("/")
            web.asked.append(f"{self.command} {path}")
            for prefix, address in web.elsewhere.items():
                if path.startswith(prefix):
                    web.fail(path, Fault(status=302, headers={"Location": address + path.removeprefix(prefix)}))
            waiting = web.faults.get(path)
            fault = waiting.popleft() if waiting else Fault()
            content = fault.content if fault.content is not None else web.find(path)
            status = fault.status if content is not None or fault.status != 200 else 404
            content = content or b""
            self.send_response(status)
            sent = {"Content-Length": str(len(content)), "Content-Type": web.types.get(path, "text/html")}
            for name, value in {**sent, **fault.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            end = len(content) if fault.cut_at is None else fault.cut_at
            if fault.drip_s:
                for place in range(end):
                    self.wfile.write(content[place : place + 1])
                    time.sleep(fault.drip_s)
            else:
                self.wfile.write(content[:end])

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *arguments: object) -> None:
            """A client that went away is what some tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        web.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """The server, without proxies and without waiting between tries."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(download, "PAUSE_S", 0.001)
    with serving(Web()) as site:
        yield site
