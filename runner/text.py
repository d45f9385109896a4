# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Text from guests is hostile: a kernel under test may print anything. It passes through here before it is shown.

For the terminal the result goes into rich's Text, which knows no markup; for Markdown through `markdown`.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

_ESCAPES = re.compile(
    r"""
      (?:\x1b\[|\x9b) [0-?]* [\ -/]* [@-~]     # CSI: colours, cursor
      # OSC, DCS and their like: titles, links, the clipboard
    | (?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]) [^\x07\x1b\x90\x98\x9c-\x9f\n]* (?:\x07|\x1b\\|\x9c)
    | \x1b [\ -/]* [0-~]                       # all others: charsets, resets
    """,
    re.VERBOSE,
)
# Cc controls, Cf invisible and bidirectional marks, Cs lone surrogates, Zl and Zp line breaks that are not \n
_UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


class _Shown(dict[int, int | None]):
    """What str.translate makes of each character; asked of Unicode once per character, not once per occurrence."""

    def __missing__(self, char: int) -> int | None:
        self[char] = None if unicodedata.category(chr(char)) in _UNSHOWN else char
        return self[char]


_SHOWN = _Shown({ord("\n"): ord("\n")})
_MARKDOWN = re.compile(
    r"""
      [\\`*\[\]<>|~&]
    | (?<!\w) _++ | (?<!_) _++ (?!\w)      # underscores inside a word, as in nf_conn___init, mean nothing
    | ^ [#+=-] | (?<=^[0-9]) [.)] (?=\s|$) | (?<=^[0-9]{2}) [.)] (?=\s|$)
    | (?<=http) :(?=//) | (?<=https) :(?=//) | (?<=ftp) :(?=//) | (?<=www) \. | @     # what GitHub makes into links
    """,
    re.VERBOSE | re.IGNORECASE,
)


def lines(text: str) -> list[str]:
    """The lines of `text` without escape sequences, control characters and trailing blanks."""
    text = _ESCAPES.sub("", text.replace("\r\n", "\n")).replace("\r", "\n").expandtabs(8)
    return [line.rstrip() for line in text.translate(_SHOWN).split("\n")]


def printable(text: str) -> str:
    """`text` without anything that a terminal would act on."""
    return "\n".join(lines(text))


@lru_cache(maxsize=1 << 14)  # a site has millions, of which few differ
def plain(text: str, width: int | None = None) -> str:
    """`text` as one line, cut to `width` characters."""
    harmless = text.isascii() and text.isprintable()  # as nearly every text is
    line = " ".join((text if harmless else " ".join(lines(text))).split())
    return line if width is None or len(line) <= width else f"{line[: width - 1].rstrip()}…"


def some(names: Sequence[str], most: int, between: str = ", ") -> str:
    """`a, b, c and 4 more`: no more than `most` names, the number of the others instead of the last ones."""
    if len(names) <= most:
        return between.join(names)
    return f"{between.join(names[: most - 1])} and {len(names) - most + 1} more"


def counted(count: int, noun: str) -> str:
    """`1 cell`, `2 cells`"""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def held(count: int) -> str:
    """`1 holds`, `2 hold`"""
    return f"{count} hold{'s' if count == 1 else ''}"


def markdown(text: str, width: int | None = None) -> str:
    """`text` as one line of Markdown that shows exactly what `plain` shows: no HTML, no links, no broken tables."""
    return _MARKDOWN.sub(_escaped, plain(text, width))


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"\\{char}" for char in found.group())


def nearest(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """`did you mean 'kernels'?`, or else what to do instead; by default the whole list of what there is."""
    names = list(known)
    close = closest(word, names)
    return f"did you mean {close!r}?" if close else otherwise or f"known: {', '.join(names)}"


def closest(word: str, known: Iterable[str]) -> str:
    """The one that `word` begins, or that a slip of the fingers makes of it; empty when there is none."""
    for close in difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6):
        same = sum(block.size for block in difflib.SequenceMatcher(None, word.lower(), close).get_matching_blocks())
        if close.startswith(word) or len(word) + len(close) - 2 * same <= max(2, len(word) / 3):
            return close
    return ""
