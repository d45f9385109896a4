"""The Debian suites that kernels and images may come from."""

from __future__ import annotations

_STABLE = ("bookworm", "trixie")  # those have pockets

BASE_SUITES = (*_STABLE, "forky", "sid")  # whole distributions: an image needs one
SUITES = (
    *(suite + pocket for suite in _STABLE for pocket in ("", "-updates", "-security", "-backports")),
    "forky",
    "sid",
    "experimental",
)
