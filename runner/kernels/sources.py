"""The table of sources. `debian:...` is runner/kernels/debian.py; a new source is a module beside it and a row here."""

from __future__ import annotations

from runner.errors import UserError
from runner.kernels import debian, installed, mainline, oci, path, snapshot, tree
from runner.kernels.source import Source
from runner.text import nearest

SOURCES: tuple[Source, ...] = (debian, mainline, snapshot, oci, installed, path, tree)
BY_WORD = {source.WORD: source for source in SOURCES}


def source_of(text: str) -> Source:
    """The source that a text begins with. UserError, naming the known ones."""
    word, colon, _ = text.partition(":")
    if not colon or word not in BY_WORD:
        raise UserError(f"{text!r} is not a kernel source", hint=nearest(word, BY_WORD))
    return BY_WORD[word]
