"""Error numbers in words."""

from __future__ import annotations

import errno

_ENOTSUPP = 524  # the kernel's own, not in errno.h


def errno_name(number: int) -> str:
    """EINVAL for 22."""
    return "ENOTSUPP" if number == _ENOTSUPP else errno.errorcode.get(number, "unknown")


def errno_words(number: int | None, success: str) -> str:
    """What a system call answered: `success` for 0, "-22 (-EINVAL)", or that it was never made."""
    if number is None:
        return "never got that far"
    return success if number == 0 else f"-{number} (-{errno_name(number)})"
