# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""matrix.yaml: which kernels, on which architectures, are asked what. Pure, but for reading that file."""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar, Union

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag

from runner import yamlfile
from runner.errors import UserError
from runner.kernels import BY_WORD, SOURCES
from runner.kernels.archive import IMAGE_SUITES
from runner.kernels.fields import Arch, DebPackage, Matches, Name, OneOf, quoted
from runner.kernels.oci import ContainerText
from runner.kernels.source import KernelSource
from runner.matrix.cells import cell_ids, kernel_names
from runner.model import Cell, GuestSize, Limits, Lock, Pin, Plain, Settings, Wanted, WantedImage
from runner.probes.files import folders, own_or_shipped, probe_name
from runner.probes.kinds import PROBE_ENTRIES
from runner.text import closest, nearest
from runner.yamlfile import Document, Location

MAX_ENTRIES = 256  # of kernels; many more than anyone boots
PlainT = TypeVar("PlainT", bound=Plain)
SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"
Glob = Annotated[
    str,
    BeforeValidator(quoted),
    Matches("a pattern", r"[A-Za-z0-9._*?\[\]!-]{1,64}", "a kernel's name, in which * stands for anything"),
]
BaseSuite = Annotated[str, OneOf("suite for an image", IMAGE_SUITES)]

# --- the file, as it is written ------------------------------------------------------------------------------------


def _entry_tag(entry: object) -> str | None:
    """Which source an entry is of: by its key, or by the key that looks most like one. None: of none, or of several."""
    keys = [key for key in entry if isinstance(key, str)] if isinstance(entry, dict) else [SOURCES[0].word]
    named = [key for key in keys if key in BY_WORD]
    near = [word for key in keys if (word := closest(key, BY_WORD))]
    words = named or near[:1]
    return f"{words[0]}:" if len(words) == 1 else None


if TYPE_CHECKING:
    AnyEntry = KernelSource
else:  # the tags end in a colon, so that none of them is a key of the file: they appear in the places of errors
    AnyEntry = Annotated[
        Union[tuple(Annotated[source, Tag(f"{source.word}:")] for source in SOURCES)],  # noqa: UP007
        Discriminator(
            _entry_tag,
            custom_error_type=yamlfile.IN_OUR_WORDS,
            custom_error_message=f"a kernel has one source: exactly one of the keys {', '.join(BY_WORD)}",
        ),
    ]


def _probe_tag(probe: object) -> str:
    """Which kind of probe a mapping is of, by its keys, else the first; the name of a file is of none."""
    if not isinstance(probe, dict):
        return "name"
    return next(f"{key}:" for key in (*probe, *PROBE_ENTRIES) if key in PROBE_ENTRIES)


if TYPE_CHECKING:
    AnyProbe = str | Plain
else:
    AnyProbe = Annotated[
        Union[
            (
                Annotated[Name, Tag("name")],
                *(Annotated[entry, Tag(f"{key}:")] for key, entry in PROBE_ENTRIES.items()),
            )
        ],
        Discriminator(_probe_tag),
    ]


class ExcludeEntry(Plain):
    """Cells to leave out: those that match everything that is said here."""

    kernel: Annotated[Glob, Field(description="a kernel's name; * stands for anything")] = "*"
    arch: Annotated[Arch | None, Field(description="an architecture; by default all of them")] = None

    def matches(self, arch: str, *names: str) -> bool:
        """Is one of the names of a kernel on `arch` meant?"""
        return self.arch in (None, arch) and any(fnmatch.fnmatchcase(name, self.kernel) for name in names)


class ImageEntry(Plain):
    """The guests' root disk."""

    suite: Annotated[BaseSuite, Field(description="Debian suite of the programs in the guest")] = "trixie"
    packages: Annotated[
        tuple[DebPackage, ...], Field(max_length=256, description="Debian packages besides those of every guest")
    ] = ()

    oci: Annotated[
        ContainerText | None,
        Field(description="a container image as the root of commands, in a registry or in a layout at a whole path"),
    ] = None

    @property
    def wanted(self) -> WantedImage:
        return WantedImage(suite=self.suite, added=tuple(sorted(set(self.packages))), oci=self.oci or "")


