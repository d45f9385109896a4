# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Who built a kernel, as far as its release tells, and whether its version says which fixes it has."""

from __future__ import annotations

import re
from enum import StrEnum


class Vendor(StrEnum):
    UPSTREAM = "upstream"
    DEBIAN = "debian"
    UBUNTU = "ubuntu"
    RHEL = "rhel"  # and what is built from its sources
    AMAZON = "amazon"
    AZURE = "azure"
    UNKNOWN = "unknown"

    @property
    def note(self) -> str:
        """What reports say of its kernels; empty where there is nothing to say."""
        return "" if self.follows_upstream else "vendor kernel: compared with its own earlier answers only"

    @property
    def follows_upstream(self) -> bool:
        """Does its version say what upstream's stable release of that version has? Others backport without a number."""
        return self in (Vendor.UPSTREAM, Vendor.DEBIAN)


_BASE = r"\d+\.\d+(?:\.\d+)?(?:-rc\d+)?"
_DEBIAN = "(?:amd64|arm64|riscv64|s390x|powerpc64le|686|armmp)"  # flavours
# The first row that matches the whole of `uname -r` counts.
_RELEASES = (
    (Vendor.RHEL, r".*\.el\d+(?:[._a-z0-9-]*)?(?:\.[a-z0-9_]+)?(?:\+.*)?"),
    (Vendor.AMAZON, r".*\.amzn\d+(?:\..*)?"),
    (Vendor.AZURE, r".*(?:-azure(?:-fde)?|\.azl\d+|\.cm\d+)(?:\..*)?"),
    (Vendor.UPSTREAM, rf"{_BASE}-0\d{{5}}(?:rc\d+)?-(?:generic|lowlatency)"),  # upstream's, built by Ubuntu: mainline
    (
        Vendor.UBUNTU,
        r"\d+\.\d+\.\d+-\d+-(?:generic|lowlatency|realtime|aws|gcp|gke|oracle|ibm|kvm|nvidia|raspi|oem)\b.*",
    ),
    (Vendor.DEBIAN, rf"{_BASE}(?:-\d+|[+~](?:deb|bpo)[0-9.+u]*)*-(?:cloud-|rt-)?{_DEBIAN}(?:-\d\dk|-l?pae)?"),
    # scripts/setlocalversion: commits since a tag, changes that are not committed; -next: linux-next
    (Vendor.UPSTREAM, rf"{_BASE}(?:-next-\d{{8}})?(?:-\d{{5}})?(?:-g[0-9a-f]{{7,40}})?(?:-dirty)?\+?"),
)
_TABLE = tuple((vendor, re.compile(pattern, re.ASCII)) for vendor, pattern in _RELEASES)


def vendor_of(release: str, *, built_by_user: bool = False) -> Vendor:
    """The vendor of the kernel with this `uname -r`. What a user built has a suffix of their own, and is upstream's."""
    for vendor, pattern in _TABLE:
        if pattern.fullmatch(release):
            return vendor
    return Vendor.UPSTREAM if built_by_user else Vendor.UNKNOWN
