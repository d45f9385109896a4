"""matrix.yaml: which kernels, on which architectures, are asked what. Pure, but for reading that file."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema

from runner import yamlfile
from runner.architecture import ARCHITECTURES
from runner.errors import MatrixError
from runner.model import Cell, GuestSize, Limits, Lock, LockedImage, LockedKernel, Plain, Wanted
from runner.suites import IMAGE_SUITES, SUITES
from runner.yamlfile import Location

MAX_ENTRIES = 256  # of kernels; many more than anyone boots
SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"


def _one_of(what: str, known: Iterable[str]) -> Callable[[str], str]:
    names = tuple(known)

    def check(word: str) -> str:
        if word not in names:
            raise ValueError(f"unknown {what} {word!r}; {yamlfile.nearest(word, names)}")
        return word

    return check


def _matches(what: str, pattern: str, rule: str) -> Callable[[str], str]:
    def check(word: str) -> str:
        if not re.fullmatch(pattern, word):
            raise ValueError(f"{word!r} is not {what}: {rule}")
        return word

    return check


def _quoted(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError('put it in quotes, like "6.12": without them, YAML reads 6.10 as the number 6.1')
    return value


_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_SERIES = r"[1-9][0-9]{0,2}(\.[0-9]{1,5}){0,2}"
_GLOB = r"[A-Za-z0-9._*?\[\]!-]{1,64}"

Name = Annotated[
    str,
    BeforeValidator(_quoted),
    AfterValidator(_matches("a name", _NAME, "letters, digits and `.`, `_`, `-`, at most 64, no sign at its start")),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME}$"}),
]
Series = Annotated[
    str,
    BeforeValidator(_quoted),
    AfterValidator(_matches("a kernel series", _SERIES, 'like "6.12", "7", or one version, like "6.12.117"')),
    WithJsonSchema({"type": "string", "pattern": f"^{_SERIES}$"}),
]
Glob = Annotated[
    str,
    BeforeValidator(_quoted),
    AfterValidator(_matches("a pattern", _GLOB, "a kernel's name, in which * stands for anything")),
    WithJsonSchema({"type": "string", "pattern": f"^{_GLOB}$"}),
]
Suite = Annotated[
    str, AfterValidator(_one_of("suite", SUITES)), WithJsonSchema({"type": "string", "enum": list(SUITES)})
]
BaseSuite = Annotated[
    str,
    AfterValidator(_one_of("suite for an image", IMAGE_SUITES)),
    WithJsonSchema({"type": "string", "enum": list(IMAGE_SUITES)}),
]
Arch = Annotated[
    str,
    AfterValidator(_one_of("architecture", ARCHITECTURES)),
    WithJsonSchema({"type": "string", "enum": list(ARCHITECTURES)}),
]


# --- the file, as it is written ------------------------------------------------------------------------------------


class KernelEntry(Plain):
    """A kernel of a Debian suite: the newest build of a series, or one version."""

    debian: Annotated[Suite, Field(description="Debian suite whose packages are used")]
    series: Annotated[Series, Field(description="in quotes: stable series, major version, or one exact version")]
    name: Annotated[Name | None, Field(description="what cells and reports call it; by default the series")] = None

    @property
    def called(self) -> str:
        return self.name or self.series

    @property
    def source(self) -> str:
        return f"debian:{self.debian}/{self.series}"


class IncludeEntry(KernelEntry):
    """A kernel that is wanted on some architectures only."""

    architectures: Annotated[tuple[Arch, ...], Field(min_length=1, description="the architectures for this kernel")]


class ExcludeEntry(Plain):
    """Cells to leave out: those that match everything that is said here."""

    kernel: Annotated[Glob, Field(description="a kernel's name; * stands for anything")] = "*"
    arch: Annotated[Arch | None, Field(description="an architecture; by default all of them")] = None

    def matches(self, wanted: Wanted) -> bool:
        return fnmatch.fnmatchcase(wanted.name, self.kernel) and self.arch in (None, wanted.arch)


class ImageEntry(Plain):
    """The guests' root disk."""

    suite: Annotated[BaseSuite, Field(description="Debian suite of the programs in the guest")] = "trixie"


