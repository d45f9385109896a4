# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a source of kernels is: a class, whose instances are the kernels that matrix.yaml names.

Each is in a module beside this one, and a row of `SOURCES` in runner/kernels/__init__.py. In matrix.yaml a source is a
mapping with a key that is its word, everywhere else a text, `WORD:...`; both are read into the same class.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Self, TypeVar
from urllib.parse import parse_qsl, urlencode

from debian.debian_support import Version
from pydantic import Field, ValidationError, model_validator

from runner.caches import need_space
from runner.errors import InfraError, UserError
from runner.kernels.archive import Archive
from runner.kernels.fields import Arch, Cmdline, Name, Range, Series, WhichField
from runner.kernels.unpack import Parts, find_parts, lay_out, needed_of
from runner.model import GuestSize, Limits, Pin, Plain, Wanted, Which
from runner.model.deadline import Deadline
from runner.model.version import KernelVersion, Versions
from runner.process import require, run

log = logging.getLogger(__name__)

_UNPACKED_FACTOR = 9  # bytes on disk while unpacking, for each byte of the packages: 7 measured with 6.1 on x86_64


@dataclass(frozen=True, slots=True)
class Means:
    """What a source may use while it works."""

    archive: Archive
    cache: Path  # the cache folder; what a source keeps there is below a folder with its word
    deadline: Deadline


class KernelSource(Plain):
    """A kernel, or a range of them. A subclass for each source, with a field that is the source's word."""

    word: ClassVar[str]  # begins its texts, and is its key in matrix.yaml
    example: ClassVar[str]  # a text
    local: ClassVar[bool] = False  # on this machine's disk: is pinned without network, and may change under its pin
    # The environment variable for its server. What has one is listed only where that is set, where the matrix names the
    # source, or where the list of that source is asked for: not everybody uses such a server.
    variable: ClassVar[str] = ""

    name: Annotated[Name | None, Field(description="what cells and reports call it; by default what it is")] = None
    architectures: Annotated[
        tuple[Arch, ...] | None, Field(min_length=1, description="only these architectures, not the matrix's")
    ] = None
    guest: Annotated[GuestSize | None, Field(description="for this kernel what differs from the matrix's")] = None
    limits: Annotated[Limits | None, Field(description="for this kernel what differs from the matrix's")] = None
    cmdline: Cmdline = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The source that a text names. Raises UserError unless it can be understood. Reads only the text."""
        try:
            return cls.model_validate(cls.fields_of(text.partition(":")[2]))
        except ValidationError as error:
            why = error.errors()[0]["msg"].removeprefix("Value error, ")
        except ValueError as error:
            why = str(error)
        raise UserError(f"{text!r} is not a kernel source: {why}", hint=f"like {cls.example}")

    @classmethod
    def fields_of(cls, rest: str) -> dict[str, object]:
        """The fields that a text gives, from what follows `WORD:`. Raises ValueError."""
        return {cls.word: rest}

    @property
    def text(self) -> str:
        """`parse` makes a source of it that means the same."""
        return f"{self.word}:{getattr(self, self.word)}"

    @property
    def called(self) -> str:
        """Its name; unique in a matrix."""
        return self.name or self.default_name

    @property
    def default_name(self) -> str:
        """Made of what it says."""
        raise NotImplementedError

    @property
    def key(self) -> str:
        """The key of matrix.yaml that `default_name` is made of: for complaints about it."""
        return self.word

    def wanted(self, arch: str) -> Iterator[Wanted]:
        """What it stands for on an architecture."""
        yield Wanted(name=self.called, source=self.text, arch=arch)

    @classmethod
    def offers(cls, named: Sequence[Self], archs: Sequence[str], means: Means) -> Iterable[Pin]:
        """Every kernel that it can fetch, each with a text that names only it. A kernel whose packages are not known
        before it is pinned has no digests. `named` are the matrix's own, for sources that have no list.

        Raises InfraError when the list cannot be had.
        """
        raise NotImplementedError

    def pins(self, arch: str, means: Means) -> Sequence[Pin]:
        """Pin what it stands for now: one kernel, or each one of a range.

        Raises UserError, naming what there is, when there is none; InfraError when it cannot be found out.
        """
        raise NotImplementedError

    def lost(self, pin: Pin, means: Means) -> str:
        """Why this pin can no longer be fetched, as the end of a sentence; empty when it can."""
        raise NotImplementedError

    def fetch(self, pin: Pin, tree: Path, means: Means) -> None:
        """Fill the empty folder `tree` with what is pinned, as runner/kernels/unpack.py lays it out; scratch space is
        `tree.parent`. Digests are checked before anything is unpacked.

        Raises InfraError when a part is not there, or it is another kernel than was pinned.
        """
        start = time.monotonic()
        need_space(tree.parent, _UNPACKED_FACTOR * pin.size_bytes, f"kernel {pin.release}")
        folder = tree.parent / "packages"
        folder.mkdir()
        files = tuple(self.download(pin, folder, means))
        fetched = time.monotonic()
        try:
            parts = self.unpacked(pin, files, tree.parent / "unpacked", means)
        except UserError as error:  # it had a kernel when it was pinned
            raise InfraError(error.what, hint=error.hint) from None
        if parts.release != pin.release:
            raise InfraError(
                f"{pin.source} has kernel {parts.release}, and {pin.release} was pinned",
                hint="`runner kernels lock` pins what is there now",
            )
        lay_out(needed_of(parts), pin.arch, tree, deadline=means.deadline)
        log.info(
            "kernel %s: %d MiB fetched in %.1f s, unpacked in %.1f s",
            pin.release,
            pin.size_bytes >> 20,
            fetched - start,
            time.monotonic() - fetched,
        )

    def download(self, pin: Pin, folder: Path, means: Means) -> Iterable[Path]:
        """Put what is pinned into a folder, each file checked against its digest, and name the files."""
        raise NotImplementedError

    def unpacked(self, pin: Pin, files: Sequence[Path], root: Path, means: Means) -> Parts:
        """The kernel in those files, unpacked into the new folder `root`: here packages of Debian's format."""
        for file in files:
            run(["dpkg-deb", "--extract", file, root], deadline=means.deadline)
        return find_parts(root, pin.release)


