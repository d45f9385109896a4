# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The words of matrix.yaml: the types of its fields, each with its pattern in the schema and its rule in the error."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, WithJsonSchema
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

from runner.model import Which
from runner.model.architecture import ARCHITECTURES, likely
from runner.model.version import Versions
from runner.text import nearest


@dataclass(frozen=True, slots=True)
class Matches:
    """Of a field of text: it has this pattern, else an error that states the rule."""

    what: str
    pattern: str
    rule: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, *_: object) -> dict[str, object]:
        return {"type": "string", "pattern": f"^{re.sub(r'[?]P<[a-z]+>', '?:', self.pattern)}$"}

    def _checked(self, word: str) -> str:
        if not re.fullmatch(self.pattern, word):
            raise ValueError(f"{word!r} is not {self.what}: {self.rule}")
        return word


class OneOf:
    """Of a field of text: one of these words, else an error that names the nearest."""

    def __init__(self, what: str, known: Iterable[str], likely: Callable[[str], str] | None = None) -> None:
        self._what, self._known = what, tuple(known)
        self._likely = likely or (lambda word: nearest(word, self._known))

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, *_: object) -> dict[str, object]:
        return {"type": "string", "enum": list(self._known)}

    def _checked(self, word: str) -> str:
        if word not in self._known:
            raise ValueError(f"unknown {self._what} {word!r}; {self._likely(word)}")
        return word


def quoted(value: object) -> object:
    """A validator: text, and not what YAML makes of 6.10. Raises ValueError for a number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError('put it in quotes, like "6.12": without them, YAML reads 6.10 as the number 6.1')
    return value


_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_PATH = r"/[A-Za-z0-9._/+:=@~-]{0,255}"  # a comma divides paths in a source's text

Name = Annotated[
    str,
    BeforeValidator(quoted),
    Matches("a name", _NAME, "letters, digits and `.`, `_`, `-`, at most 64, no sign at its start"),
]
DebPackage = Annotated[str, Matches("a Debian package", r"[a-z0-9][a-z0-9+.-]{1,63}", "like python3-pytest")]
Arch = Annotated[str, OneOf("architecture", ARCHITECTURES, likely)]
AbsolutePath = Annotated[str, Matches("a path", _PATH, "it must begin with / and be of letters, digits and ._/+:=@~-")]
_DOTTED = r"[1-9][0-9]{0,2}(\.[0-9]{1,5}){0,2}"
_SERIES = rf"{_DOTTED}([-~]rc[0-9]{{1,3}})?(-[0-9][A-Za-z0-9.+~_-]{{0,63}})?"
_BOUND = rf"(>=|<=|>|<){_DOTTED}"
_RANGE = rf"{_BOUND}(,{_BOUND}){{0,3}}"

Series = Annotated[
    str,
    BeforeValidator(quoted),
    Matches("a kernel series", _SERIES, 'like "6.12", "7", or one version, like "6.12.117" or "6.12.117-1"'),
]
Range = Annotated[str, BeforeValidator(quoted), Matches("a range of versions", _RANGE, 'like ">=6.12" or ">=6.1,<7"')]


def _listed(value: object) -> object:
    """A validator: `a,b` of a source's text, or a list of matrix.yaml."""
    return tuple(value.split(",")) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Names = Annotated[tuple[Name, ...], BeforeValidator(_listed), Field(min_length=1)]
_OURS = re.compile(r"--|(?:(?:init|rdinit|root|rootfstype|rootflags|console|panic)(?:=.*)?)|virtme.*")


def _cmdline(text: str) -> str:
    """A validator: words that a kernel's command line can have, and none of those that virtme-ng says itself."""
    if not re.fullmatch(r"[ -!#-~]{1,512}", text):
        raise ValueError("at most 512 printable ASCII characters, and no double quotes")
    if ours := [word for word in text.split() if _OURS.fullmatch(word)]:
        raise ValueError(f"{ours[0]!r} is set by virtme-ng")
    return text


WhichField = Annotated[
    Which | None, Field(description="of a range: the newest of each series (the default), or all point releases")
]
Cmdline = Annotated[
    str,
    AfterValidator(_cmdline),
    Field(description='words for the kernel\'s command line: "lockdown=integrity"'),
]
_HOW = 'a stable series like "6.6" (its newest), one version like "v6.6" or "6.6.12", or a range like ">=6.0"'


def _understood(text: str) -> str:
    try:
        Versions.parse(text)
    except ValueError:
        raise ValueError(f"{text!r} is not {_HOW}") from None
    return text


VersionsField = Annotated[
    str,
    BeforeValidator(quoted),
    AfterValidator(_understood),
    WithJsonSchema({"type": "string", "pattern": r"^[v0-9<>=][0-9a-z.,<>=~-]*$"}),
]
