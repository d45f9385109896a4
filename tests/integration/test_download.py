# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Downloads: what is whole and right comes, everything else leaves nothing behind."""

from __future__ import annotations

import errno
import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from runner.errors import InfraError, UserError
from runner.kernels.download import NotThere, WebServer, opener, server_from
from runner.model.deadline import Deadline
from tests.integration.web_fixture import Fault, Web
from tests.samples import soon

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def fetch(web: Web, folder: Path, *, deadline: Deadline | None = None, size_bytes: int = len(CONTENT)) -> bytes:
    target = folder / "got.deb"
    server = WebServer(web.address, "RUNNER_TEST")
    server.file("a/b.deb", target, sha256=SHA256, size_bytes=size_bytes, deadline=deadline or soon())
    return target.read_bytes()


@pytest.fixture(autouse=True)
def content(web: Web) -> None:
    web.files["a/b.deb"] = CONTENT


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [Fault(status=503), Fault(status=429, headers={"Retry-After": "0"})],
        [Fault(cut_at=100), Fault(cut_at=0)],
        [Fault(content=b"x" * len(CONTENT))],  # another file of the same length, once
        [Fault(status=302, headers={"Location": "/a/c.deb"})],
    ],
    ids=["at once", "busy", "cut", "wrong once", "redirect"],
)
def test_it_comes_in_the_end(web: Web, tmp_path: Path, faults: list[Fault]) -> None:
    web.files["a/c.deb"] = CONTENT
    web.fail("a/b.deb", *faults)
    assert fetch(web, tmp_path) == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["got.deb"]


@pytest.mark.parametrize(
    ("faults", "message", "requests"),
    [
        ([Fault(status=404)], "is not there", 1),
        ([Fault(status=403)], "403", 1),
        ([Fault(status=503)] * 9, "503 .*5 times", 5),
        ([Fault(cut_at=7)] * 9, "cut: 7 of 10240 bytes, 5 times", 5),
        ([Fault(content=b"evil")] * 9, f"instead of {SHA256}", 2),
        ([Fault(content=CONTENT + b"more")] * 9, "longer than the 10240 bytes", 1),
        ([Fault(status=302, headers={"Location": "file:///etc/passwd"})], "not allowed", 1),
        ([Fault(status=302, headers={"Location": "/a/b.deb"})] * 50, "302", 5),
    ],
    ids=["404", "403", "busy", "cut", "wrong", "longer", "file", "loop"],
)
def test_it_does_not_come_and_nothing_stays(
    web: Web, tmp_path: Path, faults: list[Fault], message: str, requests: int
) -> None:
    web.fail("a/b.deb", *faults)
    with pytest.raises(InfraError, match=message) as caught:
        fetch(web, tmp_path)
    assert isinstance(caught.value, NotThere) == ("(404)" in str(caught.value))
    assert len(web.asked) == requests
    assert not list(tmp_path.iterdir())


def test_a_slow_server_ends_at_the_deadline(web: Web, tmp_path: Path) -> None:
    web.fail("a/b.deb", Fault(drip_s=0.02))
    with pytest.raises(InfraError, match=r"bytes came within the limit of 0\.3 s, and not all"):
        fetch(web, tmp_path, deadline=Deadline.after(0.3, "the limit"))
    assert not list(tmp_path.iterdir())


def test_a_server_that_asks_for_more_time_than_there_is_ends_it_at_once(web: Web, tmp_path: Path) -> None:
    web.fail("a/b.deb", Fault(status=503, headers={"Retry-After": "500"}))
    with pytest.raises(InfraError, match=r"503 .*leaves no time for another try"):
        fetch(web, tmp_path)


def test_nobody_listens(tmp_path: Path, web: Web) -> None:
    with pytest.raises(InfraError, match="refused, 5 times") as caught:
        WebServer("http://127.0.0.1:9", "RUNNER_TEST").text("x", deadline=soon())
    assert "RUNNER_TEST names another server" in caught.value.hint


def test_a_full_disk_is_no_fault_of_the_server(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(InfraError, match=r"cannot write .*No space left"):
        fetch(web, tmp_path)
    assert len(web.asked) == 1


def test_a_text_has_a_limit_and_a_size_is_what_the_server_says(web: Web) -> None:
    server = WebServer(web.address)
    assert server.text("a/b.deb", deadline=soon()) == CONTENT
    assert server.size("a/b.deb", deadline=soon()) == len(CONTENT)
    with pytest.raises(InfraError, match="longer than 100 bytes"):
        server.text("a/b.deb", deadline=soon(), limit_bytes=100)
    assert web.asked == ["GET a/b.deb", "HEAD a/b.deb", "GET a/b.deb"]


def test_tls_is_never_left() -> None:
    import urllib.request

    handlers = opener().handlers  # type: ignore[attr-defined]
    (redirects,) = (it for it in handlers if isinstance(it, urllib.request.HTTPRedirectHandler))
    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(InfraError, match="not followed"):
        redirects.redirect_request(request, None, 302, "", Message(), "http://example.org/a")  # type: ignore[arg-type]


def test_another_server_can_be_named() -> None:
    assert server_from("V", "https://example.org/x", {}).base == "https://example.org/x"
    assert server_from("V", "https://example.org/x", {"V": "http://127.0.0.1:1/y/"}).base == "http://127.0.0.1:1/y"
    for wrong in ("ftp://x", "/etc", "http://a b", "http://x?y", "http://ä"):
        with pytest.raises(UserError, match="not an address"):
            server_from("V", "https://example.org", {"V": wrong})


def test_a_certificate_that_nobody_vouches_for_is_not_tried_again(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    certificate = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        with pytest.raises(InfraError, match="its certificate is not valid"):
            WebServer(f"https://127.0.0.1:{server.server_address[1]}").text("x", deadline=soon())
        server.shutdown()
        thread.join()