class MatrixFile(Plain):
    """Which kernels, on which architectures, are asked what."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="matrix.yaml")

    schema_: Annotated[Literal[1], Field(alias="schema", description="version of this format")] = 1
    kernels: Annotated[
        tuple[AnyEntry, ...], Field(max_length=MAX_ENTRIES, description="kernels wanted on every architecture")
    ] = ()
    architectures: Annotated[tuple[Arch, ...], Field(description="the architectures for `kernels`")] = ()
    probes: Annotated[
        tuple[AnyProbe, ...], Field(min_length=1, description="probe files to ask: NAME is bpf/NAME.yaml")
    ]
    include: Annotated[
        tuple[AnyEntry, ...],
        Field(max_length=MAX_ENTRIES, description="further kernels, each with its own architectures"),
    ] = ()
    exclude: Annotated[tuple[ExcludeEntry, ...], Field(max_length=MAX_ENTRIES, description="cells to leave out")] = ()
    image: Annotated[ImageEntry, Field(description="the guests' root disk")] = ImageEntry()
    guest: Annotated[GuestSize, Field(description="what a guest gets of its host")] = GuestSize()
    limits: Annotated[Limits, Field(description="in seconds: no wait is longer")] = Limits()

    @property
    def probe_names(self) -> tuple[str, ...]:
        return tuple(probe_name(number, probe) for number, probe in enumerate(self.probes))


def json_schema() -> dict[str, object]:
    """The JSON schema of matrix.yaml, for editors."""
    return {"$schema": SCHEMA_ID, **MatrixFile.model_json_schema()}


# --- the matrix ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Matrix:
    """A checked matrix.yaml."""

    path: Path
    sha256: str  # of the file
    file: MatrixFile
    places: Mapping[str, str] = field(default_factory=dict, compare=False)  # FILE:LINE, by the text of a source
    document: Document | None = field(default=None, compare=False)  # of the file; None: its probes are not in it

    def holding(self, file: MatrixFile) -> Matrix:
        """The same with other content, which stands in no file."""
        return replace(self, file=file, sha256=hashlib.sha256(repr(file).encode()).hexdigest(), document=None)

    def wanted(self) -> tuple[Wanted, ...]:
        """Everything that is wanted, in the file's order: kernels first, then architectures."""
        left_out = self.file.exclude
        return tuple(one for one in _expand(self.file) if not any(it.matches(one.arch, one.name) for it in left_out))

    def cells(self, lock: Lock) -> tuple[Cell, ...]:
        """The cells, with the exact kernels and images of `lock`.

        Raises UserError when `lock` lacks something that is wanted.
        """
        pins: dict[tuple[str, str], list[Pin]] = {}
        for kernel in lock.kernels:
            pins.setdefault((kernel.source, kernel.arch), []).append(kernel)
        images = {(image.named, image.arch): image for image in lock.images}
        image, wanted = self.file.image.wanted, self.wanted()
        missing = [f"kernel {one.source} for {one.arch}" for one in wanted if (one.source, one.arch) not in pins]
        missing += [f"image {image} for {one.arch}" for one in wanted if (image.named, one.arch) not in images]
        if missing:
            first, *others = dict.fromkeys(missing)
            raise UserError(
                f"{self.path}: not in the lock file: {first}" + (f" and {len(others)} more" if others else ""),
                hint="`runner kernels lock` looks up the exact versions and writes them",
            )
        named = [
            (name, kernel, one.settings)
            for one in wanted
            for name, kernel in kernel_names(one, pins[one.source, one.arch])
            if not any(entry.matches(one.arch, name, kernel.version) for entry in self.file.exclude if one.which)
        ]
        if not named:
            raise UserError(
                f"{self.path}: the matrix is empty: everything is excluded",
                hint="take an entry out of `exclude`; `runner matrix list` shows what is left",
            )
        return tuple(
            Cell(
                id=cell_id,
                name=name,
                kernel=kernel,
                image=images[image.named, kernel.arch],
                probes=self.file.probe_names,
                guest=settings.guest,
                limits=settings.limits,
                cmdline=settings.cmdline,
            )
            for cell_id, name, kernel, settings in cell_ids(named)
        )


def load_matrix(path: Path) -> Matrix:
    """Read and check matrix.yaml; nothing is fetched, and nothing but that file is read.

    Raises one UserError that lists every problem with its line.
    """
    document = yamlfile.load(path, absent="run it in the project's folder, or say --matrix FILE")
    file = yamlfile.validate(document, MatrixFile)
    problems = [
        *_repeated(file),
        *_entry_problems(file),
        *_name_problems(file),
        *_missing_probes(file, project_root(path)),
        *_exclude_problems(file),
    ]
    if problems:
        raise document.error(problems)
    places = {
        wanted.source: f"{path}:{document.line(loc)}"
        for loc, entry in reversed(_entries(file))
        for arch in entry.architectures or file.architectures
        for wanted in entry.wanted(arch)
    }
    return Matrix(path, document.sha256, file, places, document)


