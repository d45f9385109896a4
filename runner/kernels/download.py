# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Files from an HTTP server: against a deadline, tried again when that can help, never left behind in part.

What comes is as hostile as any network: a caller names the digest of a file, or checks a signature over the text, with
gpgv and a file of trusted keys.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar, cast
from urllib.parse import quote, urlsplit

from runner import __version__, userfile
from runner.caches import disk_fault
from runner.errors import InfraError, UserError
from runner.model import PinnedFile
from runner.model.deadline import Deadline
from runner.process import run
from runner.steps import step

if TYPE_CHECKING:
    import email.message
    import http.client
    import urllib.error
    import urllib.request

log = logging.getLogger(__name__)

_ADDRESS = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(?:/[A-Za-z0-9._~%+=:@/-]*)?")
_TRIES = 5
PAUSE_S = 1.0  # before the second try; doubled for each further one
_LONGEST_PAUSE_S = 60.0  # also where a server asks for more
_SILENCE_S = 30.0  # a server that says nothing for so long is given up
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_TEXT_LIMIT = 16 << 20  # bytes; an index or a list of checksums is smaller
_CHUNK = 1 << 18
_UNKNOWN_SIZE = 1 << 30  # bytes; no kernel's package is larger

_ARMOR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+: [^\r\n]*\r?\n)*\r?\n"
    rb"([A-Za-z0-9+/=\s]+?)(?:\r?\n=[A-Za-z0-9+/]{4})?\s*-----END"  # the checksum may be missing
)
_GOOD = re.compile(
    r"^\[GNUPG:\] GOODSIG .*\n(?:\[GNUPG:\] .*\n)*?\[GNUPG:\] VALIDSIG .*\b([0-9A-F]{40})$", re.MULTILINE
)
_BAD = re.compile(r"^\[GNUPG:\] BADSIG ", re.MULTILINE)

_Result = TypeVar("_Result")


class NotThere(InfraError):
    """The server is there and does not have it (404, 410)."""


class _PassingError(Exception):
    """May be gone at the next try. `wait_s` is what the server asked for, 0 if it did not."""

    def __init__(self, what: str, wait_s: float = 0) -> None:
        super().__init__(what)
        self.wait_s = wait_s


def server_from(variable: str, default: str, environ: Mapping[str, str] = os.environ) -> WebServer:
    """The server that an environment variable names. Raises UserError when it is no address."""
    base = environ.get(variable) or default
    if not _ADDRESS.fullmatch(base):
        raise UserError(f"{variable}={base!r} is not an address", hint=f"like {default}")
    return WebServer(base.rstrip("/"), variable)


