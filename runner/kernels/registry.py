# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Container images: where they are, for which architectures, and their layers.

skopeo fetches and checks them, with the user's own settings for registries and passwords. What is pinned is the digest
of the manifest for one architecture, which holds the digests of everything else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runner.caches import need_space
from runner.errors import InfraError, UserError
from runner.kernels.ocilayout import Config, Layout, Manifest
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
# Docker's names for architectures are Go's; they are Debian's but for these.
_GO = {"ppc64el": "ppc64le"}


class ImagePlace(Protocol):
    """Where an image is."""

    def first(self, deadline: Deadline) -> bytes:
        """The manifest that is named, or an index of several."""

    def manifest(self, digest: str, deadline: Deadline) -> bytes: ...

    def config(self, digest: str, deadline: Deadline) -> bytes:
        """Of the image with this manifest."""

    def source(self, digest: str, folder: Path) -> str:
        """What skopeo calls it. The folder is new, and for whatever that takes."""

    def lacks(self, error: InfraError) -> bool:
        """Does this error mean that it has no such image?"""


@dataclass(frozen=True, slots=True)
class ImageRepository:
    """Images of one name in a registry."""

    name: str
    tag: str
    digest: str = ""  # skopeo takes no tag beside it, and it says more than a tag

    def __str__(self) -> str:
        return self.name

    def first(self, deadline: Deadline) -> bytes:
        return self._raw(self.digest or self.tag, deadline)

    def manifest(self, digest: str, deadline: Deadline) -> bytes:
        return self._raw(digest, deadline)

    def config(self, digest: str, deadline: Deadline) -> bytes:
        return self._raw(digest, deadline, "--config")

    def source(self, digest: str, folder: Path) -> str:  # noqa: ARG002  a layout's needs it
        return f"docker://{self.name}@{digest}"

    def lacks(self, error: InfraError) -> bool:
        return bool(_NOT_THERE.search(error.what))

    def _raw(self, which: str, deadline: Deadline, *words: str) -> bytes:
        reference = f"docker://{self.name}{'@' if ':' in which else ':'}{which}"
        return _skopeo("inspect", "--retry-times", RETRIES, *words, "--raw", reference, deadline=deadline).encode()


@dataclass(frozen=True, slots=True)
class ContainerImage:
    """One that its user names by `text`."""

    text: str
    place: ImagePlace

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

    def resolved(self, arch: str, deadline: Deadline) -> tuple[str, Manifest]:
        """The digest of the manifest for one architecture, and the manifest. Raises UserError when there is none."""
        try:
            raw = self.place.first(deadline)
        except InfraError as error:
            if self.place.lacks(error):
                raise UserError(f"{self.text} is not there", hint=error.what.splitlines()[-1]) from None
            raise
        manifest = Manifest.of(raw, self.text)
        if manifest.manifests:
            there = [one for one in manifest.manifests if one.platform and one.platform.os == "linux"]
            fitting = [one for one in there if one.platform and one.platform.architecture == _go(arch)]
            if not fitting:
                raise self._not_for(arch, {one.platform.architecture for one in there if one.platform})
            digest = fitting[0].digest
            raw = self.place.manifest(digest, deadline)
            if f"sha256:{hashlib.sha256(raw).hexdigest()}" != digest:
                raise InfraError(f"{self.place}@{digest} is not what its digest says")
            manifest = Manifest.of(raw, self.text)
        if not manifest.layers:
            raise UserError(f"{self.text} is not an image with layers")
        return f"sha256:{hashlib.sha256(raw).hexdigest()}", manifest

    def pinned(self, arch: str, deadline: Deadline) -> PinnedFile:
        """The image as it is now; of one that is in no index, its own words say for which architecture it is.

        Raises UserError when there is none for this architecture.
        """
        digest, manifest = self.resolved(arch, deadline)
        said = Config.of(self.place.config(digest, deadline), self.text).architecture
        if said and said != _go(arch):
            raise self._not_for(arch, {said})
        sha256 = digest.removeprefix("sha256:")
        return PinnedFile(name="image", sha256=sha256, size_bytes=manifest.size_bytes, where=str(self.place))

    def lost(self, sha256: str, deadline: Deadline) -> str:
        """Why what was pinned cannot be fetched any more; empty when it can."""
        try:
            self.place.manifest(f"sha256:{sha256}", deadline)
        except (InfraError, UserError) as error:
            if isinstance(error, UserError) or self.place.lacks(error):
                return f"{self.place} has no sha256:{sha256} any more"
            raise
        return ""

    def pulled(self, sha256: str, size: int, folder: Path, deadline: Deadline) -> tuple[list[Path], Config]:
        """The layers of what was pinned, not compressed, in the new folder `image`; and what it says of itself."""
        need_space(folder, _UNPACKED_FACTOR * size, f"image {self.text}")
        image = folder / "image"
        source = self.place.source(f"sha256:{sha256}", folder / "layout")
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


def _go(arch: str) -> str:
    name = architecture(arch).debian
    return _GO.get(name, name)


def _skopeo(*arguments: str, deadline: Deadline) -> str:
    needs_tool("skopeo", "skopeo", "it fetches container images")
    # a layer of zeros is a thousandth of its size: no file may be larger than what is allowed of all
    return run(["prlimit", f"--fsize={LARGEST}", "skopeo", *arguments], deadline=deadline).stdout
