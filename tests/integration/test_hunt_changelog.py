"""The distribution's changelog between two builds."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

from runner.errors import InfraError
from runner.hunt.changelog import mentions, packed_changelog

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


def test_a_rebuild_holds_what_it_is_a_rebuild_of() -> None:
    assert said("6.12.111-1~deb12u1", "6.12.113-1~bpo12+1") == said("6.12.111-1", "6.12.113-1")
    assert said("6.12.113-1~deb12u1", "6.12.113-1") == []


def test_the_entries_end_where_the_older_build_begins() -> None:
    assert [text for _, text in said("6.12.107-1", "6.12.111-1")] == ["bpf: an older one"]


def test_what_is_no_changelog_has_no_lines() -> None:
    assert mentions("\x00 nonsense", "1", "2", ()) == ()


def packed(tmp_path: Path, files: dict[str, bytes]) -> Path:
    if not shutil.which("dpkg-deb"):
        pytest.skip("needs dpkg-deb")
    root = tmp_path / "root"
    files = {"DEBIAN/control": b"Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m\nDescription: d\n", **files}
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    subprocess.run(["dpkg-deb", "-Znone", "--build", root, tmp_path / "p.deb"], check=True, capture_output=True)  # noqa: S607
    return tmp_path / "p.deb"


def test_a_changelog_in_a_package(tmp_path: Path) -> None:
    name = "usr/share/doc/linux-image-6.12.113+deb13-amd64/changelog.gz"
    assert packed_changelog(packed(tmp_path, {name: gzip.compress(TEXT.encode())})) == TEXT


def test_a_package_without_one(tmp_path: Path) -> None:
    assert packed_changelog(packed(tmp_path, {"usr/share/doc/p/copyright": b"c"})) == ""


def test_a_damaged_one_is_the_machines_fault(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match=r"p\.deb"):
        packed_changelog(packed(tmp_path, {"usr/share/doc/p/changelog.gz": b"not packed"}))
