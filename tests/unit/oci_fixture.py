# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Container images, and a registry on 127.0.0.1 that has them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tests.integration.web_fixture import Web

_TYPE = "application/vnd.oci.image"


def member(
    name: str, content: bytes = b"", *, kind: bytes = tarfile.REGTYPE, to: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, to
    return info, content


def link(name: str, to: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, kind=tarfile.SYMTYPE, to=to)


def layer(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def files_layer(files: Mapping[str, bytes]) -> bytes:
    return layer(*(member(name, content) for name, content in files.items()))


def on_disk(folder: Path, *layers: bytes) -> list[Path]:
    paths = [folder / f"layer-{number}" for number in range(len(layers))]
    for path, content in zip(paths, layers, strict=True):
        path.write_bytes(content)
    return paths


class Registry:
    """Read-only, as far as pulling needs it: docs.docker.com's and the OCI's distribution specification."""

    def __init__(self, web: Web, home: Path) -> None:
        self.web = web
        self.host = web.address.removeprefix("http://")
        web.files["v2/"] = b"{}"
        settings = home / ".config/containers/registries.conf"
        settings.parent.mkdir(parents=True)
        settings.write_text(f'[[registry]]\nlocation = "{self.host}"\ninsecure = true\n')

    def push(self, name: str, tag: str, images: Mapping[str, list[bytes]]) -> str:
        """An index with the image of each architecture. The name that pulls it."""
        manifests = []
        for arch, layers in images.items():
            digest, size = self._manifest(name, "", self._image(name, arch, layers))
            manifests.append(
                {
                    "mediaType": f"{_TYPE}.manifest.v1+json",
                    "digest": digest,
                    "size": size,
                    "platform": {"architecture": arch, "os": "linux"},
                }
            )
        index = {"schemaVersion": 2, "mediaType": f"{_TYPE}.index.v1+json", "manifests": manifests}
        self._manifest(name, tag, index)
        return f"{self.host}/{name}:{tag}"

    def _image(self, name: str, arch: str, layers: list[bytes]) -> dict[str, object]:
        packed = [gzip.compress(content, mtime=0) for content in layers]
        digests = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in layers]
        config = {"architecture": arch, "os": "linux", "rootfs": {"type": "layers", "diff_ids": digests}}
        return {
            "schemaVersion": 2,
            "mediaType": f"{_TYPE}.manifest.v1+json",
            "config": self._blob(name, f"{_TYPE}.config.v1+json", json.dumps(config).encode()),
            "layers": [self._blob(name, f"{_TYPE}.layer.v1.tar+gzip", content) for content in packed],
        }

    def _blob(self, name: str, kind: str, content: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.web.files[f"v2/{name}/blobs/{digest}"] = content
        return {"mediaType": kind, "digest": digest, "size": len(content)}

    def _manifest(self, name: str, tag: str, document: dict[str, object]) -> tuple[str, int]:
        content = json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        for reference in filter(None, (digest, tag)):
            path = f"v2/{name}/manifests/{reference}"
            self.web.files[path] = content
            self.web.types[path] = str(document["mediaType"])
        return digest, len(content)
