# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Container images, and a registry on 127.0.0.1 that has them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
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


Put = Callable[[str, bytes], dict[str, object]]  # keeps something of a type: how a document names it


def index_of(images: Mapping[str, list[bytes]], put: Put, variables: Sequence[str] = ()) -> dict[str, object]:
    """An index with the image of each architecture; whatever it names is put away first."""
    manifests = []
    for arch, layers in images.items():
        manifest = json.dumps(_manifest(arch, layers, put, variables)).encode()
        named = put(f"{_TYPE}.manifest.v1+json", manifest)
        manifests.append({**named, "platform": {"architecture": arch, "os": "linux"}})
    return {"schemaVersion": 2, "mediaType": f"{_TYPE}.index.v1+json", "manifests": manifests}


def _manifest(arch: str, layers: list[bytes], put: Put, variables: Sequence[str]) -> dict[str, object]:
    packed = [gzip.compress(content, 1, mtime=0) for content in layers]
    digests = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in layers]
    rootfs = {"type": "layers", "diff_ids": digests}
    config = {"architecture": arch, "os": "linux", "rootfs": rootfs, "config": {"Env": list(variables)}}
    return {
        "schemaVersion": 2,
        "mediaType": f"{_TYPE}.manifest.v1+json",
        "config": put(f"{_TYPE}.config.v1+json", json.dumps(config).encode()),
        "layers": [put(f"{_TYPE}.layer.v1.tar+gzip", content) for content in packed],
    }


def layout(folder: Path, tag: str, images: Mapping[str, list[bytes]], variables: Sequence[str] = ()) -> Path:
    """A new folder with the index of images under a tag, without one for a single image."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(kind: str, content: bytes) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

    index = index_of(images, put, variables)
    if tag:
        named = put(f"{_TYPE}.index.v1+json", json.dumps(index).encode())
        index["manifests"] = [{**named, "annotations": {"org.opencontainers.image.ref.name": tag}}]
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


class Registry:
    """Read-only, as far as pulling needs it: docs.docker.com's and the OCI's distribution specification."""

    def __init__(self, web: Web, home: Path) -> None:
        self.web = web
        self.host = web.address.removeprefix("http://")
        web.files["v2/"] = b"{}"
        settings = home / ".config/containers/registries.conf"
        settings.parent.mkdir(parents=True)
        settings.write_text(f'[[registry]]\nlocation = "{self.host}"\ninsecure = true\n')

    def push(self, name: str, tag: str, images: Mapping[str, list[bytes]], variables: Sequence[str] = ()) -> str:
        """An index with the image of each architecture. The name that pulls it."""

        def put(kind: str, content: bytes) -> dict[str, object]:
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            manifest = kind.endswith(("manifest.v1+json", "index.v1+json"))
            for reference in (digest, tag) if kind.endswith("index.v1+json") else (digest,):
                path = f"v2/{name}/{'manifests' if manifest else 'blobs'}/{reference}"
                self.web.files[path] = content
                self.web.types[path] = kind if manifest else "application/octet-stream"
            return {"mediaType": kind, "digest": digest, "size": len(content)}

        put(f"{_TYPE}.index.v1+json", json.dumps(index_of(images, put, variables)).encode())
        return f"{self.host}/{name}:{tag}"
