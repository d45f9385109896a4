"""Kernels in container images, as cilium's ci-kernels are: `oci:HOST/NAME:TAG`, `oci:HOST/NAME[:TAG]@sha256:DIGEST`.

runner/kernels/layers.py says where in an image a kernel may lie. skopeo fetches it with the user's own settings for
registries and passwords. The lock holds the digest of the image's manifest for one architecture, which holds the
digests of everything in it.
"""

from __future__ import annotations

import hashlib
import logging
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, Field, ValidationError

from runner.caches import need_space
from runner.errors import InfraError, UserError
from runner.kernels.config import upstream_version
from runner.kernels.fields import Matches
from runner.kernels.layers import Layers, taken
from runner.kernels.source import KernelSource, Means, needs_tool
from runner.kernels.unpack import unpack_packages
from runner.model import Pin, PinnedFile
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.model.version import KernelVersion
from runner.process import run

log = logging.getLogger(__name__)

_REFERENCE = (
    r"(?P<name>(?:[a-z0-9-]+\.[a-z0-9.-]+|localhost)(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+)"
    r"(?=[:@])(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_RULE = "with its registry and a tag or a digest, like ghcr.io/cilium/ci-kernels:6.6"
_LARGEST_IMAGE = 4 << 30
RETRIES = "3"  # skopeo waits 1, 2 and 4 s before them
_UNPACKED_FACTOR = 8  # bytes on disk while unpacking, for each byte of the compressed layers
# How skopeo passes on that a registry is there and does not have it.
_NOT_THERE = re.compile(r"manifest unknown|name unknown|repository name not known|StatusCode: 404")
# Docker's names for architectures are Go's; they are Debian's but for these.
_GO = {"ppc64el": "ppc64le"}

Reference = Annotated[str, Matches("an image", _REFERENCE, _RULE)]


class _Platform(BaseModel):
    architecture: str
    os: str = "linux"


class _Blob(BaseModel):
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    platform: _Platform | None = None


class _Manifest(BaseModel):
    """An image of one architecture has `layers`, an index of several has `manifests`."""

    layers: tuple[_Blob, ...] = ()
    manifests: tuple[_Blob, ...] = ()


class OciSource(KernelSource):
    """The kernel in a container image."""

    word: ClassVar[str] = "oci"
    example: ClassVar[str] = "oci:ghcr.io/cilium/ci-kernels:6.6"

    oci: Annotated[Reference, Field(description=f"image {_RULE}")]

    @property
    def default_name(self) -> str:
        tag, digest = self._named["tag"], (self._named["digest"] or "").removeprefix("sha256:")
        return f"{self.image.rpartition('/')[2]}-{tag or digest[:12]}"[:64]

    @property
    def image(self) -> str:
        """Without its tag and digest."""
        return self._named["name"] or ""

    @property
    def _named(self) -> dict[str, str | None]:
        found = re.fullmatch(_REFERENCE, self.oci)
        return found.groupdict() if found else {}

    @classmethod
    def offers(cls, named: Sequence[Self], archs: Sequence[str], means: Means) -> tuple[Pin, ...]:  # noqa: ARG003
        """None: an image does not tell its kernel's version before it is pulled."""
        return ()

    def pins(self, arch: str, means: Means) -> Sequence[Pin]:
        """Pull the image and pin it as it is now. Raises UserError when it has no kernel for this architecture."""
        digest, manifest = self._resolved(arch, means.deadline)
        size = sum(layer.size for layer in manifest.layers)
        scratch = means.cache / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="oci-", dir=scratch) as folder:
            layers = _pulled(self.image, digest, size, Path(folder), means.deadline)
            parts = taken(self.text, Layers(layers), Path(folder) / "parts")
            text = upstream_version(parts.options(), parts.release)
        try:
            version = str(KernelVersion.parse(text))
            file = PinnedFile(name="image", sha256=digest.removeprefix("sha256:"), size_bytes=size, where=self.image)
            return [Pin(source=self.text, arch=arch, version=version, release=parts.release, files=(file,))]
        except ValueError as error:  # ValidationError is one
            raise UserError(f"{self.text}: release {parts.release!r} is not a kernel's: {error}") from None

    def lost(self, pin: Pin, means: Means) -> str:
        """Whether the registry still has it."""
        digest = f"sha256:{pin.digests[0]}"
        try:
            _raw(f"{self.image}@{digest}", means.deadline)
        except InfraError as error:
            if _NOT_THERE.search(error.what):
                return f"{self.image} has no {digest} any more"
            raise
        return ""

    def fetch(self, pin: Pin, tree: Path, means: Means) -> None:
        """Pull what is pinned, which skopeo checks against its digests, and take the kernel out of it."""
        digest = f"sha256:{pin.digests[0]}"
        unpack_packages(
            pin,
            tree,
            lambda folder: _pulled(self.image, digest, pin.size_bytes, folder, means.deadline),
            lambda layers, root: taken(self.text, Layers(layers), root),
            deadline=means.deadline,
        )

    def _resolved(self, arch: str, deadline: Deadline) -> tuple[str, _Manifest]:
        """The digest of the manifest for one architecture, and the manifest."""
        go = architecture(arch).debian
        go = _GO.get(go, go)
        exact = self._named["digest"]  # skopeo takes no tag beside it, and it says more than a tag
        try:
            raw = _raw(f"{self.image}@{exact}" if exact else self.oci, deadline)
        except InfraError as error:
            if _NOT_THERE.search(error.what):
                raise UserError(f"{self.text} is not there", hint=error.what.splitlines()[-1]) from None
            raise
        manifest = _parsed(self.text, raw)
        if manifest.manifests:
            there = [one for one in manifest.manifests if one.platform and one.platform.os == "linux"]
            fitting = [one for one in there if one.platform and one.platform.architecture == go]
            if not fitting:
                known = ", ".join(sorted({one.platform.architecture for one in there if one.platform}))
                raise UserError(f"{self.text} has no image for {arch}", hint=f"it has {known or 'none at all'}")
            digest = fitting[0].digest
            raw = _raw(f"{self.image}@{digest}", deadline)
            if f"sha256:{hashlib.sha256(raw).hexdigest()}" != digest:
                raise InfraError(f"{self.image}@{digest} is not what its digest says")
            manifest = _parsed(self.text, raw)
        if not manifest.layers:
            raise UserError(f"{self.text} is not an image with layers")
        return f"sha256:{hashlib.sha256(raw).hexdigest()}", manifest


