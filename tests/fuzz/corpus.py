# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The inputs that are kept of each parser: a line of base64 for each, in tests/data/fuzz/NAME.txt."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable

from tests.samples import ROOT

_FOLDER = ROOT / "tests/data/fuzz"


def kept(name: str) -> list[bytes]:
    """The shortest first."""
    path = _FOLDER / f"{name}.txt"
    return [b64decode(line) for line in path.read_text().splitlines()] if path.exists() else []


def keep(name: str, inputs: Iterable[bytes]) -> None:
    """Write the inputs of a parser anew."""
    lines = [b64encode(content).decode() for content in sorted(set(inputs), key=lambda it: (len(it), it))]
    _FOLDER.mkdir(exist_ok=True)
    (_FOLDER / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
