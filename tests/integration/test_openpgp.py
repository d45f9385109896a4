# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Signatures: good ones of trusted keys, and everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import InfraError
from runner.kernels.download import check_detached, signed_text
from tests.samples import soon

DATA = Path(__file__).parents[1] / "data"
FOLDER = DATA / "mainline/v6.6/amd64"
KEY = DATA / "mainline/key.asc"  # as key servers hand it out
OTHER_KEY = DATA / "archive/keyring.gpg"
CONTENT = (FOLDER / "CHECKSUMS").read_bytes()
SIGNATURE = (FOLDER / "CHECKSUMS.gpg").read_bytes()
IN_RELEASE = (DATA / "archive/dists/trixie/InRelease").read_bytes()


def test_a_good_signature_tells_who_made_it() -> None:
    fingerprint = check_detached(CONTENT, SIGNATURE, KEY, "the list", deadline=soon())
    assert len(fingerprint) == 40


@pytest.mark.parametrize(
    ("content", "signature", "keyring", "says"),
    [
        (CONTENT + b"0" * 64 + b"  x.deb\n", SIGNATURE, KEY, "BAD signature"),
        (CONTENT, SIGNATURE, OTHER_KEY, "No public key"),
        (CONTENT, b"", KEY, "no good signature"),
        (CONTENT, b"<html>not found</html>", KEY, "no good signature"),
        (CONTENT, SIGNATURE[: len(SIGNATURE) // 2], KEY, "no good signature"),
        (CONTENT, SIGNATURE, FOLDER / "CHECKSUMS", "no good signature"),
        (CONTENT, SIGNATURE, DATA / "nonesuch.gpg", "cannot be read: No such file"),
    ],
    ids=["changed", "another key", "empty", "a page", "cut", "no keyring", "no such file"],
)
def test_anything_else_is_refused(content: bytes, signature: bytes, keyring: Path, says: str) -> None:
    with pytest.raises(InfraError, match=says):
        check_detached(content, signature, keyring, "the list", deadline=soon())


def test_only_what_is_signed_is_read() -> None:
    text = signed_text(b"Origin: Evil\n" + IN_RELEASE + b"SHA256:\n evil\n", OTHER_KEY, "it", deadline=soon())
    assert text.startswith(b"Origin: Tests\n")
    assert b"evil" not in text.lower()


def test_changed_text_is_refused() -> None:
    with pytest.raises(InfraError, match="it has no good signature"):
        signed_text(IN_RELEASE.replace(b"Suite: trixie", b"Suite: sid"), OTHER_KEY, "it", deadline=soon())
    with pytest.raises(InfraError, match="it has no good signature"):
        signed_text(b"Suite: sid\n", OTHER_KEY, "it", deadline=soon())
