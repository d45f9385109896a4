# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The distribution's changelog between two builds."""

from __future__ import annotations

from runner.bisect.changelog import asked_words, mentions

TEXT = """\
linux-signed-amd64 (6.12.113+1) trixie-security; urgency=high

  * Sign kernel from linux 6.12.113-1

  * New upstream stable update:
    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.12.112
    - landlock: Fix TCP Fast Open connection bypass
    - bpf: Fix out-of-bounds read of sk_protocol in
      bpf_sock_destroy() (CVE-2026-1)
    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.12.113
    - netfilter: bpf: reject invalid NAT manipulation types
    - somewhere: mend nf_nat_bpf.c

  [ A Maintainer ]
  * [amd64] netfilter: enable something

 -- A Maintainer <a@example.org>  Thu, 15 Oct 2026 15:02:11 +0200

linux (6.12.111-1) trixie-security; urgency=high

  * New upstream stable update:
    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.12.108
    - bpf: an older one

 -- A Maintainer <a@example.org>  Thu, 01 Oct 2026 15:02:11 +0200

linux (6.12.107-1) trixie; urgency=medium

  * bpf: the oldest

 -- A Maintainer <a@example.org>  Tue, 01 Sep 2026 15:02:11 +0200
"""


def said(before: str, after: str, *words: str) -> list[tuple[str, str]]:
    return [(it.upstream, it.text) for it in mentions(TEXT, before, after, words)]


def test_what_touches_bpf_between_two_builds() -> None:
    assert said("6.12.111-1", "6.12.113-1") == [
        ("6.12.112", "bpf: Fix out-of-bounds read of sk_protocol in bpf_sock_destroy() (CVE-2026-1)"),
        ("6.12.113", "netfilter: bpf: reject invalid NAT manipulation types"),
        ("6.12.113", "somewhere: mend nf_nat_bpf.c"),
        ("", "[amd64] netfilter: enable something"),
    ]


def test_the_lines_that_name_what_is_asked_if_there_are_any() -> None:
    words = asked_words("nat-manip-2:tc", "bpf_ct_set_nat_info")
    assert words == ("nat", "manip", "info")
    assert [it.text for it in mentions(TEXT, "6.12.111-1", "6.12.113-1", (), words)] == [
        "netfilter: bpf: reject invalid NAT manipulation types",
        "somewhere: mend nf_nat_bpf.c",
    ]
    assert [it.text for it in mentions(TEXT, "6.12.107-1", "6.12.111-1", (), words)] == ["bpf: an older one"]


def test_a_rebuild_holds_what_it_is_a_rebuild_of() -> None:
    assert said("6.12.111-1~deb12u1", "6.12.113-1~bpo12+1") == said("6.12.111-1", "6.12.113-1")
    assert said("6.12.113-1~deb12u1", "6.12.113-1") == []


def test_the_entries_end_where_the_older_build_begins() -> None:
    assert [text for _, text in said("6.12.107-1", "6.12.111-1")] == ["bpf: an older one"]


def test_what_is_no_changelog_has_no_lines() -> None:
    assert mentions("\x00 nonsense", "1", "2", ()) == ()


def test_lines_with_rare_words_and_whole_words_come_first() -> None:
    words = asked_words("refused", "invalid manip in nat")
    assert words == ("manip", "nat")
    found = mentions(TEXT.replace("enable something", "enable nation"), "6.12.111-1", "6.12.113-1", (), words)
    assert [it.text for it in found] == [
        "netfilter: bpf: reject invalid NAT manipulation types",
        "somewhere: mend nf_nat_bpf.c",
        "[amd64] netfilter: enable nation",
    ]
