# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Netlink and entries of the kernel's connection tracking table, as a kernel sends them, and as it does not."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.agent.conntrack import NetlinkError, attribute, attributes, entry, messages, nested

HEADER = struct.Struct("=IHHII")


def side(src: str, dst: str, ports: tuple[int, int], proto: int = 6) -> bytes:
    addresses = (bytes(map(int, address.split("."))) for address in (src, dst))
    return nested(1, *(attribute(kind, address) for kind, address in enumerate(addresses, 1))) + nested(
        2,
        attribute(1, bytes([proto])),
        *(attribute(kind, port.to_bytes(2, "big")) for kind, port in enumerate(ports, 2)),
    )


def sent(*more: bytes) -> bytes:
    orig = nested(1, side("10.77.1.1", "10.99.0.1", (20000, 8080)))
    reply = nested(2, side("10.77.1.2", "10.77.1.1", (8080, 20000)))
    return b"\2\0\0\0" + orig + reply + b"".join(more)


def big(kind: int, value: int, size: int = 4) -> bytes:
    return attribute(kind, value.to_bytes(size, "big"))


def test_an_entry() -> None:
    seen = entry(sent(big(3, 0x18E), big(7, 432000), big(8, 77), big(18, 10, 2), nested(4, nested(1, big(1, 3, 1)))))
    assert seen == {
        "orig_src_addr": 0x0A4D0101,
        "orig_src_port": 20000,
        "orig_dst_addr": 0x0A630001,
        "orig_dst_port": 8080,
        "reply_src_addr": 0x0A4D0102,
        "reply_src_port": 8080,
        "reply_dst_addr": 0x0A4D0101,
        "reply_dst_port": 20000,
        "status": 0x18E,
        "timeout_s": 432000,
        "mark": 77,
        "zone": 10,
        "tcp_state": 3,
    }


def test_what_the_kernel_leaves_out_is_zero() -> None:
    """It sends no mark of 0, no zone 0, and no state of a UDP flow."""
    seen = entry(sent(big(3, 8)))
    assert (seen["status"], seen["mark"], seen["zone"], seen["tcp_state"]) == (8, 0, 0, 0)
    assert entry(b"")["orig_src_port"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        big(3, 8, 8),  # a status of 8 bytes
        big(18, 1, 4),  # a zone of 4 bytes
        nested(1, nested(2, big(2, 1, 4))),  # a port of 4 bytes
        nested(1, nested(1, attribute(1, b"\0" * 16))),  # an IPv6 address where one of IPv4 belongs
        struct.pack("=HH", 200, 7),  # longer than the message
        nested(4, b"\1\0\0\0\0\0\0\0"),  # shorter than its header
    ],
)
def test_what_is_no_entry(wrong: bytes) -> None:
    with pytest.raises(NetlinkError):
        entry(sent(wrong))


@given(st.binary(max_size=300))
def test_any_bytes_are_an_entry_or_refused(body: bytes) -> None:
    try:
        seen = entry(body)
    except NetlinkError:
        return
    assert 0 <= seen["status"] < 1 << 32
    assert 0 <= seen["orig_src_port"] < 1 << 16


@given(st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_a_damaged_entry(at: int, damage: bytes) -> None:
    whole = bytearray(sent(big(3, 8), big(7, 10)))
    at %= len(whole)
    whole[at : at + len(damage)] = damage
    try:
        entry(bytes(whole))
    except NetlinkError:
        return


def message(kind: int, sequence: int, body: bytes) -> bytes:
    return HEADER.pack(16 + len(body), kind, 0, sequence, 0) + body + b"\0" * (-len(body) % 4)


def test_attributes_come_back() -> None:
    found = attributes(attribute(3, b"veth\0") + nested(5, attribute(1, b"7"), attribute(2, b"abc")))
    assert found[3] == b"veth\0"
    assert attributes(found[5]) == {1: b"7", 2: b"abc"}, "the mark of nesting is no part of the type"


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
