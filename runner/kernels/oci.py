"""Kernels in container images, as cilium's ci-kernels are: `oci:HOST/NAME:TAG`, `oci:HOST/NAME@sha256:DIGEST`.

An image has boot/vmlinuz or boot/vmlinuz-RELEASE, and its modules, if any, in (usr/)lib/modules/RELEASE. skopeo fetches
it with the user's own settings for registries and passwords. The lock holds the digest of the image's manifest for one
architecture, which holds the digests of everything in it.
"""

from __future__ import annotations

import hashlib
import logging
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BaseModel, Field, ValidationError, WithJsonSchema

from runner.caches import need_space
from runner.errors import InfraError, UserError
from runner.kernels.config import config_of, read_image, release_of, upstream_version
from runner.kernels.ocilayers import Layers
from runner.kernels.source import KernelSource, Means, matches
from runner.kernels.unpack import DEPMOD_INPUT, Parts, lay_out, needed_of, parts_of
from runner.model import Pin, PinnedFile
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.model.version import KernelVersion
from runner.process import require, run

log = logging.getLogger(__name__)

_REFERENCE = (
    r"(?P<name>(?:[a-z0-9-]+\.[a-z0-9.-]+|localhost)(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127})|@(?P<digest>sha256:[0-9a-f]{64}))"
)
_RULE = "with its registry and a tag or a digest, like ghcr.io/cilium/ci-kernels:6.6"
_FOLDERS = ("usr/lib/modules", "lib/modules")
_LARGEST_FILE = 512 << 20
_LARGEST_IMAGE = 4 << 30
RETRIES = "3"  # skopeo waits 1, 2 and 4 s before them
_UNPACKED_FACTOR = 8  # bytes on disk while unpacking, for each byte of the compressed layers
# How skopeo passes on that a registry is there and does not have it.
_NOT_THERE = re.compile(r"manifest unknown|name unknown|repository name not known|StatusCode: 404")
# Docker's names for architectures are Go's; they are Debian's but for these.
_GO = {"ppc64el": "ppc64le"}

Reference = Annotated[
    str,
    AfterValidator(matches("an image", _REFERENCE, _RULE)),
    WithJsonSchema({"type": "string", "pattern": f"^{re.sub(r'[?]P<[a-z]+>', '?:', _REFERENCE)}$"}),
]


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
        name, _, rest = self.oci.rpartition("/")[2].partition("@sha256:")
        return f"{name}-{rest[:12]}" if rest else name.replace(":", "-")

    @property
    def image(self) -> str:
        """Without its tag or digest."""
        found = re.fullmatch(_REFERENCE, self.oci)
        return found["name"] if found else ""

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
            parts = taken(self.text, layers, Path(folder) / "parts")
            text = upstream_version(parts.config, parts.release)
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
        layers = _pulled(self.image, digest, pin.size_bytes, tree.parent, means.deadline)
        try:
            parts = taken(self.text, layers, tree.parent / "parts")
        except UserError as error:  # it had a kernel when it was pinned
            raise InfraError(error.what, hint=error.hint) from None
        if parts.release != pin.release:
            raise InfraError(f"{self.image}@{digest} has kernel {parts.release}, and {pin.release} was pinned")
        lay_out(needed_of(parts, deadline=means.deadline), pin.arch, tree, deadline=means.deadline)

    def _resolved(self, arch: str, deadline: Deadline) -> tuple[str, _Manifest]:
        """The digest of the manifest for one architecture, and the manifest."""
        go = architecture(arch).debian
        go = _GO.get(go, go)
        try:
            raw = _raw(self.oci, deadline)
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
    try:
        require("skopeo")
    except InfraError:
        raise InfraError(
            "skopeo is not installed; it fetches kernels from registries",
            hint="sudo apt-get install --no-install-recommends skopeo",
        ) from None
    return run(["skopeo", *arguments], deadline=deadline).stdout


def _raw(reference: str, deadline: Deadline) -> bytes:
    return _skopeo("inspect", "--retry-times", RETRIES, "--raw", f"docker://{reference}", deadline=deadline).encode()


def _pulled(name: str, digest: str, size: int, folder: Path, deadline: Deadline) -> Layers:
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
    return Layers(layers)


def taken(source: str, layers: Layers, root: Path) -> Parts:
    """The kernel's files, taken out of the image into the new folder `root`. Raises UserError: not one kernel."""
    bases = {name: f"{base}/{name}" for base in _FOLDERS for name in layers.names(base)}
    path = _one(source, [f"boot/{name}" for name in layers.names("boot") if name.startswith("vmlinuz")], layers)
    image = root / "image"
    layers.extract(path, image, limit_bytes=_LARGEST_FILE)
    content = read_image(image)
    release = path.partition("vmlinuz-")[2] or release_of(content)
    if not release and len(bases) == 1:
        (release,) = bases
    if not release:
        raise UserError(f"{source}: {path} does not tell its release", hint="name it boot/vmlinuz-RELEASE")
    base = bases.get(release, "")
    config = next(filter(layers.has, (f"boot/config-{release}", "boot/config", f"{base}/config")), "")
    if config:
        layers.extract(config, root / "config", limit_bytes=_LARGEST_FILE)
    else:  # empty where it is not built in either: then nothing is known of its options
        (root / "config").write_text(config_of(content))
    modules = root / "modules" / release
    (modules / "kernel").mkdir(parents=True)
    for path in layers.below(base) if base else ():
        place = path.partition(f"{release}/")[2]
        if ".ko" in path:
            place = f"kernel/{place.removeprefix('kernel/')}"
        elif place not in DEPMOD_INPUT:
            continue
        layers.extract(path, modules / place, limit_bytes=_LARGEST_FILE)
    for name in DEPMOD_INPUT:  # kernels without modules come without these; depmod wants them to be there
        (modules / name).touch()
    return parts_of(image, modules, root / "config")


def _one(source: str, paths: Sequence[str], layers: Layers) -> str:
    """The one image: links like boot/vmlinuz -> vmlinuz-6.6 are fine. Raises UserError."""
    found = [path for path in paths if layers.has(path)]
    named = [path for path in found if path != "boot/vmlinuz"]
    if len(named) > 1 or not found:
        raise UserError(
            f"{source} has {', '.join(named) if named else 'no boot/vmlinuz'}", hint="an image must hold one kernel"
        )
    return named[0] if named else found[0]
