# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The keys of one guest: made for it, gone with it. The guest gets its host key and our public key, nothing else."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


@dataclass(frozen=True, slots=True)
class Keys:
    """Ours, as an OpenSSH private key; the guest's, as the blob that its ssh server must show."""

    client_private: str
    host_public: bytes


def make_keys(folder: Path) -> Keys:
    """Make both key pairs; `folder` (0700) gets the guest's part: `host` in dropbear's format and `authorized_keys`."""
    client, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    folder.mkdir(mode=0o700, parents=True)
    _write(folder / "host", _dropbear_private(host))
    _write(folder / "authorized_keys", client.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n")
    private = client.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return Keys(private.decode(), _strings(b"ssh-ed25519", _raw_public(host)))


def leave_key(keys: Keys, folder: Path, port: int) -> tuple[str, ...]:
    """Write our key and the guest's into `folder`; the ssh command that uses them, and nothing of the user's own."""
    key, known = folder / "id", folder / "known_hosts"
    _write(key, keys.client_private.encode())
    _write(known, f"[127.0.0.1]:{port} ssh-ed25519 {base64.b64encode(keys.host_public).decode()}\n".encode())
    options = (f"UserKnownHostsFile={known}", "IdentitiesOnly=yes", "LogLevel=ERROR")
    words = ("ssh", "-F", "none", "-i", str(key), *(word for option in options for word in ("-o", option)))
    return (*words, "-p", str(port), "root@127.0.0.1")


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _dropbear_private(key: Ed25519PrivateKey) -> bytes:
    """dropbear's signkey.c: the key's name, then seed and public key, 32 bytes each, in one string."""
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return _strings(b"ssh-ed25519", seed + _raw_public(key))


def _raw_public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _strings(*parts: bytes) -> bytes:
    """RFC 4251, section 5: each string after its length."""
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)