class PackagedSource(KernelSource):
    """Kernels of an archive of packages: the newest build of a series, one version, or a range of them."""

    series: Annotated[
        Series | None, Field(description="in quotes: stable series, major version, or one exact version")
    ] = None
    versions: Annotated[Range | None, Field(description='instead of series: a range, such as ">=6.12,<7"')] = None
    which: WhichField = None

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        if self.series is None and self.versions is None:
            raise ValueError("the key 'series' is missing, or 'versions' for a range")
        if self.series is not None and self.versions is not None:
            raise ValueError("'series' and 'versions' exclude each other")
        if self.which and not self.versions:
            raise ValueError("'which' says what is meant of a range: it needs 'versions'")
        return self

    @classmethod
    def fields_of(cls, rest: str) -> dict[str, object]:
        """Of `URI?KEY=VALUE&...`: the field that is called as the source holds the archive's own."""
        uri, _, query = rest.partition("?")
        fields = dict(parse_qsl(query, strict_parsing=True))
        ours: dict[str, object] = {key: fields.pop(key) for key in ("series", "versions", "which") if key in fields}
        return {cls.word: {"uri": uri, **fields}, **ours}

    @property
    def text(self) -> str:
        archive = getattr(self, self.word).model_dump(exclude_defaults=True)
        said = {key: value if isinstance(value, str) else ",".join(value) for key, value in archive.items()}
        uri = said.pop("uri")
        said["versions" if self.versions else "series"] = self.chosen
        if self.which == "all":
            said["which"] = "all"
        return f"{self.word}:{uri}?{urlencode(said, safe='/,:*<>=~')}"

    def only(self, build: str) -> str:
        """The text that means one build alone."""
        return self.model_copy(update={"series": build, "versions": None, "which": None}).text

    @property
    def chosen(self) -> str:
        return self.versions or self.series or ""

    @property
    def key(self) -> str:
        return "series" if self.series else "versions"

    def wanted(self, arch: str) -> Iterator[Wanted]:
        which = (self.which or "newest-of-series") if self.versions else None
        yield Wanted(name=self.called, source=self.text, arch=arch, which=which)

    def select(self, there: Iterable[Pin], build_of: Callable[[Pin], str], none: str) -> tuple[Pin, ...]:
        """Those of `there` that are meant. A version with a hyphen is that of a build, or begins a release.

        Raises UserError, which says `none` and names what there is, when there is nothing.
        """
        known = sorted(there, key=lambda pin: (pin.upstream, Version(re.sub(r"[^A-Za-z0-9.+~-]", ".", build_of(pin)))))
        exact = bool(re.search(r"-(?!rc)", self.series or ""))
        if exact:
            mine = [it for it in known if build_of(it) == self.chosen or f"{it.release}-".startswith(f"{self.chosen}-")]
            groups: Sequence[Sequence[Pin]] = [mine[-1:]] if mine else []
        else:
            groups = meant(known, Versions.parse(self.chosen), self.which, lambda pin: pin.upstream)
        if not groups:
            names = ", ".join(dict.fromkeys(build_of(pin) if exact else str(pin.upstream) for pin in known))
            raise UserError(none, hint=f"there are {names}" if names else "`runner kernels list` shows what there is")
        return tuple(group[0].model_copy(update={"source": self.text}) for group in groups)


def age(pin: Pin) -> tuple[KernelVersion, Version]:
    """Sorts kernels by version, and the builds of one version by Debian's revision."""
    return pin.upstream, Version(pin.package_version or "0")


def needs_tool(tool: str, package: str, what: str) -> None:
    """Raises InfraError, naming Debian's package, when a program is not installed that only some sources need."""
    try:
        require(tool)
    except InfraError:
        hint = f"sudo apt-get install --no-install-recommends {package}"
        raise InfraError(f"{tool} is not installed; {what}", hint=hint) from None


_Item = TypeVar("_Item")


def meant(
    known: Sequence[_Item], versions: Versions, which: Which | None, version: Callable[[_Item], KernelVersion]
) -> tuple[tuple[_Item, ...], ...]:
    """For each kernel that is meant those of `known`, the oldest first, that would do, the best of them first. Pure.

    Meant are the newest of each series of a range, or `all` of it. What is no range is one kernel, the newest, unless
    `which` says all. A release candidate will do only where there is nothing else.
    """
    groups: dict[object, list[_Item]] = {}
    for one in reversed(known):
        its = version(one)
        if its in versions:
            key = its if which == "all" else its.series if versions.is_range else None
            groups.setdefault(key, []).append(one)
    released = {version(one).series for group in groups.values() for one in group if not version(one).is_candidate}
    chosen = []
    for group in groups.values():
        finals = [one for one in group if not version(one).is_candidate]
        if finals or version(group[0]).series not in released:
            chosen.append(tuple(finals or group))
    return tuple(reversed(chosen))
