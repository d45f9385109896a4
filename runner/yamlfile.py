# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Reads the YAML files that people write, and says in which line what is wrong.

Only plain data is taken: mappings with text keys, lists, text, numbers, true/false, null. Anchors, aliases and tags are
refused, so a file is never larger in memory than on disk.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from runner import userfile
from runner.errors import UserError
from runner.text import nearest

Yaml = dict[str, "Yaml"] | list["Yaml"] | str | int | float | bool | None
Location = tuple[str | int, ...]  # ("kernels", 0, "series")
ModelT = TypeVar("ModelT", bound=BaseModel)

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_PROBLEMS = 50  # in one message
IN_OUR_WORDS = "in_our_words"  # the type of an error whose text is ours

AnyLoader = yaml.SafeLoader | yaml.CSafeLoader
_Loader: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
# YAML's own readings of the last three help nobody
_TEXT_SCALARS = {_TAG + kind for kind in ("str", "timestamp", "merge", "value")}
_OTHER_SCALARS = {_TAG + kind for kind in ("int", "float", "bool", "null")}


@dataclass(frozen=True, slots=True)
class Document:
    """A file's data, and where in the file each part of it stands."""

    path: Path
    data: Mapping[str, Yaml]
    sha256: str  # of the file's bytes
    lines: Mapping[Location, int]

    def known(self, loc: Location) -> Location:
        """`loc` as far as the file has it: what is missing has its parent's place, and the names of alternatives that
        pydantic puts between are left out."""
        found: Location = ()
        for part in loc:
            if (*found, part) in self.lines:
                found = (*found, part)
        return found

    def line(self, loc: Location) -> int:
        """The line, from 1, of the key or list item at `loc`, or of the nearest thing around it."""
        return self.lines[self.known(loc)]

    def error(self, problems: Iterable[tuple[Location, str]]) -> UserError:
        """One error that lists every problem, in the order of the lines."""
        placed = sorted({(self.line(loc), _dotted(self.known(loc)), what) for loc, what in problems})
        return UserError(
            "\n".join(f"{self.path}:{line}: {where + ': ' if where else ''}{what}" for line, where, what in placed)
        )