@dataclass(frozen=True, slots=True)
class WebServer:
    """`base` has no slash at its end. Paths are relative to it. `variable` may name another server."""

    base: str
    variable: str = ""

    def text(self, path: str, *, deadline: Deadline, limit_bytes: int = _TEXT_LIMIT) -> bytes:
        """A small file. Raises NotThere or another InfraError."""

        def read(answer: http.client.HTTPResponse) -> bytes:
            content = bytearray()
            for chunk in _chunks(answer, deadline):
                content += chunk
                if len(content) > limit_bytes:
                    raise InfraError(f"{self._url(path)} is longer than {limit_bytes} bytes")
            return bytes(content)

        return self._asked("GET", path, read, deadline)

    def size(self, path: str, *, deadline: Deadline) -> int:
        """How long the server says that a file is; 0 when it does not say. Raises NotThere or another InfraError."""
        return self._asked("HEAD", path, lambda answer: _length(answer) or 0, deadline)

    def file(self, path: str, target: Path, *, sha256: str, size_bytes: int, deadline: Deadline) -> None:
        """Fetch a file whose digest is known. `target` appears only when it is whole and right.

        A file of another digest is fetched once more: a proxy may keep a broken one. Raises NotThere or InfraError.
        """
        part = target.with_name(f".{target.name}.part")

        def digest_of(answer: http.client.HTTPResponse) -> str:
            """Of what came, which is in `part`. Reading stops behind the size that is expected."""
            hashed, length = hashlib.sha256(), 0
            name, total = path.rpartition("/")[2], _length(answer) or 0
            with _written(part) as write, step(f"fetching {name}", total) as reach:
                for chunk in _chunks(answer, deadline):
                    length += len(chunk)
                    if length > size_bytes:
                        raise InfraError(f"{self._url(path)} is longer than the {size_bytes} bytes that it should have")
                    hashed.update(chunk)
                    write(chunk)
                    reach(length)
            return hashed.hexdigest()

        try:
            for last in (False, True):
                digest = self._asked("GET", path, digest_of, deadline)
                if digest == sha256:
                    part.replace(target)
                    return
                fault = f"{self._url(path)}: sha256 is {digest} instead of {sha256}"
                if last:
                    raise InfraError(fault, hint="the server, or something before it, serves another file")
                log.warning("fetching again: %s", fault)
        finally:
            part.unlink(missing_ok=True)

    def lost(self, files: Iterable[PinnedFile], *, deadline: Deadline) -> str:
        """Which of these it no longer has, as the end of a sentence; empty when it has all. Raises InfraError."""
        for file in files:
            try:
                self.size(file.where, deadline=deadline)
            except NotThere:
                return f"{file.name} is not there any more"
        return ""

    def pinned(self, files: Iterable[PinnedFile], folder: Path, *, deadline: Deadline) -> Iterator[Path]:
        """Fetch these into a folder, each checked against its digest. Raises NotThere or another InfraError."""
        for file in files:
            target, size = folder / file.name, file.size_bytes or _UNKNOWN_SIZE
            self.file(file.where, target, sha256=file.sha256, size_bytes=size, deadline=deadline)
            yield target

    @contextmanager
    def _answer(self, method: str, path: str, deadline: Deadline) -> Iterator[http.client.HTTPResponse]:
        # late: ssl and what urllib opens with take longer than all else that a command without a download does here
        import http.client  # noqa: PLC0415
        import ssl  # noqa: PLC0415
        import urllib.error  # noqa: PLC0415
        import urllib.request  # noqa: PLC0415

        headers = {"User-Agent": f"kfunc-runner/{__version__}", "Cache-Control": "no-cache"}
        request = urllib.request.Request(self._url(path), method=method, headers=headers)  # noqa: S310  it is HTTP
        patience = max(0.1, min(_SILENCE_S, deadline.remaining_s))
        try:
            opened = opener().open(request, timeout=patience)
            with cast("http.client.HTTPResponse", opened) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(path, error) from None
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise self._failed(path, f"its certificate is not valid: {reason.verify_message}") from None
            raise _PassingError(str(reason) or type(reason).__name__) from None

    def _refused(self, path: str, error: urllib.error.HTTPError) -> Exception:
        if error.code in (404, 410):
            return NotThere(f"{self._url(path)} is not there ({error.code})", hint=self._hint)
        if error.code in _PASSING:
            return _PassingError(f"{error.code} {error.reason}", _asked_wait_s(error.headers))
        return self._failed(path, f"{error.code} {error.reason}")

    def _asked(
        self, method: str, path: str, take: Callable[[http.client.HTTPResponse], _Result], deadline: Deadline
    ) -> _Result:
        """What `take` makes of the answer. Asks again where that can help."""
        log.info("%s", self._url(path))
        for number in range(_TRIES):
            if deadline.expired:
                raise self._failed(path, f"{deadline.what} is over")
            try:
                with self._answer(method, path, deadline) as answer:
                    return take(answer)
            except _PassingError as error:
                last = error
            if number + 1 < _TRIES:
                wait_s = min(_LONGEST_PAUSE_S, max(last.wait_s, PAUSE_S * 2**number))
                if wait_s >= deadline.remaining_s:
                    raise self._failed(path, f"{last}; {deadline.what} leaves no time for another try") from None
                log.info("%s: %s; again in %.1f s", self._url(path), last, wait_s)
                time.sleep(wait_s)
        raise self._failed(path, f"{last}, {_TRIES} times")

    def _failed(self, path: str, why: str) -> InfraError:
        return InfraError(f"cannot fetch {self._url(path)}: {why}", hint=self._hint)

    @property
    def _hint(self) -> str:
        return "check the network and the proxy" + (f"; {self.variable} names another server" if self.variable else "")

    def _url(self, path: str) -> str:
        address, mark, query = path.partition("?")
        return f"{self.base}/{quote(address, safe='/:@~')}{mark}{query}"


