# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A user's objects as bpf/NAME.yaml and matrix.yaml name them, and what is expected. docs/load.md explains it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, StringConstraints, Tag

from runner.errors import UserError
from runner.model import Plain, ProgType, SafeName
from runner.model.architecture import ARCHITECTURES
from runner.model.version import KernelVersion
from runner.probes.files import VMLINUX, KfuncList, Name, Span, Text, form
from runner.probes.objects.causes import Cause

TOGETHER, MAP = "@together", "map:"  # items that are no program: the object as a whole, and its maps
OLD = "@old"  # ends the id of a build that the object of the same id is compared with
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")]
NamePattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.*?\[\]@:-]{1,128}$")]
Word = Literal[
    "untyped", "map", "extern", "target", "core", "type", "helper", "refused", "too-large", "tail-call", "attach"
]
InnerType = Literal[
    "hash", "array", "percpu_hash", "percpu_array", "lru_hash", "lru_percpu_hash", "lpm_trie", "ringbuf", "queue",
    "stack", "bloom_filter", "sockmap", "sockhash", "devmap", "devmap_hash", "cpumap", "xskmap", "perf_event_array",
]  # fmt: skip


class Refused(Plain):
    """The kernel does not load it; with `cause` and `name` for this reason only."""

    load: Annotated[Literal["refused"], Field(description="that it does not load")] = "refused"
    cause: Annotated[Word | None, Field(description="only for this reason")] = None
    name: Annotated[Text | None, Field(description="of what the reason is about: a kfunc, a map")] = None
    log: Annotated[Text | None, Field(description="text in the line of the log that tells the reason")] = None

    def fits(self, cause: Cause) -> bool:
        return self.cause in (None, cause.word) and self.name in (None, cause.name) and (self.log or "") in cause.words

    def __str__(self) -> str:
        return " ".join(filter(None, ("refused", self.cause and f"({self.cause}", self.name))) + ")" * bool(self.cause)


class ObjectExpectation(Span):
    """These programs, maps (`map:NAME`) or `@together` are known not to load on these kernels, and why."""

    programs: Annotated[tuple[NamePattern, ...], Field(min_length=1, description="patterns of names")]
    answer: Annotated[Refused, Field(description="what is expected; by default any refusal")] = Refused()
    why: Annotated[Text, Field(description="the reason, for people")]


class ProgramSetting(Plain):
    """What the user's own loader sets before it loads a program."""

    type: Annotated[ProgType | None, Field(description="where its section does not tell it")] = None
    target: Annotated[
        Text | None,
        Field(description="the kernel's function that to attach to; of ext: PROGRAM or PROGRAM:FUNCTION of the object"),
    ] = None
    device: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,15}$")] | None,
        Field(description="what an xdp program is bound to: a veth that is made for it, under this name"),
    ] = None


class InnerMap(Plain):
    """A map as those are that are put into a map of maps."""

    type: Annotated[InnerType, Field(description="in libbpf's words")]
    key: Annotated[int, Field(ge=0, lt=1 << 32, description="its size in bytes")]
    value: Annotated[int, Field(ge=0, lt=1 << 32, description="its size in bytes")]
    max_entries: Annotated[int, Field(gt=0, lt=1 << 32, description="as the object would say")] = 1
    flags: Annotated[int, Field(ge=0, lt=1 << 32, description="map_flags, of linux/bpf.h")] = 0


class MapSetting(Plain):
    """What the user's own loader sets before it makes a map."""

    max_entries: Annotated[
        Annotated[int, Field(gt=0, lt=1 << 32)] | Literal["cpus"] | None,
        Field(description="instead of what the object says; cpus: as many as the guest may have"),
    ] = None
    inner: Annotated[InnerMap | None, Field(description="of a map of maps: what is in it")] = None


class NumberLimits(Plain):
    """A program that needs more is a broken claim."""

    insns: Annotated[int | None, Field(gt=0, description="instructions that the verifier processed")] = None
    states: Annotated[int | None, Field(gt=0, description="states that it kept")] = None
    prog_bytes: Annotated[int | None, Field(gt=0, description="of the program in the kernel")] = None
    growth: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}%$")] | None,
        Field(description="25%: more instructions than in the last stored answer of this kernel of the matrix"),
    ] = None


_Setting = Annotated[
    Annotated[Literal["skip"], Tag("text")] | Annotated[ProgramSetting, Tag("other")], Discriminator(form)
]


class ObjectSettings(Plain):
    """What can be said of an object, wherever it is named."""

    up_to: Annotated[Literal["load", "attach"], Field(description="how far each program is to come")] = "load"
    log: Annotated[Literal["cut", "whole"], Field(description="of a verifier's log that is long")] = "cut"
    modules: Annotated[tuple[SafeName, ...], Field(description="to load first, besides those that it calls")] = ()
    constants: dict[Name, bool | int] = Field(default_factory=dict, description="values of global variables, by name")
    maps: dict[NamePattern, MapSetting] = Field(default_factory=dict, description="by pattern of their names")
    programs: dict[NamePattern, _Setting] = Field(
        default_factory=dict, description="by pattern of their names; skip: not asked about"
    )
    one_of: Annotated[
        tuple[Annotated[tuple[Name, ...], Field(min_length=2)], ...],
        Field(description="programs of which the first that loads counts, and the others may not load"),
    ] = ()
    limits: Annotated[NumberLimits, Field(description="of each program")] = NumberLimits()
    expect: Annotated[tuple[ObjectExpectation, ...], Field(description="what is known not to load; all else is")] = ()


