# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What `make fuzz` found interesting: each parser reads it, or refuses it as it should. And that the fuzzer finds."""

from __future__ import annotations

import random
import time
from contextlib import suppress

import pytest

from tests.fuzz.__main__ import mutated, tried
from tests.fuzz.corpus import kept
from tests.fuzz.parsers import PARSERS, Parser


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_reads_or_refuses_what_was_found(name: str) -> None:
    parser, corpus = PARSERS[name], kept(name)
    assert corpus, "`make fuzz` makes one"
    for content in (*corpus, *parser.seeds()):
        start = time.process_time()
        with suppress(*parser.refuses):
            parser.run(content)
        assert time.process_time() - start < 5, content[:200]


def test_the_fuzzer_finds_what_a_parser_should_not_raise() -> None:
    def parse(content: bytes) -> None:
        if b"(" in content and b")" in content:
            raise KeyError(content)

    def search() -> None:
        chance = random.Random(1)  # noqa: S311  the same each time
        for _ in range(2000):
            tried(Parser(parse), mutated(chance, [b"some text"], (b"(", b")")))

    with pytest.raises(KeyError):
        search()


def test_what_is_reached_tells_inputs_apart() -> None:
    parser = PARSERS["manifest"]
    assert tried(parser, b'{"config": {"Env": ["A=b"]}}') - tried(parser, b"{")
