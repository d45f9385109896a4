# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The documents of container images: https://github.com/opencontainers/image-spec. They are hostile."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, Field, ValidationError

from runner.errors import InfraError, first_of


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