class MatrixFile(Plain):
    """Which kernels, on which architectures, are asked what."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="matrix.yaml")

    schema_: Annotated[Literal[1], Field(alias="schema", description="version of this format")] = 1
    kernels: Annotated[
        tuple[KernelEntry, ...], Field(max_length=MAX_ENTRIES, description="kernels wanted on every architecture")
    ] = ()
    architectures: Annotated[tuple[Arch, ...], Field(description="the architectures for `kernels`")] = ()
    probes: Annotated[tuple[Name, ...], Field(min_length=1, description="claim files to ask: NAME is bpf/NAME.yaml")]
    include: Annotated[
        tuple[IncludeEntry, ...], Field(max_length=MAX_ENTRIES, description="further kernels, on some architectures")
    ] = ()
    exclude: Annotated[tuple[ExcludeEntry, ...], Field(max_length=MAX_ENTRIES, description="cells to leave out")] = ()
    image: Annotated[ImageEntry, Field(description="the guests' root disk")] = ImageEntry()
    guest: Annotated[GuestSize, Field(description="what a guest gets of its host")] = GuestSize()
    limits: Annotated[Limits, Field(description="in seconds: no wait is longer")] = Limits()


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

    def wanted(self) -> tuple[Wanted, ...]:
        """Every cell that is wanted, in the file's order: kernels first, then architectures."""
        left_out = self.file.exclude
        return tuple(one for one in _expand(self.file) if not any(entry.matches(one) for entry in left_out))

    def cells(self, lock: Lock) -> tuple[Cell, ...]:
        """The cells, with the exact kernels and images of `lock`.

        A cell's id is VERSION-ARCH, or VERSION-NAME-ARCH where several kernels turn out to be of one version.
        Raises MatrixError when `lock` lacks something that is wanted.
        """
        kernels = {(kernel.source, kernel.arch): kernel for kernel in lock.kernels}
        images = {(image.suite, image.arch): image for image in lock.images}
        pinned: list[tuple[Wanted, LockedKernel, LockedImage]] = []
        missing: dict[str, None] = {}  # keeps the order
        for wanted in self.wanted():
            kernel = kernels.get((wanted.source, wanted.arch))
            image = images.get((self.file.image.suite, wanted.arch))
            if kernel is None:
                missing[f"kernel {wanted.source} for {wanted.arch}"] = None
            if image is None:
                missing[f"image {self.file.image.suite} for {wanted.arch}"] = None
            if kernel and image:
                pinned.append((wanted, kernel, image))
        if missing:
            first, *others = missing
            raise MatrixError(
                f"{self.path}: not in the lock file: {first}" + (f" and {len(others)} more" if others else ""),
                hint="`runner kernels lock` looks up the exact versions and writes them",
            )
        builds = Counter((kernel.version, kernel.arch) for _, kernel, _ in pinned)
        return tuple(
            Cell(
                id=cell_id(kernel, wanted.name if builds[kernel.version, kernel.arch] > 1 else ""),
                name=wanted.name,
                kernel=kernel,
                image=image,
                probes=self.file.probes,
                guest=self.file.guest,
                limits=self.file.limits,
            )
            for wanted, kernel, image in pinned
        )


def cell_id(kernel: LockedKernel, name: str = "") -> str:
    """6.12.107-x86_64, or 6.12.107-NAME-x86_64; only [a-z0-9._-]."""
    parts = filter(None, (kernel.version, name, kernel.arch))
    return re.sub(r"[^a-z0-9._-]", "-", "-".join(parts).lower())


def load_matrix(path: Path) -> Matrix:
    """Read and check matrix.yaml; nothing is fetched, and nothing but that file is read.

    Raises one MatrixError that lists every problem with its line.
    """
    document = yamlfile.load(path)
    file = yamlfile.validate(document, MatrixFile)
    problems = [
        *_repeated(file),
        *_name_problems(file),
        *_missing_probes(file, path.parent),
        *_exclude_problems(file),
    ]
    if problems:
        raise document.error(problems)
    return Matrix(path, document.sha256, file)


def _expand(file: MatrixFile) -> Iterator[Wanted]:
    """Every wanted kernel before `exclude`."""
    for entry in file.kernels:
        yield from _on(entry, file.architectures)
    for extra in file.include:
        yield from _on(extra, extra.architectures)


def _on(entry: KernelEntry, architectures: Iterable[str]) -> Iterator[Wanted]:
    return (Wanted(name=entry.called, source=entry.source, arch=arch) for arch in architectures)


# --- what the types alone cannot say --------------------------------------------------------------------------------


def _repeated(file: MatrixFile) -> Iterator[tuple[Location, str]]:
    lists: list[tuple[Location, tuple[str, ...]]] = [
        (("architectures",), file.architectures),
        (("probes",), file.probes),
    ]
    lists += [(("include", index, "architectures"), entry.architectures) for index, entry in enumerate(file.include)]
    for loc, words in lists:
        for index, word in enumerate(words):
            if word in words[:index]:
                yield (*loc, index), f"{word!r} is there already"


def _name_problems(file: MatrixFile) -> Iterator[tuple[Location, str]]:
    """A name stands for one kernel, and a kernel is on an architecture once. Ids are in lower case, so case is no
    difference."""
    entries: list[tuple[Location, KernelEntry, tuple[str, ...]]] = [
        *((("kernels", index), entry, file.architectures) for index, entry in enumerate(file.kernels)),
        *((("include", index), entry, entry.architectures) for index, entry in enumerate(file.include)),
    ]
    for (_, first, there), (loc, entry, here) in itertools.combinations(entries, 2):
        if first.called.lower() != entry.called.lower():
            continue
        place: Location = (*loc, "name" if entry.name else "series")
        if first.source != entry.source or loc[0] == "kernels":
            yield place, f"two kernels are called {entry.called!r}: give one of them another `name`"
        elif both := sorted({*there} & {*here}):
            yield place, f"{entry.called!r} is wanted on {', '.join(both)} already"


def _missing_probes(file: MatrixFile, folder: Path) -> Iterator[tuple[Location, str]]:
    there = sorted(found.stem for found in (folder / "bpf").glob("*.yaml"))
    for index, name in enumerate(file.probes):
        if not (folder / "bpf" / f"{name}.yaml").is_file():
            known = yamlfile.nearest(name, there) if there else "there are no claim files beside the matrix"
            yield ("probes", index), f"no claims called {name!r}: bpf/{name}.yaml does not exist; {known}"


def _exclude_problems(file: MatrixFile) -> Iterator[tuple[Location, str]]:
    everything = list(_expand(file))
    if not everything:
        empty = [key for key in ("kernels", "architectures") if not getattr(file, key)]
        yield (empty[0],), f"the matrix is empty: there must be kernels and architectures; {' and '.join(empty)}: none"
        return
    for index, entry in enumerate(file.exclude):
        if not any(entry.matches(wanted) for wanted in everything):
            yield ("exclude", index), f"excludes nothing; kernels: {', '.join({w.name: None for w in everything})}"
    if all(any(entry.matches(wanted) for entry in file.exclude) for wanted in everything):
        yield ("exclude",), "the matrix is empty: everything is excluded"
