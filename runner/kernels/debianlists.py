"""A suite's list of packages below any folder of an HTTP server: signed by Debian, digests and all.

apt does the same for mirrors, and keeps some 20 MB for each list. Of a day in the past only the kernels are kept here.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
import lzma
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from debian import deb822

from runner.errors import InfraError
from runner.kernels import debian
from runner.kernels.aptroot import kernel_stanzas
from runner.kernels.archive import listed
from runner.kernels.download import NotThere, Server
from runner.kernels.mirrors import KEYRING
from runner.kernels.openpgp import signed_text
from runner.kernels.source import Means
from runner.model import Pin
from runner.model.architecture import architecture
from runner.store import write_atomically

log = logging.getLogger(__name__)

KEYRING_VARIABLE = "RUNNER_SNAPSHOT_KEYRING"  # where Debian has retired the key that signed an old list
_LIST_LIMIT = 96 << 20  # bytes, compressed; sid's has 12 MB
_UNPACK: dict[str, Callable[[bytes], bytes]] = {".xz": lzma.decompress, ".gz": gzip.decompress}


def signed_kernels(
    server: Server, folder: str, suite: str, arch: str, means: Means
) -> tuple[tuple[Pin, ...], dict[str, str]]:
    """The whole kernels of a suite, and the path of each package below `folder`, by its digest.

    None where there is no such suite, or no such architecture in it. Raises InfraError when the list has no good
    signature of Debian's, or when what the server sends is not what was signed.
    """
    place = f"{folder}/dists/{suite}"
    try:
        document = server.text(f"{place}/InRelease", deadline=means.deadline)
    except NotThere:
        return (), {}
    keyring = Path(os.environ.get(KEYRING_VARIABLE) or KEYRING)
    text = signed_text(document, keyring, f"{server.base}/{place}/InRelease", deadline=means.deadline)
    prefix = f"main/binary-{architecture(arch).debian}/Packages"
    digests = {entry["name"]: entry["sha256"] for entry in deb822.Release(text).get("SHA256", ())}
    for ending in _UNPACK:
        if digest := digests.get(prefix + ending):
            stanzas = _stanzas(server, f"{place}/{prefix}{ending}", digest, means)
            paragraphs = list(deb822.Packages.iter_paragraphs(stanzas, use_apt_pkg=False))
            paths = {paragraph["SHA256"]: paragraph["Filename"] for paragraph in paragraphs}
            return debian.kernels_of([listed(paragraph, suite) for paragraph in paragraphs], suite, arch), paths
    return (), {}


def _stanzas(server: Server, path: str, digest: str, means: Means) -> bytes:
    """The kernels' part of a list. It is kept under the digest of the whole, which the signature covers."""
    kept = means.cache / "snapshot" / f"{digest}.Packages"
    with suppress(FileNotFoundError):
        return kept.read_bytes()
    content = server.text(path, deadline=means.deadline, limit_bytes=_LIST_LIMIT)
    if (found := hashlib.sha256(content).hexdigest()) != digest:
        raise InfraError(
            f"{server.base}/{path}: sha256 is {found}, and {digest} is signed",
            hint="the server, or something before it, serves another file",
        )
    plain = _UNPACK[Path(path).suffix](content)
    stanzas = b"\n\n".join(kernel_stanzas(io.BytesIO(plain))) + b"\n"
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(kept, stanzas)
    return stanzas
