# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""json without its Python: that imports `re`, which under emulation is dearer than the whole agent."""

from __future__ import annotations

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn


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
