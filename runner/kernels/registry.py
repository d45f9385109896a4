# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Container images: where they are, for which architectures, and their layers.

An image is in a registry, or in a layout on this machine: a folder, or an archive of one, as `skopeo copy`, buildah and
docker write them. skopeo fetches and checks images, with the user's own settings for registries and passwords. What is
pinned is the digest of the manifest for one architecture, which holds the digests of everything else. Documents are
hostile. https://github.com/opencontainers/image-spec
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Self

from pydantic import BaseModel, Field, ValidationError

from runner.caches import need_space
from runner.errors import InfraError, UserError, first_of
from runner.kernels.source import needs_tool
from runner.model import PinnedFile
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.process import run

_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
REFERENCE = (
    r"(?P<name>(?:[a-z0-9-]+\.[a-z0-9.-]+|localhost)(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+)"
    rf"(?=[:@])(?::(?P<tag>{_TAG}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?"
)
LAYOUT = rf"(?P<path>/[A-Za-z0-9._/+=@~-]{{0,255}})(?::(?P<label>{_TAG}))?"
LARGEST = 4 << 30  # bytes of all layers, unpacked
RETRIES = "3"  # skopeo waits 1, 2 and 4 s before them
_UNPACKED_FACTOR = 8  # bytes on disk while unpacking, for each byte of the compressed layers
# How skopeo passes on that a registry is there and does not have it.
_NOT_THERE = re.compile(r"manifest unknown|name unknown|repository name not known|StatusCode: 404")
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
    """Named as Docker does, which is as Go does."""

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
class ImageRepository:
    """Images of one name in a registry."""

    name: str
    tag: str
    digest: str = ""  # skopeo takes no tag beside it, and it says more than a tag

    def __str__(self) -> str:
        return self.name

    def first(self, deadline: Deadline) -> bytes:
        """The manifest that is named, or an index of several."""
        return self._raw(self.digest or self.tag, deadline)

    def manifest(self, digest: str, deadline: Deadline) -> bytes:
        return self._raw(digest, deadline)

    def config(self, digest: str, deadline: Deadline) -> bytes:
        """Of the image with this manifest."""
        return self._raw(digest, deadline, "--config")

    def source(self, digest: str, folder: Path) -> str:  # noqa: ARG002  a layout's needs it
        """What skopeo calls it. The folder is new, and for whatever that takes."""
        return f"docker://{self.name}@{digest}"

    def lacks(self, error: InfraError) -> bool:
        """Does this error mean that it has no such image?"""
        return bool(_NOT_THERE.search(error.what))

    def _raw(self, which: str, deadline: Deadline, *words: str) -> bytes:
        reference = f"docker://{self.name}{'@' if ':' in which else ':'}{which}"
        return _skopeo("inspect", "--retry-times", RETRIES, *words, "--raw", reference, deadline=deadline).encode()


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


@dataclass(frozen=True, slots=True)
class ContainerImage:
    """One that its user names by `text`."""

    text: str
    place: ImageRepository | Layout

    @classmethod
    def named(cls, text: str) -> ContainerImage:
        """`HOST/NAME:TAG`, `HOST/NAME[:TAG]@sha256:DIGEST` or `/LAYOUT[:TAG]`. Raises ValueError for anything else."""
        if found := re.fullmatch(LAYOUT, text):
            return cls(text, Layout(Path(found["path"]), found["label"] or ""))
        if found := re.fullmatch(REFERENCE, text):
            return cls(text, ImageRepository(found["name"], found["tag"] or "", found["digest"] or ""))
        raise ValueError(f"{text!r} names no image")

    @property
    def is_local(self) -> bool:
        """On this machine's disk: it may change under its pin."""
        return isinstance(self.place, Layout)

    def resolved(self, arch: str, deadline: Deadline) -> PinnedFile:
        """The manifest for one architecture as it is now, with the size of its layers as they are packed.

        Raises UserError when there is none.
        """
        try:
            raw = self.place.first(deadline)
        except InfraError as error:
            if self.place.lacks(error):
                raise UserError(f"{self.text} is not there", hint=error.what.splitlines()[-1]) from None
            raise
        manifest = Manifest.of(raw, self.text)
        if manifest.manifests:
            there: dict[str, str] = {}
            for one in manifest.manifests:
                if one.platform and one.platform.os == "linux":
                    there.setdefault(one.platform.architecture, one.digest)
            if not (digest := there.get(architecture(arch).goarch)):
                raise self._not_for(arch, there)
            raw = self.place.manifest(digest, deadline)
            if f"sha256:{hashlib.sha256(raw).hexdigest()}" != digest:
                raise InfraError(f"{self.place}@{digest} is not what its digest says")
            manifest = Manifest.of(raw, self.text)
        if not manifest.layers:
            raise UserError(f"{self.text} is not an image with layers")
        sha256, size = hashlib.sha256(raw).hexdigest(), sum(layer.size for layer in manifest.layers)
        return PinnedFile(name="image", sha256=sha256, size_bytes=size, where=str(self.place))

    def pinned(self, arch: str, deadline: Deadline) -> PinnedFile:
        """As `resolved`; of an image that is in no index, its own words say for which architecture it is."""
        file = self.resolved(arch, deadline)
        said = Config.of(self.place.config(f"sha256:{file.sha256}", deadline), self.text).architecture
        if said and said != architecture(arch).goarch:
            raise self._not_for(arch, {said})
        return file

    def lost(self, sha256: str, deadline: Deadline) -> str:
        """Why what was pinned cannot be fetched any more; empty when it can."""
        try:
            self.place.manifest(f"sha256:{sha256}", deadline)
        except (InfraError, UserError) as error:
            if isinstance(error, UserError) or self.place.lacks(error):
                return f"{self.place} has no sha256:{sha256} any more"
            raise
        return ""

    def pulled(self, pinned: PinnedFile, folder: Path, deadline: Deadline) -> tuple[list[Path], Config]:
        """The layers of what was pinned, not compressed, in the new folder `image`; and what it says of itself."""
        need_space(folder, _UNPACKED_FACTOR * pinned.size_bytes, f"image {self.text}")
        image = folder / "image"
        source = self.place.source(f"sha256:{pinned.sha256}", folder / "layout")
        _skopeo("copy", "--retry-times", RETRIES, "--dest-decompress", source, f"dir:{image}", deadline=deadline)
        manifest = Manifest.of((image / "manifest.json").read_bytes(), self.text)
        layers = [image / layer.digest.removeprefix("sha256:") for layer in manifest.layers]
        total = sum(layer.stat().st_size for layer in layers)
        if total > LARGEST:
            raise InfraError(f"image {self.text} has {total >> 20} MiB, more than {LARGEST >> 20}")
        config = image / manifest.config.digest.removeprefix("sha256:") if manifest.config else None
        return layers, Config.of(config.read_bytes(), self.text) if config else Config()

    def _not_for(self, arch: str, known: Iterable[str]) -> UserError:
        names = ", ".join(sorted(known)) or "none at all"
        return UserError(f"{self.text} has no image for {arch}", hint=f"it has {names}; --arch names architectures")


def _place(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _skopeo(*arguments: str, deadline: Deadline) -> str:
    needs_tool("skopeo", "skopeo", "it fetches container images")
    # a layer of zeros is a thousandth of its size: no file may be larger than what is allowed of all
    return run(["prlimit", f"--fsize={LARGEST}", "skopeo", *arguments], deadline=deadline).stdout