def load(path: Path, *, absent: str = "") -> Document:
    """Read one YAML mapping. `absent` says what to do when there is no such file.

    Raises UserError, `FILE:LINE: what is wrong`, when the file cannot be read, is larger than 1 MiB, is not UTF-8, is
    not YAML, is not a single mapping, names a key twice, nests deeper than 32 levels, or uses anchors or tags.
    """
    raw = userfile.read(path, most=MAX_BYTES, absent=absent)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8: byte 0x{raw[error.start]:02x}") from None
    lines: dict[Location, int] = {}
    try:
        _refuse_bombs(path, text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                raise UserError(f"{path}:{_line(node)}: the file must be a mapping (`key: value`), not {_kind(node)}")
            data = _mapping(path, loader, node, (), lines)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(filter(None, (error.context, error.problem)))
        raise UserError(f"{path}:{mark.line + 1 if mark else 1}: not YAML: {what}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"{path}:{line}: not YAML: {error.reason}") from None
    return Document(path, data, hashlib.sha256(raw).hexdigest(), lines)


def validate(document: Document, model: type[ModelT]) -> ModelT:
    """Make a `model` of the document. Nothing is converted: a number is not text, nor the other way about.

    Raises one UserError that lists every problem with its line.
    """
    try:  # through JSON, since only there does strict mean "the same kinds of values" and not "the same Python types"
        return model.model_validate_json(json.dumps(document.data), strict=True)
    except ValidationError as error:
        schema = model.model_json_schema()
        details = [detail for detail in error.errors(include_url=False) if not _follows(detail)][:MAX_PROBLEMS]
        problems = [_problem(document, schema, detail) for detail in details]
        raise document.error(problems) from None


# --- reading -------------------------------------------------------------------------------------------------------


def _refuse_bombs(path: Path, text: str) -> None:
    """Look at the flat stream of events first: building the tree recurses, and follows aliases."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise UserError(f"{path}:{line}: anchors and aliases (& and *) are not supported: write it out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise UserError(f"{path}:{line}: nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _line(node: yaml.Node | None) -> int:
    return node.start_mark.line + 1 if node else 1


def _kind(node: yaml.Node | None) -> str:
    if node is None:
        return "empty"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a single value"


def _mapping(
    path: Path, loader: AnyLoader, node: yaml.MappingNode, loc: Location, lines: dict[Location, int]
) -> dict[str, Yaml]:
    lines.setdefault(loc, _line(node))
    if node.tag != _TAG + "map":
        raise UserError(f"{path}:{_line(node)}: tags ({node.tag}) are not supported")
    data: dict[str, Yaml] = {}
    for key_node, value_node in node.value:
        key = _scalar(path, loader, key_node) if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            written = f" {key_node.value!r}" if isinstance(key_node, yaml.ScalarNode) else ""
            raise UserError(f"{path}:{_line(key_node)}: the key{written} must be text: put it in quotes")
        if key in data:
            first = lines[(*loc, key)]
            raise UserError(f"{path}:{_line(key_node)}: the key {key!r} is there already, in line {first}")
        lines[(*loc, key)] = _line(key_node)
        data[key] = _value(path, loader, value_node, (*loc, key), lines)
    return data


def _value(path: Path, loader: AnyLoader, node: yaml.Node, loc: Location, lines: dict[Location, int]) -> Yaml:
    lines.setdefault(loc, _line(node))
    if isinstance(node, yaml.MappingNode):
        return _mapping(path, loader, node, loc, lines)
    if isinstance(node, yaml.SequenceNode):
        if node.tag != _TAG + "seq":
            raise UserError(f"{path}:{_line(node)}: tags ({node.tag}) are not supported")
        return [_value(path, loader, item, (*loc, index), lines) for index, item in enumerate(node.value)]
    return _scalar(path, loader, node)


def _scalar(path: Path, loader: AnyLoader, node: yaml.Node) -> str | int | float | bool | None:
    """One value. A date stays the text that it is."""
    if node.tag not in _TEXT_SCALARS and node.tag not in _OTHER_SCALARS:
        raise UserError(f"{path}:{_line(node)}: tags ({node.tag}) are not supported")
    try:
        value = node.value if node.tag in _TEXT_SCALARS else loader.construct_object(node)
        if isinstance(value, str):
            value.encode()  # refuses half a surrogate pair
        if isinstance(value, int):
            str(value)  # refuses more digits than JSON takes; hexadecimal ones are not counted before
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("not finite")
    except (ValueError, KeyError, IndexError) as error:
        raise UserError(f"{path}:{_line(node)}: {str(node.value)[:40]!a} is not a value: {error}") from None
    assert value is None or isinstance(value, str | int | float | bool)  # noqa: S101  for the type checker
    return value


# --- saying what is wrong ------------------------------------------------------------------------------------------


def _dotted(loc: Location) -> str:
    """kernels[0].series"""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


# Pydantic speaks JSON's and Python's words, the file's author YAML's.
_WORDS = {
    "model_type": "should be a mapping (key: value)",
    "dict_type": "should be a mapping (key: value)",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "string_type": "should be text",
    "int_type": "should be a whole number",
    "float_type": "should be a number",
    "bool_type": "should be true or false",
}


def _problem(document: Document, schema: Mapping[str, Yaml], detail: ErrorDetails) -> tuple[Location, str]:
    """Pydantic's words, made ours where those help little."""
    loc, found, kind = detail["loc"], detail["input"], detail["type"]
    last = loc[-1] if loc else ""
    if kind == "extra_forbidden":
        known = _keys_at(schema, document.known(loc[:-1]))
        return loc, f"unknown key; {nearest(str(last), known)}"
    if kind == "missing":
        return loc[:-1], f"the key {str(last)!r} is missing"
    if kind == IN_OUR_WORDS:
        return loc, detail["msg"]
    if kind in ("value_error", "assertion_error"):
        return loc, detail["msg"].partition(", ")[2]
    if kind in ("too_short", "too_long"):
        limits = detail["ctx"]
        return loc, f"needs at least {limits['min_length']}" if kind == "too_short" else (
            f"at most {limits['max_length']} are allowed"
        )
    what = _WORDS.get(kind) or detail["msg"].replace("Input should", "should", 1)
    if isinstance(found, dict | list):
        return loc, f"{what}, not a {'mapping' if isinstance(found, dict) else 'list'}"
    return loc, f"{what}, not {json.dumps(found, ensure_ascii=False)[:80]}"


def _follows(detail: ErrorDetails) -> bool:
    """Pydantic calls a list too short when too few of its entries are right; those are complained about already."""
    found = detail["input"]
    return detail["type"] == "too_short" and isinstance(found, list) and len(found) >= detail["ctx"]["min_length"]


def _keys_at(schema: Mapping[str, Yaml], loc: Location) -> list[str]:
    """The keys that may stand in the mapping at `loc`, from a JSON schema."""
    places = list(_resolved(schema, schema))
    for part in loc:
        below: list[Yaml] = []
        for place in places:
            if isinstance(part, int):
                below.append(place.get("items"))
            else:
                properties = place.get("properties")
                below.append(properties.get(part) if isinstance(properties, dict) else None)
                below.append(place.get("additionalProperties"))
        places = [one for each in below for one in _resolved(schema, each)]
    keys = [place.get("properties") for place in places]
    return sorted({key for one in keys if isinstance(one, dict) for key in one})


def _resolved(schema: Mapping[str, Yaml], place: Yaml | Mapping[str, Yaml]) -> Iterator[Mapping[str, Yaml]]:
    """`place` with its references and alternatives followed."""
    if not isinstance(place, Mapping):
        return
    reference = place.get("$ref")
    definitions = schema.get("$defs")
    if isinstance(reference, str) and isinstance(definitions, dict):
        yield from _resolved(schema, definitions[reference.rpartition("/")[2]])
    for way in ("anyOf", "oneOf", "allOf"):
        alternatives = place.get(way)
        if isinstance(alternatives, list):
            for one in alternatives:
                yield from _resolved(schema, one)
    yield place
