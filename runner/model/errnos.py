# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Error numbers and their names: include/uapi/asm-generic/errno.h, and the kernel's own that no libc has.

They are the same on x86_64, arm64, riscv64 and s390x; ppc64le differs in EDEADLOCK only. The agent has its own copy.
"""

from __future__ import annotations

import errno

ENOTSUPP = 524  # "this JIT cannot"
ERRNO = {name: number for number, name in errno.errorcode.items()}
ERRNO |= {"EOPNOTSUPP": errno.EOPNOTSUPP, "EDEADLK": errno.EDEADLK, "ENOTSUPP": ENOTSUPP}  # Python: ENOTSUP, EDEADLOCK
_NAMES = {number: name for name, number in ERRNO.items()}


def errno_name(number: int) -> str:
    """`EINVAL` for 22; the number itself when it has no name."""
    return _NAMES.get(number, str(number))


def errno_words(number: int | None, success: str) -> str:
    """What a system call answered: `success` for 0, "-22 (-EINVAL)", or that it was never made."""
    if number is None:
        return "never got that far"
    return success if number == 0 else f"-{number} (-{errno_name(number)})"
