# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Debian's suites, which mirror to use, and how this host reaches it: taken from the host's own apt configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.errors import InfraError, UserError
from runner.model.deadline import Deadline
from runner.process import run

# The suites that kernels and images may come from.
_STABLE = ("bookworm", "trixie")  # those have pockets

# bookworm's dropbear 2022 refuses sessions that follow each other quickly on one connection; newer ones are untried
IMAGE_SUITES = ("trixie",)
SUITES = (
    *(suite + pocket for suite in _STABLE for pocket in ("", "-updates", "-security", "-backports")),
    "forky",
    "sid",
    "experimental",
)

# Of the archive's past: codenames by Debian's version number, the oldest that had a kernel 6.x first.
_CODENAMES = {11: "bullseye", 12: "bookworm", 13: "trixie", 14: "forky"}
SECURITY_SUITES = tuple(f"{codename}-security" for codename in _CODENAMES.values())
PROPOSED_SUITES = tuple(f"{codename}-proposed-updates" for codename in _CODENAMES.values())  # of point releases

MIRROR_VARIABLE = "RUNNER_MIRROR"
SECURITY_VARIABLE = "RUNNER_SECURITY_MIRROR"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_RELEASE_URI = re.compile(r"'(?P<mirror>[^'\s]+?)/dists/(?P<suite>[a-z-]+)/InRelease'")
_ALIASES = ("stable", "oldstable", "testing", "unstable")
_MIRROR = re.compile(r"[a-z][a-z+]*:[^\s\[\]'\"]+")
# How to reach a mirror, not what to fetch from it: anything else of the host's settings could change the answers.
_TRANSPORT = re.compile(r"Acquire::(https?|Retries|ForceIPv[46]|Check-Date|Proxy-Auto-Detect|socks)\b.*;")


@dataclass(frozen=True, slots=True)
class Mirrors:
    """`security` is empty when none is known. `transport` holds the host's proxy and TLS settings for apt.conf."""

    main: str
    security: str = ""
    transport: str = ""

    def of(self, suite: str) -> str:
        """The mirror that has `suite`. Raises InfraError when there is none."""
        if not suite.endswith("-security"):
            return self.main
        if not self.security:
            raise InfraError(f"no mirror is known for {suite}", hint=f"set {SECURITY_VARIABLE} to one")
        return self.security


def find_mirrors(*, deadline: Deadline, environ: Mapping[str, str] = os.environ) -> Mirrors:
    """$RUNNER_MIRROR and $RUNNER_SECURITY_MIRROR, else what the host's own apt uses for Debian.

    Security updates are looked for beside the mirror, in NAME-security, if neither names a mirror of them.
    Raises InfraError when neither names a mirror, UserError when a variable is no address.
    """
    for variable in (MIRROR_VARIABLE, SECURITY_VARIABLE):
        if environ.get(variable) and not _MIRROR.fullmatch(environ[variable]):
            raise UserError(
                f"{variable}={environ[variable]!r} is not the address of a mirror",
                hint=f"export {variable}=http://mirror.example/debian",
            )
    main, security = environ.get(MIRROR_VARIABLE, ""), environ.get(SECURITY_VARIABLE, "")
    if not main or not security:
        # `update --print-uris` fetches nothing, and shows the sources whether or not the host has lists of them
        uris = run(["apt-get", "update", "--print-uris"], deadline=deadline, check=False).stdout
        found = choose(uris.splitlines())
        main, security = main or found.main, security or found.security
    if not main:
        raise InfraError("this host's apt names no Debian mirror", hint=f"set {MIRROR_VARIABLE} to the address of one")
    main = main.rstrip("/")
    return Mirrors(main, security.rstrip("/") or f"{main}-security", transport(deadline=deadline))


def transport(*, deadline: Deadline) -> str:
    """The host's own proxy and TLS settings for apt, as lines of apt.conf."""
    config = run(["apt-config", "dump"], deadline=deadline).stdout
    return "".join(f"{line}\n" for line in config.splitlines() if _TRANSPORT.fullmatch(line))


def choose(print_uris: Iterable[str]) -> Mirrors:
    """Debian's own mirrors among what `apt-get update --print-uris` printed; empty where there is none.

    Other archives use Debian's suite names too; only Debian's has an -updates pocket. A wrong choice cannot do harm:
    nothing but Debian's keyring is trusted.
    """
    suites: dict[str, set[str]] = {}
    for line in print_uris:
        if found := _RELEASE_URI.match(line):
            suites.setdefault(found["mirror"], set()).add(found["suite"])
    known = {*SUITES, *_ALIASES}
    main = [
        mirror for mirror, has in suites.items() if any(suite in known and "-security" not in suite for suite in has)
    ]
    main.sort(key=lambda mirror: any(s.endswith("-updates") for s in suites[mirror]), reverse=True)
    security = [mirror for mirror, has in suites.items() if any(suite.endswith("-security") for suite in has)]
    return Mirrors(*(next(iter(mirrors), "") for mirrors in (main, security)))


def backports_of(release: int) -> tuple[str, ...]:
    """The suite with the backports of Debian `release`; none where it is too old, or not known yet."""
    return (f"{_CODENAMES[release]}-backports",) if release in _CODENAMES else ()
