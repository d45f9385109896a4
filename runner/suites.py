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