class WrittenObject(ObjectSettings):
    """One entry of `objects:` in bpf/NAME.yaml. `file` is a path or a pattern below the project."""

    id: Annotated[Id | None, Field(description="by default the file's name")] = None
    file: Annotated[Text, Field(description="a path or a pattern below the project; {arch}, {goarch}, {debarch}")]


class ObjectKeys(Plain):
    objects: Annotated[tuple[WrittenObject, ...], Field(min_length=1, description="object files")]


class _Key(Plain):
    object: Annotated[Text, Field(description="a path or a pattern below the project; {arch}, {goarch}, {debarch}")]


class ObjectEntry(ObjectSettings, _Key):  # in this order the key is the first field
    """The mapping `{object: "build/{arch}/*.bpf.o"}` among the matrix's `probes`."""

    id: Annotated[Id | None, Field(description="by default the file's name")] = None
    only: Annotated[tuple[NamePattern, ...], Field(description="only these programs")] = ()


@dataclass(frozen=True)
class ObjectFile:
    """An object that libbpf can open, as elf.py reads one. `externs` are what it needs from the kernel, by name."""

    path: str
    content: bytes
    byte_order: str  # little, big
    programs: tuple[str, ...]
    maps: tuple[str, ...]  # that it declares
    externs: tuple[str, ...]

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def name(self) -> str:
        """The file's, without its ending."""
        return name_of(Path(self.path))


def name_of(path: Path) -> str:
    """`lb` of build/lb.bpf.o, and of the lb.bpf.c that it is compiled from."""
    return path.name.removesuffix(".o").removesuffix(".c").removesuffix(".bpf")


@dataclass(frozen=True)
class UserObject:
    """An object file of one id, on each architecture that it was built for."""

    id: str
    settings: ObjectSettings
    names: tuple[str, ...]  # of its programs that are asked about
    digests: Mapping[str, str]  # of the files, by our name of the architecture
    # of the kfuncs that it calls: what holds each on some kernel, with the option that builds that
    homes: Mapping[str, Mapping[str, str]]
    file_name: str = ""
    only: tuple[str, ...] = ()  # patterns of programs
    files: Mapping[str, ObjectFile] = field(repr=False, default_factory=dict)

    @classmethod
    def of_files(
        cls,
        id_: str,
        settings: ObjectSettings,
        only: tuple[str, ...],
        files: Mapping[str, ObjectFile],
        kfuncs: KfuncList,
    ) -> Self:
        """An object from its files."""
        every = tuple(dict.fromkeys(name for file in files.values() for name in file.programs))
        skip = [pattern for pattern, setting in settings.programs.items() if setting == "skip"]
        wanted = {extern for file in files.values() for extern in file.externs}
        return cls(
            id=id_,
            settings=settings,
            names=tuple(name for name in every if _any(name, only or ("*",)) and not _any(name, skip)),
            digests={arch: file.sha256 for arch, file in files.items()},
            homes={
                name: {holder: kfuncs.objects[holder].config for holder in holders}
                for name, holders in kfuncs.homes.items()
                if name in wanted
            },
            file_name=next((Path(file.path).name for file in files.values()), ""),
            only=only,
            files=files,
        )

    @property
    def modules(self) -> tuple[str, ...]:
        """Those that the user names, and those that hold a kfunc which it calls."""
        holders = (home for homes in self.homes.values() for home in homes if home != VMLINUX)
        return tuple(dict.fromkeys((*self.settings.modules, *holders)))

    def rivals(self, name: str) -> tuple[str, ...]:
        """The other programs of which only one counts."""
        return tuple(it for group in self.settings.one_of if name in group for it in group if it != name)

    @property
    def program_settings(self) -> Mapping[str, ProgramSetting]:
        return {name: it for name, it in self.settings.programs.items() if isinstance(it, ProgramSetting)}

    def file(self, arch: str) -> ObjectFile:
        """The file for an architecture. Raises UserError when there is none of its byte order."""
        if arch in self.files:
            return self.files[arch]
        there = ", ".join(self.files)
        raise UserError(
            f"object {self.id} is not built for {arch}, which is {ARCHITECTURES[arch].byte_order}-endian",
            hint=f"build it with clang -m{ARCHITECTURES[arch].byte_order}-endian into a folder of its own and write "
            f"{{arch}} in its path, or ask only {there}",
        )

    def expected(self, name: str, version: KernelVersion | None) -> ObjectExpectation | None:
        """The first expectation that has this program or map on a kernel of this version, or on all if it has none."""
        mine = (it for it in self.settings.expect if _any(name, it.programs) and it.covers(version))
        return next(mine, None)

    def expects_by_version(self, name: str) -> bool:
        """Does it depend on the version whether this is expected to load?"""
        return any(_any(name, entry.programs) and not entry.always for entry in self.settings.expect)


def _any(name: str, patterns: Iterable[str]) -> bool:
    return any(_sort(name) == _sort(it) and fnmatchcase(name, it) for it in patterns)


def _sort(word: str) -> str:
    """`*` means programs alone: of what is no program, a pattern has the mark as well."""
    return next((mark for mark in (MAP, TOGETHER) if word.startswith(mark)), "")
