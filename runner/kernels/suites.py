"""The Debian suites that kernels and images may come from."""

from __future__ import annotations

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


def backports_of(release: int) -> tuple[str, ...]:
    """The suite with the backports of Debian `release`; none where it is too old, or not known yet."""
    return (f"{_CODENAMES[release]}-backports",) if release in _CODENAMES else ()
