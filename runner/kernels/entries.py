"""The words of matrix.yaml that its kernels are made of, and what every kernel entry has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from runner.model import Plain, Wanted, Which
from runner.model.architecture import ARCHITECTURES
from runner.text import nearest


def one_of(what: str, known: Iterable[str]) -> Callable[[str], str]:
    """A validator: one of these words, else an error that names the nearest."""
    names = tuple(known)

    def check(word: str) -> str:
        if word not in names:
            raise ValueError(f"unknown {what} {word!r}; {nearest(word, names)}")
        return word

    return check


def matches(what: str, pattern: str, rule: str) -> Callable[[str], str]:
    """A validator: text of this pattern, else an error that states the rule."""

    def check(word: str) -> str:
        if not re.fullmatch(pattern, word):
            raise ValueError(f"{word!r} is not {what}: {rule}")
        return word

    return check


def quoted(value: object) -> object:
    """A validator: text, and not what YAML makes of 6.10."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError('put it in quotes, like "6.12": without them, YAML reads 6.10 as the number 6.1')
    return value


_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_DOTTED = r"[1-9][0-9]{0,2}(\.[0-9]{1,5}){0,2}"
_SERIES = rf"{_DOTTED}([-~]rc[0-9]{{1,3}})?(-[0-9][A-Za-z0-9.+~]{{0,63}})?"
_BOUND = rf"(>=|<=|>|<){_DOTTED}"
_RANGE = rf"{_BOUND}(,{_BOUND}){{0,3}}"
_PATH = r"/[A-Za-z0-9._/+:=-]{0,255}"

Name = Annotated[
    str,
    BeforeValidator(quoted),
    AfterValidator(matches("a name", _NAME, "letters, digits and `.`, `_`, `-`, at most 64, no sign at its start")),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME}$"}),
]
Series = Annotated[
    str,
    BeforeValidator(quoted),
    AfterValidator(
        matches("a kernel series", _SERIES, 'like "6.12", "7", or one version, like "6.12.117" or "6.12.117-1"')
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{_SERIES}$"}),
]
Range = Annotated[
    str,
    BeforeValidator(quoted),
    AfterValidator(matches("a range of versions", _RANGE, 'like ">=6.12" or ">=6.1,<7"')),
    WithJsonSchema({"type": "string", "pattern": f"^{_RANGE}$"}),
]
Arch = Annotated[
    str,
    AfterValidator(one_of("architecture", ARCHITECTURES)),
    WithJsonSchema({"type": "string", "enum": list(ARCHITECTURES)}),
]
AbsolutePath = Annotated[
    str,
    AfterValidator(matches("a path", _PATH, "it must begin with / and be of letters, digits and ._/+:=-")),
    WithJsonSchema({"type": "string", "pattern": f"^{_PATH}$"}),
]
WhichField = Annotated[
    Which | None, Field(description="of a range: the newest of each series (the default), or all point releases")
]


class KernelEntry(Plain):
    """A kernel, or a range of them, of one source: a subclass for each, with a field that is the source's word."""

    name: Annotated[Name | None, Field(description="what cells and reports call it; by default what it is")] = None
    architectures: Annotated[
        tuple[Arch, ...] | None, Field(min_length=1, description="only these architectures, not the matrix's")
    ] = None

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
        """The key of the entry that `default_name` is made of: for complaints about it."""
        raise NotImplementedError

    def wanted(self, arch: str) -> Iterator[Wanted]:
        """What it stands for on an architecture: one for each flavour."""
        raise NotImplementedError
