# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Reads which tests a command ran, and how each ended, from what it printed or wrote. Pure; all of it is hostile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, assert_never

from runner.probes.commands.results import gotest, junit, libtest, tap
from runner.probes.commands.results.found import Parsed

ResultsKind = Literal["exit", "gotest", "libtest", "tap", "ktap", "junit"]


def parse(kind: ResultsKind, output: str, exit_status: int | None, files: Mapping[str, bytes]) -> Parsed:
    """The tests; none where the output has none. `files` are those that it wrote, by name.

    `exit_status` None: it did not end by itself. Never raises.
    """
    if kind == "exit":
        return Parsed()
    if kind == "gotest":
        return gotest.parse(output, exit_status)
    if kind == "libtest":
        return libtest.parse(output, exit_status)
    if kind == "tap":
        return tap.parse(output)
    if kind == "ktap":
        return tap.parse(output, kernel=True)
    if kind == "junit":
        return junit.parse(output, files)
    assert_never(kind)
