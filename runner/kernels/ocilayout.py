# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The documents of container images, and layouts of images on this machine: a folder, or an archive of one.

`skopeo copy`, buildah and docker write such layouts. Documents are hostile. https://github.com/opencontainers/image-spec
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Self

from pydantic import BaseModel, Field, ValidationError

from runner.errors import InfraError, UserError, first_of
from runner.model.deadline import Deadline

_NAME = "org.opencontainers.image.ref.name"
_LARGEST_DOCUMENT = 4 << 20  # as registries have it
_HINT = "`skopeo copy SOURCE oci:FOLDER` makes one"


class _Document(BaseModel):
    @classmethod
    def of(cls, raw: bytes, where: str) -> Self:
        """Raises InfraError for what is none."""
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            raise InfraError(f"{where}: its {cls.__name__.lower()} cannot be read: {first_of(error)}") from None


class Platform(BaseModel):
    """Docker's names, which are Go's."""

    architecture: str
    os: str = "linux"


class Blob(BaseModel):
    """Where a manifest names something by its digest."""

    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    platform: Platform | None = None
    annotations: dict[str, str] | None = None


class Manifest(_Document):
    """An image of one architecture has `layers`, an index of several has `manifests`."""

    layers: tuple[Blob, ...] = ()
    manifests: tuple[Blob, ...] = ()
    config: Blob | None = None

    @property
    def size_bytes(self) -> int:
        """Of the layers, as they are packed."""
        return sum(layer.size for layer in self.layers)


class _Settings(BaseModel):
    env: Annotated[tuple[str, ...] | None, Field(alias="Env")] = None


class Config(_Document):
    """What an image says of itself."""

    architecture: str = ""
    config: _Settings | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Its variables, as far as a process can have them."""
        pairs = (word.partition("=") for word in (self.config and self.config.env) or ())
        return {name: value for name, equals, value in pairs if name and equals and "\0" not in name + value}


@dataclass(frozen=True, slots=True)
class Layout:
    """The image that `tag` names there; without a tag the only one."""

    path: Path
    tag: str = ""

    def __str__(self) -> str:
        return str(self.path)

    def first(self, deadline: Deadline) -> bytes:  # noqa: ARG002  as of a registry
        """Its manifest, or an index of several. Raises UserError when there is none."""
        raw = self._document("index.json")
        every = Manifest.of(raw, str(self)).manifests
        tags = {(one.annotations or {}).get(_NAME, ""): one for one in every}
        if self.tag:
            if self.tag not in tags:
                known = ", ".join(sorted(filter(None, tags))) or "no tags"
                raise UserError(f"{self} has no image {self.tag}", hint=f"it has {known}")
            return self._blob(tags[self.tag].digest)
        if len(every) == 1:
            return self._blob(every[0].digest)
        if every and all(one.platform for one in every):
            return raw
        raise UserError(f"{self} has several images, or none", hint=f"PATH:TAG, of {', '.join(sorted(tags))}")

    def manifest(self, digest: str, deadline: Deadline) -> bytes:  # noqa: ARG002
        return self._blob(digest)

    def config(self, digest: str, deadline: Deadline) -> bytes:  # noqa: ARG002
        config = Manifest.of(self._blob(digest), str(self)).config
        return self._blob(config.digest) if config else b"{}"

    def source(self, digest: str, folder: Path) -> str:
        """For skopeo, which finds an image by its tag alone: a layout in the new folder `folder` with this one."""
        blobs = folder / "blobs/sha256"
        blobs.mkdir(parents=True)
        manifest = Manifest.of(raw := self._blob(digest), str(self))
        for blob in filter(None, (*manifest.layers, manifest.config)):
            with self._opened(_place(blob.digest)) as source, (folder / _place(blob.digest)).open("wb") as copy:
                shutil.copyfileobj(source, copy)
        (folder / _place(digest)).write_bytes(raw)
        kind = json.loads(raw).get("mediaType", "application/vnd.oci.image.manifest.v1+json")
        index = {"schemaVersion": 2, "manifests": [{"mediaType": kind, "digest": digest, "size": len(raw)}]}
        (folder / "index.json").write_text(json.dumps(index))
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        return f"oci:{folder}"

    def lacks(self, error: InfraError) -> bool:  # noqa: ARG002
        """Does this error mean that it has no such image?"""
        return True

    def _blob(self, digest: str) -> bytes:
        raw = self._document(_place(digest))
        if f"sha256:{hashlib.sha256(raw).hexdigest()}" != digest:
            raise InfraError(f"{self}: {digest} is not what its digest says")
        return raw

    def _document(self, name: str) -> bytes:
        with self._opened(name) as file:
            raw = file.read(_LARGEST_DOCUMENT + 1)
        if len(raw) > _LARGEST_DOCUMENT:
            raise InfraError(f"{self}: {name} has more than {_LARGEST_DOCUMENT >> 20} MiB")
        return raw

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        try:
            if self.path.is_dir():
                with (self.path / name).open("rb") as file:
                    yield file
                return
            with tarfile.open(self.path) as archive:
                member = next((it for it in archive if it.name.removeprefix("./") == name and it.isreg()), None)
                if member is None or not (inner := archive.extractfile(member)):
                    raise UserError(f"{self} is no OCI layout: it has no {name}", hint=_HINT)
                yield inner
        except FileNotFoundError as error:
            what = "there is no such file or folder" if Path(str(error.filename)) == self.path else f"it has no {name}"
            raise UserError(f"{self} is no OCI layout: {what}", hint=_HINT) from None
        except (OSError, EOFError, tarfile.TarError) as error:
            raise UserError(f"{self} is no OCI layout: {error}", hint=_HINT) from None


def _place(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"
