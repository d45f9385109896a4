# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What runs inside the guest: asks the kernel, prints one JSON line per event, judges nothing.

Standard library only, and little of it: under emulation every import costs tens of milliseconds.
"""

from __future__ import annotations

import _json  # json without its Python: that imports `re`, which under emulation is dearer than the whole agent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn


class NoAnswer(Exception):
    """Why something cannot be asked, in words that need no name of an exception in front."""


def failure(error: Exception) -> str:
    """Why there is no answer."""
    return str(error) if isinstance(error, NoAnswer) else f"{type(error).__name__}: {error}"[:4000]


def bounded(log: str, limit: int = 16 << 10) -> str:
    """A log's beginning and end: the verdict is in its last lines, or, from v7.3 on, some way before them."""
    if len(log) <= limit:
        return log
    half = limit // 2
    return f"{log[:half]}\n[... {len(log) - limit} characters ...]\n{log[-half:]}"


class _Reading:
    """What the scanner is told: as in json.JSONDecoder()."""

    strict, parse_int, parse_float = True, int, float
    object_hook = object_pairs_hook = parse_constant = None


def _refuse(value: object) -> NoReturn:
    raise TypeError(f"{type(value).__name__} is not for JSON")


encode: Callable[[object, int], tuple[str, ...]] = _json.make_encoder(
    None, _refuse, _json.encode_basestring_ascii, None, ": ", ", ", False, False, False
)
scan: Callable[[str, int], tuple[Any, int]] = _json.make_scanner(_Reading)  # type: ignore[arg-type]
