# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Signatures, checked by gpgv against a file of trusted keys."""

from __future__ import annotations

import base64
import binascii
import re
import tempfile
from pathlib import Path

from runner import userfile
from runner.errors import InfraError, UserError
from runner.model.deadline import Deadline
from runner.process import run

_ARMOR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+: [^\r\n]*\r?\n)*\r?\n"
    rb"([A-Za-z0-9+/=\s]+?)(?:\r?\n=[A-Za-z0-9+/]{4})?\s*-----END"  # the checksum may be missing
)
_GOOD = re.compile(
    r"^\[GNUPG:\] GOODSIG .*\n(?:\[GNUPG:\] .*\n)*?\[GNUPG:\] VALIDSIG .*\b([0-9A-F]{40})$", re.MULTILINE
)
_BAD = re.compile(r"^\[GNUPG:\] BADSIG ", re.MULTILINE)


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