def project_root(path: Path) -> Path:
    """Where the claims of a matrix are, and its reports: the nearest folder, its own or one above, that holds bpf/."""
    own = path.parent
    return next((folder for folder in (own, *own.resolve().parents) if (folder / "bpf").is_dir()), own)


def _expand(file: MatrixFile) -> Iterator[Wanted]:
    """Everything that is wanted before `exclude`."""
    for entry in (*file.kernels, *file.include):
        settings = Settings(
            guest=_changed(file.guest, entry.guest), limits=_changed(file.limits, entry.limits), cmdline=entry.cmdline
        )
        for arch in entry.architectures or file.architectures:
            yield from (one.model_copy(update={"settings": settings}) for one in entry.wanted(arch))


def _changed(common: PlainT, own: PlainT | None) -> PlainT:
    """What all kernels have, but for what is written at this one."""
    return common.model_copy(update=own.model_dump(exclude_unset=True)) if own else common


# --- what the types alone cannot say --------------------------------------------------------------------------------


def _repeated(file: MatrixFile) -> Iterator[tuple[Location, str]]:
    lists: list[tuple[Location, tuple[str, ...]]] = [
        (("architectures",), file.architectures),
        (("probes",), tuple(map(str, file.probes))),
    ]
    lists += [((*loc, "architectures"), entry.architectures or ()) for loc, entry in _entries(file)]
    for loc, words in lists:
        for index, word in enumerate(words):
            if word in words[:index]:
                yield (*loc, index), f"{word!r} is there already"


def _entries(file: MatrixFile) -> list[tuple[Location, KernelSource]]:
    lists = {"kernels": file.kernels, "include": file.include}
    return [((key, index), entry) for key, entries in lists.items() for index, entry in enumerate(entries)]


def _entry_problems(file: MatrixFile) -> Iterator[tuple[Location, str]]:
    for loc, entry in _entries(file):
        here = entry.architectures or file.architectures
        if loc[0] == "include" and not entry.architectures:
            yield loc, "the key 'architectures' is missing"
        elif here and not any(True for arch in here for _ in entry.wanted(arch)):
            yield loc, f"it has no such build for {', '.join(here)}"


def _name_problems(file: MatrixFile) -> Iterator[tuple[Location, str]]:
    """A name stands for one kernel, and a kernel is on an architecture once. Ids are in lower case, so case is no
    difference."""
    for (_, first), (loc, entry) in itertools.combinations(_entries(file), 2):
        if first.called.lower() != entry.called.lower():
            continue
        place: Location = (*loc, "name" if entry.name else entry.key)
        there, here = (set(one.architectures or file.architectures) for one in (first, entry))
        if _content(first) != _content(entry) or loc[0] == "kernels":
            yield place, f"two kernels are called {entry.called!r}: give one of them another `name`"
        elif both := sorted(there & here):
            yield place, f"{entry.called!r} is wanted on {', '.join(both)} already"


def _content(entry: KernelSource) -> dict[str, object]:
    """What it says but for its name and where it is wanted."""
    return entry.model_dump(exclude={"name", "architectures"})


def _missing_probes(file: MatrixFile, folder: Path) -> Iterator[tuple[Location, str]]:
    there = sorted({found.stem for each in folders(folder) for found in each.glob("*.yaml")})
    for index, name in enumerate(file.probes):
        if not isinstance(name, str):
            continue
        try:
            found = own_or_shipped(folder, f"{name}.yaml")
        except UserError as error:
            yield ("probes", index), f"{error.what}: {error.hint}"
        else:
            if not found.is_file():
                known = nearest(name, there)
                yield ("probes", index), f"no claims called {name!r}: bpf/{name}.yaml does not exist; {known}"


def _exclude_problems(file: MatrixFile) -> Iterator[tuple[Location, str]]:
    everything = list(_expand(file))
    if not everything:
        empty = [key for key in ("kernels", "architectures") if not getattr(file, key)]
        if empty:
            none = " and ".join(empty)
            yield (empty[0],), f"the matrix is empty: there must be kernels and architectures; {none}: none"
        return
    if any(one.which for one in everything):
        return  # which kernels a range stands for is known to the lock alone
    for index, entry in enumerate(file.exclude):
        if not any(entry.matches(one.arch, one.name) for one in everything):
            yield ("exclude", index), f"excludes nothing; kernels: {', '.join({w.name: None for w in everything})}"
    if all(any(entry.matches(one.arch, one.name) for entry in file.exclude) for one in everything):
        yield ("exclude",), "the matrix is empty: everything is excluded"
