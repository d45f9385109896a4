# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels in container images, as cilium's ci-kernels are: `oci:HOST/NAME:TAG`, `oci:HOST/NAME[:TAG]@sha256:DIGEST`.

runner/kernels/layers.py says where in an image a kernel may lie. skopeo fetches it with the user's own settings for
registries and passwords. The lock holds the digest of the image's manifest for one architecture, which holds the
digests of everything in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field

from runner.caches import SCRATCH
from runner.errors import UserError
from runner.kernels.config import upstream_version
from runner.kernels.fields import Matches
from runner.kernels.layers import Layers, taken
from runner.kernels.registry import LAYOUT, REFERENCE, ContainerImage
from runner.kernels.source import KernelSource, Means
from runner.kernels.unpack import Parts
from runner.model import Pin
from runner.model.version import KernelVersion
from runner.process import own_folder

_RULE = "with its registry and a tag or a digest, like ghcr.io/cilium/ci-kernels:6.6"

Reference = Annotated[str, Matches("an image", REFERENCE, _RULE)]
ContainerText = Annotated[str, Matches("an image", f"(?:{REFERENCE}|{LAYOUT})", f"{_RULE}, or a layout's whole path")]


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
        found = re.fullmatch(REFERENCE, self.oci)
        return found.groupdict() if found else {}

    @classmethod
    def offers(cls, named: Sequence[Self], archs: Sequence[str], means: Means) -> tuple[Pin, ...]:  # noqa: ARG003
        """None: an image does not tell its kernel's version before it is pulled."""
        return ()

    def pins(self, arch: str, means: Means) -> Sequence[Pin]:
        """Pull the image and pin it as it is now. Raises UserError when it has no kernel for this architecture."""
        file = self._container.resolved(arch, means.deadline)
        with own_folder(means.cache / SCRATCH, "oci-", end_s=means.deadline.end_s) as own:
            layers, _ = self._container.pulled(file, own.path, means.deadline)
            parts = taken(self.text, Layers(layers), own.path / "parts")
            text = upstream_version(parts.options(), parts.release)
        try:
            version = str(KernelVersion.parse(text))
            return [Pin(source=self.text, arch=arch, version=version, release=parts.release, files=(file,))]
        except ValueError as error:  # ValidationError is one
            raise UserError(f"{self.text}: release {parts.release!r} is not a kernel's: {error}") from None

    def lost(self, pin: Pin, means: Means) -> str:
        """Whether the registry still has it."""
        return self._container.lost(pin.digests[0], means.deadline)

    def download(self, pin: Pin, folder: Path, means: Means) -> Iterable[Path]:
        """Its layers, which skopeo checks against their digests."""
        return self._container.pulled(pin.files[0], folder, means.deadline)[0]

    def unpacked(self, pin: Pin, files: Sequence[Path], root: Path, means: Means) -> Parts:  # noqa: ARG002
        return taken(self.text, Layers(files), root)

    @property
    def _container(self) -> ContainerImage:
        return replace(ContainerImage.named(self.oci), text=self.text)
