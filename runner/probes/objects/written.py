"""A user's objects as bpf/NAME.yaml and matrix.yaml name them, and what is expected. docs/load.md explains it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints

from runner.errors import UserError
from runner.model import Plain, ProgType, SafeName
from runner.model.architecture import ARCHITECTURES, Architecture
from runner.model.version import KernelVersion
from runner.probes.census.kfuncs import KfuncList
from runner.probes.files import Span, Text
from runner.probes.kind import VMLINUX
from runner.probes.objects.causes import Cause
from runner.probes.objects.elf import ObjectFile, read_object

TOGETHER, MAP = "@together", "map:"  # items that are no program: the object as a whole, and its maps
OLD = "@old"  # ends the id of a build that the object of the same id is compared with
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")]
Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.*?\[\]@:-]{1,128}$")]
Word = Literal[
    "untyped", "map", "extern", "target", "core", "type", "helper", "refused", "too-large", "tail-call", "attach"
]
_GO = {"x86_64": "amd64"}  # Go's names of the architectures, where they are not ours


class Refused(Plain):
    """The kernel does not load it; with `cause` and `name` for this reason only."""

    load: Annotated[Literal["refused"], Field(description="that it does not load")] = "refused"
    cause: Annotated[Word | None, Field(description="only for this reason")] = None
    name: Annotated[Text | None, Field(description="of what the reason is about: a kfunc, a map")] = None

    def fits(self, cause: Cause) -> bool:
        return self.cause in (None, cause.word) and self.name in (None, cause.name)

    def __str__(self) -> str:
        return " ".join(filter(None, ("refused", self.cause and f"({self.cause}", self.name))) + ")" * bool(self.cause)


class ObjectExpectation(Span):
    """These programs, maps (`map:NAME`) or `@together` are known not to load on these kernels, and why."""

    programs: Annotated[tuple[Pattern, ...], Field(min_length=1, description="patterns of names")]
    answer: Annotated[Refused, Field(description="what is expected; by default any refusal")] = Refused()
    why: Annotated[Text, Field(description="the reason, for people")]


class ProgramSetting(Plain):
    """What the user's own loader sets before it loads a program."""

    type: Annotated[ProgType | None, Field(description="where its section does not tell it")] = None
    target: Annotated[
        Text | None,
        Field(description="the kernel's function that to attach to; of ext: PROGRAM or PROGRAM:FUNCTION of the object"),
    ] = None


class MapSetting(Plain):
    """What the user's own loader sets before it makes a map."""

    max_entries: Annotated[int, Field(gt=0, lt=1 << 32, description="instead of what the object says")]


class NumberLimits(Plain):
    """A program that needs more is a broken claim."""

    insns: Annotated[int | None, Field(gt=0, description="instructions that the verifier processed")] = None
    states: Annotated[int | None, Field(gt=0, description="states that it kept")] = None
    prog_bytes: Annotated[int | None, Field(gt=0, description="of the program in the kernel")] = None
    growth: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}%$")] | None,
        Field(description="25%: more instructions than in the last stored answer of this kernel of the matrix"),
    ] = None


class ObjectSettings(Plain):
    """What can be said of an object, wherever it is named."""

    up_to: Annotated[Literal["load", "attach"], Field(description="how far each program is to come")] = "load"
    log: Annotated[Literal["cut", "whole"], Field(description="of a verifier's log that is long")] = "cut"
    modules: Annotated[tuple[SafeName, ...], Field(description="to load first, besides those that it calls")] = ()
    maps: dict[Pattern, MapSetting] = Field(default_factory=dict, description="by name")
    programs: dict[Pattern, ProgramSetting | Literal["skip"]] = Field(
        default_factory=dict, description="by pattern of their names; skip: not asked about"
    )
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
    only: Annotated[tuple[Pattern, ...], Field(description="only these programs")] = ()


