# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Finds the object files that a project names, reads each, and checks what is said of it."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import cast

from runner.errors import UserError
from runner.model.architecture import ARCHITECTURES
from runner.probes.files import KfuncList, ProbeFile
from runner.probes.objects.written import (
    MAP,
    TOGETHER,
    ObjectEntry,
    ObjectFile,
    ObjectSettings,
    UserObject,
    WrittenObject,
)
from runner.yamlfile import Location


def objects_of(root: Path, named: Iterable[ProbeFile], kfuncs: KfuncList) -> tuple[UserObject, ...]:
    """Read every file of what is `named`, each a WrittenObject or an ObjectEntry.

    Raises UserError when a pattern finds none, or two files have one id.
    """
    found: dict[str, UserObject] = {}
    for entry in named:
        written = cast("WrittenObject | ObjectEntry", entry.written)
        key = "object" if isinstance(written, ObjectEntry) else "file"
        with entry.at(key):
            every = _files(root, getattr(written, key))
        settings = ObjectSettings(**{key: getattr(written, key) for key in ObjectSettings.model_fields})
        only = written.only if isinstance(written, ObjectEntry) else ()
        for place, what, names in _named(settings):
            with entry.at(*place):
                _check(what, names, every)
        for name, files in every.items():
            chosen = written.id or name
            with entry.at("id"):
                if chosen in found:
                    hint = "rename one, or give it an `id` in bpf/NAME.yaml"
                    raise UserError(f"two objects are called {chosen!r}", hint=hint)
            with entry.at("only"):
                _check("program", only, {chosen: files})
            with entry.at("constants"):
                built = {arch: _with_constants(file, settings.constants) for arch, file in files.items()}
            found[chosen] = UserObject.of_files(chosen, settings, only, built, kfuncs)
    return tuple(found.values())


def _named(settings: ObjectSettings) -> Iterator[tuple[Location, str, Iterable[str]]]:
    """Where programs, maps or either are named, which of these, and their patterns."""
    for key, what in (("programs", "program"), ("maps", "map")):
        for pattern in getattr(settings, key):
            yield (key, pattern), what, [pattern]
    for number, group in enumerate(settings.one_of):
        yield ("one_of", number), "program", group
    for number, entry in enumerate(settings.expect):
        yield ("expect", number, "programs"), "program or map", entry.programs


def _check(what: str, patterns: Iterable[str], objects: Mapping[str, Mapping[str, ObjectFile]]) -> None:
    """Raises UserError for a pattern that matches nothing of these objects."""
    files = [file for each in objects.values() for file in each.values()]
    programs, maps = ({name for file in files for name in getattr(file, it)} for it in ("programs", "maps"))
    either = {*programs, *(MAP + name for name in maps), TOGETHER}
    every = sorted({"program": programs, "map": maps}.get(what, either))
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in every):
            of, there = " or ".join(objects), ", ".join(every[:8]) or "none"
            raise UserError(f"object {of} has no {what} {pattern!r}", hint=f"it has: {there}")


def _files(root: Path, pattern: str) -> dict[str, dict[str, ObjectFile]]:
    """The files of a pattern, by the object's name and the architecture."""
    found: dict[str, dict[str, ObjectFile]] = {}
    for arch in ARCHITECTURES.values():
        for path in _paths(root, arch.filled(pattern)):
            file = _read(path)
            if file.byte_order == arch.byte_order:
                found.setdefault(file.name, {})[arch.name] = file
    if not found:
        hint = "paths are relative to the project's folder"
        if unknown := re.search(r"\{\w+\}", next(iter(ARCHITECTURES.values())).filled(pattern)):
            hint = f"there is no {unknown[0]}: {{arch}}, {{goarch}} and {{debarch}} are replaced"
        raise UserError(f"no object file matches {pattern!r}", hint=hint)
    return found


_cache: dict[tuple[str, int, int], ObjectFile] = {}


def _read(path: Path) -> ObjectFile:
    """Read each file once, although it serves several architectures."""
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    key = (str(path), stat.st_mtime_ns, stat.st_size)
    if key not in _cache:
        from runner.probes.objects.elf import read_object  # noqa: PLC0415  late: it brings elftools

        _cache[key] = read_object(path)
    return _cache[key]


def _with_constants(file: ObjectFile, values: Mapping[str, int]) -> ObjectFile:
    """A copy in which variables have these values. Raises UserError when one cannot be set."""
    if not values:
        return file
    from runner.probes.objects.elf import with_values  # noqa: PLC0415  late: it brings elftools

    return replace(file, content=with_values(file.path, file.content, values))


def escaped(path: Path | str) -> str:
    """The pattern that means this path alone."""
    return glob.escape(str(path)).replace("{", "[{]")


def _paths(root: Path, pattern: str) -> list[Path]:
    whole = root / pattern
    if not re.search(r"[*?\[]", pattern):
        return [whole] if "{" not in pattern and whole.exists() else []
    base = Path(whole.anchor)
    return sorted(path for path in base.glob(str(whole.relative_to(base))) if path.is_file())
