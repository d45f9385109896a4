"""Netlink as it comes from a kernel, and as it does not."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.agent.netlink import NetlinkError, attribute, attributes, messages, nested, number, text

HEADER = struct.Struct("=IHHII")


def message(kind: int, sequence: int, body: bytes) -> bytes:
    return HEADER.pack(16 + len(body), kind, 0, sequence, 0) + body + b"\0" * (-len(body) % 4)


def test_attributes_come_back() -> None:
    content = number(1, -2) + text(3, "veth") + nested(5, number(1, 7), attribute(2, b"abc"))
    found = attributes(content)
    assert found[1] == struct.pack("=i", -2)
    assert found[3] == b"veth\0"
    assert attributes(found[5]) == {1: struct.pack("=I", 7), 2: b"abc"}, "the mark of nesting is no part of the type"


def test_messages_come_back() -> None:
    content = message(24, 1, b"abcde") + message(3, 2, b"")
    assert list(messages(content)) == [(24, 1, b"abcde"), (3, 2, b"")]


@pytest.mark.parametrize("length", [0, 1, 3, 9, 0xFFFF])
def test_an_attribute_with_a_wrong_length(length: int) -> None:
    with pytest.raises(NetlinkError, match=f"an attribute of {length} bytes"):
        attributes(struct.pack("=HH", length, 1) + b"1234")


@pytest.mark.parametrize("length", [0, 15, 21, 0xFFFFFFFF])
def test_a_message_with_a_wrong_length(length: int) -> None:
    with pytest.raises(NetlinkError, match=f"a message of {length} bytes"):
        list(messages(HEADER.pack(length, 24, 0, 1, 0) + b"1234"))


def test_a_message_that_is_cut() -> None:
    with pytest.raises(NetlinkError, match="7 bytes are no message"):
        list(messages(message(24, 1, b"") + b"1234567"))


@given(st.binary(max_size=200))
def test_any_bytes_end(content: bytes) -> None:
    """Whatever it is: parsed or refused, and never an endless loop or another error."""
    for parse in (attributes, lambda bytes_: list(messages(bytes_))):
        try:
            parse(content)
        except NetlinkError:
            continue


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=40), max_size=8))
def test_what_is_written_is_read(wanted: dict[int, bytes]) -> None:
    assert attributes(b"".join(attribute(kind, content) for kind, content in wanted.items())) == wanted
