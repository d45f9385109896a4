# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whose fault is it? Every error that can reach a user is one of these.

RunnerError
├── UserError    the user's: the matrix, the claims or the command line is wrong      exit 64
│   └── BuildError     a source that does not build
├── InfraError     the machine's: disk, network, tools, caches                          exit 2
│   └── GuestLost      the host lost a guest that had booted (ssh dropped, qemu was killed)
│       └── GuestSilent  the guest is there and says nothing
└── BootError      the kernel's: it panicked or did not come up; carries the console's tail

An InfraError is never an answer about a kernel. When in doubt, an error is an InfraError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class RunnerError(Exception):
    """What happened, where; `hint` says what to do about it."""

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n  {self.hint}" if self.hint else self.what


class UserError(RunnerError):
    """The user's input is wrong. `what` begins with FILE:LINE where there is one."""


class BuildError(UserError):
    """A source of theirs, of a kernel or of a program, does not build, and the machine did not fail."""


class InfraError(RunnerError):
    """This machine or its network failed; says nothing about a kernel."""


class GuestLost(InfraError):
    """A guest that had booted is gone, or no longer answers, and no panic was seen."""

    def __init__(self, what: str, *, hint: str = "", console_tail: str = "") -> None:
        super().__init__(what, hint=hint)
        self.console_tail = console_tail


class GuestSilent(GuestLost):
    """A guest did not answer within a limit, or ended itself: what it was asked last is why, for all that is known."""


class BootError(RunnerError):
    """The kernel did not boot, or died. `console_tail` holds its last lines."""

    def __init__(self, what: str, *, console_tail: str, hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.console_tail = console_tail


def first_of(error: ValidationError) -> str:
    """`cells.0.id: Field required`: the first of its problems."""
    first = error.errors()[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
