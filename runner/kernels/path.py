"""A kernel that lies somewhere on this machine: `path:FOLDER`, or `path:IMAGE,MODULES[,CONFIG]`.

FOLDER is laid out as packages and images of systems are: boot/vmlinuz-RELEASE, boot/config-RELEASE and
(usr/)lib/modules/RELEASE, or all of it in the last of them. MODULES is a folder called after the release.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from runner.errors import InfraError, UserError
from runner.kernels.local import LocalSource
from runner.kernels.source import AbsolutePath
from runner.kernels.unpack import Parts, find_parts, parts_of, releases_in


class PathSource(LocalSource):
    """One kernel that lies on this machine."""

    word: ClassVar[str] = "path"
    example: ClassVar[str] = "path:/srv/kernel, with a whole path"

    path: Annotated[AbsolutePath, Field(description="a folder with boot/ and lib/modules/, or the kernel's image")]
    modules: Annotated[
        AbsolutePath | None, Field(description="where path is an image: its folder of modules, called as the release")
    ] = None
    config: Annotated[
        AbsolutePath | None, Field(description="where path is an image: its .config; by default the one beside")
    ] = None

    @model_validator(mode="after")
    def _config_needs_modules(self) -> Self:
        if self.config and not self.modules:
            raise ValueError("'config' needs 'modules' as well")
        return self

    @classmethod
    def fields_of(cls, rest: str) -> dict[str, object]:
        parts = rest.split(",")
        if len(parts) > 3:
            raise ValueError("more than three paths")
        return dict(zip(("path", "modules", "config"), parts, strict=False))

    @property
    def text(self) -> str:
        return f"{self.word}:{','.join(filter(None, (self.path, self.modules, self.config)))}"

    def kernels(self) -> Sequence[Parts]:
        """One. Raises UserError when there is none, or several: it is the matrix that says there is one."""
        first = Path(self.path)
        try:
            if self.modules:
                return [parts_of(first, Path(self.modules), Path(self.config) if self.config else None)]
            releases = releases_in(first)
            if len(releases) == 1:
                return [find_parts(first, releases[0])]
        except InfraError as error:
            raise UserError(f"{self.text}: {error.what}", hint=error.hint) from None
        if releases:
            raise UserError(
                f"{self.text}: {first} has several kernels: {', '.join(releases)}",
                hint="name the image, and its `modules` folder",
            )
        raise UserError(
            f"{self.text}: no kernel in {first}: no folder lib/modules/RELEASE/kernel in it",
            hint="for a kernel's image, say where its `modules` are",
        )
