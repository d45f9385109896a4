# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What runs inside the guest: asks the kernel, prints one JSON line per event, judges nothing.

Standard library only, and little of it: under emulation every import costs tens of milliseconds.
"""


class NoAnswer(Exception):
    """Why something cannot be asked, in words that need no name of an exception in front."""


def bounded(log: str, limit: int = 16 << 10) -> str:
    """A log's beginning and end: the verdict is in its last lines, or, from v7.3 on, some way before them."""
    if len(log) <= limit:
        return log
    half = limit // 2
    return f"{log[:half]}\n[... {len(log) - limit} characters ...]\n{log[-half:]}"