def _parsed(source: str, raw: bytes) -> _Manifest:
    try:
        return _Manifest.model_validate_json(raw)
    except ValidationError as error:
        raise InfraError(f"{source}: its manifest cannot be read: {error.errors()[0]['msg']}") from None


def _skopeo(*arguments: str, deadline: Deadline) -> str:
    needs_tool("skopeo", "skopeo", "it fetches kernels from registries")
    return run(["skopeo", *arguments], deadline=deadline).stdout


def _raw(reference: str, deadline: Deadline) -> bytes:
    return _skopeo("inspect", "--retry-times", RETRIES, "--raw", f"docker://{reference}", deadline=deadline).encode()


def _pulled(name: str, digest: str, size: int, folder: Path, deadline: Deadline) -> list[Path]:
    """The layers, not compressed, in a new folder `image`."""
    need_space(folder, _UNPACKED_FACTOR * size, f"image {name}")
    image = folder / "image"
    _skopeo(
        "copy", "--retry-times", RETRIES, "--dest-decompress", f"docker://{name}@{digest}", f"dir:{image}",
        deadline=deadline,
    )  # fmt: skip
    manifest = _parsed(name, (image / "manifest.json").read_bytes())
    layers = [image / layer.digest.removeprefix("sha256:") for layer in manifest.layers]
    total = sum(layer.stat().st_size for layer in layers)
    if total > _LARGEST_IMAGE:
        raise InfraError(f"image {name} has {total >> 20} MiB, more than {_LARGEST_IMAGE >> 20}: that is no kernel")
    return layers
