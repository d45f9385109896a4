# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kernel that lies somewhere on this machine: `path:FOLDER`, or `path:IMAGE[,[MODULES][,CONFIG]]`.

FOLDER is laid out as packages and images of systems are: boot/vmlinuz-RELEASE, boot/config-RELEASE and
(usr/)lib/modules/RELEASE, or all of it in the last of them. MODULES is a folder called after the release. An image
alone tells its release; where there is no .config, the one that is built into the image counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from runner.errors import InfraError, UserError
from runner.kernels.fields import AbsolutePath
from runner.kernels.local import LocalSource
from runner.kernels.unpack import Parts, find_parts, image_alone, parts_of, releases_in


class PathSource(LocalSource):
    """One kernel that lies on this machine."""

    word: ClassVar[str] = "path"
    example: ClassVar[str] = "path:/srv/kernel, with a whole path"

    path: Annotated[AbsolutePath, Field(description="a folder with boot/ and lib/modules/, or the kernel's image")]
    modules: Annotated[
        AbsolutePath | None, Field(description="where path is an image: its folder of modules, called as the release")
    ] = None
    config: Annotated[
        AbsolutePath | None,
        Field(description="where path is an image: its .config; by default the one beside, or the one built in"),
    ] = None

    @classmethod
    def fields_of(cls, rest: str) -> dict[str, object]:
        parts = rest.split(",")
        if len(parts) > 3:
            raise ValueError("more than three paths")
        return {key: part for key, part in zip(("path", "modules", "config"), parts, strict=False) if part}

    @property
    def text(self) -> str:
        return f"{self.word}:{self.path},{self.modules or ''},{self.config or ''}".rstrip(",")

    def kernels(self) -> Sequence[Parts]:
        """One. Raises UserError when there is none, or several: it is the matrix that says there is one."""
        first, config = Path(self.path), Path(self.config) if self.config else None
        try:
            if self.modules:
                return [parts_of(first, Path(self.modules), config)]
            if first.is_file():
                return [image_alone(first, config)]
            releases = releases_in(first)
            if len(releases) == 1:
                return [find_parts(first, releases[0])]
        except InfraError as error:
            raise UserError(f"{self.text}: {error.what}", hint=error.hint) from None
        except OSError as error:
            raise UserError(f"{self.text}: cannot be read: {error.strerror}") from None
        if not first.exists():
            raise UserError(f"{self.text}: there is no such file or folder")
        if releases:
            raise UserError(
                f"{self.text}: {first} has several kernels: {', '.join(releases)}",
                hint="name the image, and its `modules` folder",
            )
        raise UserError(
            f"{self.text}: no kernel in {first}: no folder lib/modules/RELEASE/kernel in it",
            hint="name the image itself, and its `modules` folder where it has one",
        )