@dataclass(frozen=True)
class UserObject:
    """An object file of one id, on each architecture that it was built for."""

    id: str
    settings: ObjectSettings
    names: tuple[str, ...]  # of its programs that are asked about
    digests: Mapping[str, str]  # of the files, by our name of the architecture
    homes: Mapping[str, tuple[str, ...]]  # of the kfuncs that it calls: what holds each on some kernel
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
        """An object from its files. Raises UserError for a pattern that matches no program."""
        every = tuple(dict.fromkeys(name for file in files.values() for name in file.programs))
        for pattern in (*only, *settings.programs):
            if not any(fnmatchcase(name, pattern) for name in every):
                raise UserError(f"object {id_} has no program {pattern!r}", hint=f"it has: {', '.join(every[:8])}")
        skip = [pattern for pattern, setting in settings.programs.items() if setting == "skip"]
        wanted = {extern for file in files.values() for extern in file.externs}
        return cls(
            id=id_,
            settings=settings,
            names=tuple(name for name in every if _any(name, only or ("*",)) and not _any(name, skip)),
            digests={arch: file.sha256 for arch, file in files.items()},
            homes={name: holders for name, holders in kfuncs.homes().items() if name in wanted},
            file_name=next((Path(file.path).name for file in files.values()), ""),
            only=only,
            files=files,
        )

    @property
    def modules(self) -> tuple[str, ...]:
        """Those that the user names, and those that hold a kfunc which it calls."""
        holders = (home for homes in self.homes.values() for home in homes if home != VMLINUX)
        return tuple(dict.fromkeys((*self.settings.modules, *holders)))

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
        for entry in self.settings.expect:
            if _any(name, entry.programs) and (version in entry.interval if version else entry.always):
                return entry
        return None

    def expects_by_version(self, name: str) -> bool:
        """Does it depend on the version whether this is expected to load?"""
        return any(_any(name, entry.programs) and not entry.always for entry in self.settings.expect)


def objects_of(root: Path, written: Iterable[WrittenObject | ObjectEntry], kfuncs: KfuncList) -> tuple[UserObject, ...]:
    """Read every file that is named. Raises UserError when a pattern finds none, or two files have one id."""
    found: dict[str, UserObject] = {}
    for entry in written:
        pattern = entry.object if isinstance(entry, ObjectEntry) else entry.file
        for name, files in _files(root, pattern).items():
            chosen = entry.id or name
            if chosen in found:
                raise UserError(
                    f"two objects are called {chosen!r}", hint="rename one, or give it an `id` in bpf/NAME.yaml"
                )
            settings = ObjectSettings(**{key: getattr(entry, key) for key in ObjectSettings.model_fields})
            only = entry.only if isinstance(entry, ObjectEntry) else ()
            found[chosen] = UserObject.of_files(chosen, settings, only, files, kfuncs)
    return tuple(found.values())


def _any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _files(root: Path, pattern: str) -> dict[str, dict[str, ObjectFile]]:
    """The files of a pattern, by the object's name and the architecture."""
    found: dict[str, dict[str, ObjectFile]] = {}
    for arch in ARCHITECTURES.values():
        for path in _paths(root, filled(pattern, arch)):
            file = _read(path)
            if file.byte_order == arch.byte_order:
                found.setdefault(file.name, {})[arch.name] = file
    if not found:
        hint = "paths are relative to the project's folder"
        if unknown := re.search(r"\{\w+\}", filled(pattern, next(iter(ARCHITECTURES.values())))):
            hint = f"there is no {unknown[0]}: {{arch}}, {{goarch}} and {{debarch}} are replaced"
        raise UserError(f"no object file matches {pattern!r}", hint=hint)
    return found


def filled(pattern: str, arch: Architecture) -> str:
    """`build/{arch}/lb.o` with the architecture's names: {arch}, {goarch}, {debarch}."""
    names = {"arch": arch.name, "goarch": _GO.get(arch.name, arch.name), "debarch": arch.debian}
    return re.sub(r"\{(\w+)\}", lambda found: names.get(found[1], found[0]), pattern)


_cache: dict[tuple[str, int, int], ObjectFile] = {}


def _read(path: Path) -> ObjectFile:
    """Read each file once, although it serves several architectures."""
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    key = (str(path), stat.st_mtime_ns, stat.st_size)
    if key not in _cache:
        _cache[key] = read_object(path)
    return _cache[key]


def _paths(root: Path, pattern: str) -> list[Path]:
    whole = root / pattern
    if not re.search(r"[*?\[]", pattern):
        return [whole] if "{" not in pattern and whole.exists() else []
    base = Path(whole.anchor)
    return sorted(path for path in base.glob(str(whole.relative_to(base))) if path.is_file())