def opener() -> urllib.request.OpenerDirector:
    """What opens addresses. Follows redirects, but never from TLS to plain HTTP: someone on the way could have chosen
    the target. Raises InfraError then."""
    import urllib.request  # noqa: PLC0415  late, as above

    class Redirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(  # noqa: PLR0917  as urllib calls it
            self,
            req: urllib.request.Request,
            fp: IO[bytes],
            code: int,
            msg: str,
            headers: http.client.HTTPMessage,
            newurl: str,
        ) -> urllib.request.Request | None:
            target = urlsplit(newurl).scheme
            if target not in ("http", "https") or (req.type == "https" and target != "https"):
                raise InfraError(f"{req.full_url} redirects to {newurl}, which is not followed")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    return urllib.request.build_opener(Redirects())


@contextmanager
def _written(part: Path) -> Iterator[Callable[[bytes], object]]:
    """Writes a file. A disk that is full is this machine's fault, and no reason to ask the server again."""

    def write(chunk: bytes) -> None:
        try:
            stream.write(chunk)
        except OSError as error:
            raise disk_fault(error, f"cannot write {part}") from error

    try:
        stream = part.open("wb", buffering=0)
    except OSError as error:
        raise disk_fault(error, f"cannot write {part}") from error
    with stream:
        yield write


def _chunks(answer: http.client.HTTPResponse, deadline: Deadline) -> Iterator[bytes]:
    """What comes, as it comes. http.client itself takes a cut answer for a whole one."""
    told, got = _length(answer), 0
    while chunk := answer.read1(_CHUNK):
        got += len(chunk)
        if deadline.expired:
            raise InfraError(
                f"{answer.url}: {got} bytes came within {deadline.what}, and not all",
                hint="repeat the command, or give it more time: `limits` in matrix.yaml",
            )
        yield chunk
    if told is not None and got != told:
        raise _PassingError(f"cut: {got} of {told} bytes")


def _length(answer: http.client.HTTPResponse) -> int | None:
    text = answer.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _asked_wait_s(headers: email.message.Message) -> float:
    """Retry-After, where it is a number of seconds."""
    text = str(headers.get("Retry-After", ""))
    return float(text) if re.fullmatch(r"\d{1,6}", text, re.ASCII) else 0.0


# --- signatures -----------------------------------------------------------------------------------------------------


def signed_text(document: bytes, keyring: Path, what: str, *, deadline: Deadline) -> bytes:
    """The signed text of a document that contains its signature (InRelease). Raises InfraError."""
    with tempfile.TemporaryDirectory(prefix="signed-") as name:
        folder = Path(name)
        (folder / "document").write_bytes(document)
        _check(folder, keyring, ["--output", str(folder / "text"), str(folder / "document")], what, deadline)
        return (folder / "text").read_bytes()


def check_detached(content: bytes, signature: bytes, keyring: Path, what: str, *, deadline: Deadline) -> str:
    """The fingerprint of the key that made a detached signature. Raises InfraError when none is good."""
    with tempfile.TemporaryDirectory(prefix="signed-") as name:
        folder = Path(name)
        (folder / "content").write_bytes(content)
        (folder / "signature").write_bytes(signature)
        return _check(folder, keyring, [str(folder / "signature"), str(folder / "content")], what, deadline)


def _check(folder: Path, keyring: Path, files: list[str], what: str, deadline: Deadline) -> str:
    """One good signature is enough: archives sign with their next key as well, which not every host has yet."""
    keys = folder / "keys.gpg"
    try:
        keys.write_bytes(_binary(userfile.read(keyring)))
    except UserError as error:
        raise InfraError(f"the file of keys {error.what}") from None
    argv = ["gpgv", "--homedir", str(folder), "--weak-digest", "SHA1", "--status-fd", "1", "--keyring", str(keys)]
    done = run([*argv, *files], deadline=deadline, env={"LC_ALL": "C.UTF-8"}, check=False)
    good = _GOOD.search(done.stdout)
    if not good or _BAD.search(done.stdout):
        said = [line.removeprefix("gpgv: ") for line in done.stderr.splitlines() if line.strip()]
        raise InfraError(
            f"{what} has no good signature of a key in {keyring}:\n" + "\n".join(said[-5:]),
            hint="it was changed on the way or on the server, or that file lacks the key that signs it",
        )
    return good[1]


def _binary(keys: bytes) -> bytes:
    """Keys as gpgv wants them; key servers hand them out as text."""
    blocks = _ARMOR.findall(keys)
    try:
        return b"".join(base64.b64decode(block) for block in blocks) or keys
    except binascii.Error:
        return keys  # gpgv will say what is wrong
