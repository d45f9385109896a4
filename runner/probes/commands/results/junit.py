# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Reads JUnit XML, as pytest, gtest, ctest, gotestsum and others write it: from files, or out of the output.

Read element by element, so that a file that was cut has the results up to there. A document that declares anything
(DOCTYPE: entities, however they expand) is refused at that place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from xml.parsers import expat

from runner.probes.commands.results import Parsed, Results, State

_BEGINS = re.compile(rb"<\?xml\s|<!DOCTYPE\s|<testsuites?[\s>]")
_DECLARED = re.compile(rb"<\?xml\s")
_STATES: Mapping[str, State] = {"failure": "failed", "error": "failed", "skipped": "skipped"}
_NOT_RUN = ("notrun", "disabled", "skipped", "suppressed")  # gtest's and ctest's attributes
_DEEPEST, _MOST_DOCUMENTS = 64, 1000
_LONGEST = 2000  # characters of a message that are looked at


def parse(output: str, files: Mapping[str, bytes]) -> Parsed:
    """The tests of every file that is such XML; without one those of the documents in the output."""
    results = Results()
    problems = [
        _Document(results, name).read(content)
        for name, content in sorted(files.items())
        if _BEGINS.match(content.lstrip(b"\xef\xbb\xbf \t\r\n"))
    ]
    if not problems:
        problems = [_Document(results, "the output").read(content) for content in _documents(output)]
    return results.parsed(next((problem for problem in problems if problem), ""))


def _documents(output: str) -> list[bytes]:
    """What may be XML in the output, each with the noise behind it."""
    content = output.encode(errors="replace")
    first = _BEGINS.search(content)
    starts = [first.start(), *(it.start() for it in _DECLARED.finditer(content, first.end()))] if first else []
    return [content[start:end] for start, end in pairwise([*starts[:_MOST_DOCUMENTS], len(content)])]


class _Document:
    """One of them."""

    def __init__(self, results: Results, name: str) -> None:
        self._results, self._name = results, name
        self._depth = 0
        self._test: dict[str, str] | None = None  # the attributes of the test case that is read
        self._state: State = "passed"
        self._why: list[str] | None = None  # the text of its failure that is read
        self._said = ""
        self._whole = False

    def read(self, content: bytes) -> str:
        """Add its tests; why it was not read to its end, or nothing."""
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._refused
        parser.StartElementHandler = self._begins
        parser.EndElementHandler = self._ends
        parser.CharacterDataHandler = self._text
        try:
            parser.Parse(content, True)
        except (expat.ExpatError, ValueError, LookupError) as error:
            # what follows the document in the output is no part of it
            return "" if self._whole else f"{self._name} is no whole JUnit XML: {error}"
        return ""

    def _refused(self, *_: object) -> None:
        raise ValueError("it declares a document type, which none of these has")

    def _begins(self, element: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("its elements lie too deep in each other")
        if element == "testcase":
            self._test, self._said = attributes, ""
            words = (attributes.get("status", ""), attributes.get("result", ""))
            self._state = "skipped" if any(word in _NOT_RUN for word in words) else "passed"
        elif self._test is not None and element in _STATES:
            if self._state != "failed":
                self._state = _STATES[element]
            self._why = [attributes.get("message", "")[:_LONGEST]]

    def _text(self, text: str) -> None:
        if self._why is not None and sum(map(len, self._why)) < _LONGEST:
            self._why.append(text[:_LONGEST])

    def _ends(self, element: str) -> None:
        self._depth -= 1
        self._whole = self._whole or self._depth == 0
        if element in _STATES and self._why is not None:
            message, *text = self._why
            self._said, self._why = self._said or message or "".join(text), None
        elif element == "testcase" and self._test is not None:
            name, group = self._test.get("name", ""), self._test.get("classname", "")
            self._results.add(f"{group}.{name}" if group and group != name else name, self._state, self._said)
            self._test = None
