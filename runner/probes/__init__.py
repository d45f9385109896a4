# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Probes on the host: what to ask a kernel, and what its answers mean. Never sees a guest."""

from runner.probes.compile import compile_objects, compile_program, included
from runner.probes.expectations import Expectations
from runner.probes.files import ProbeFile, Said
from runner.probes.issues import known_issue, load_issues
from runner.probes.kind import Kind
from runner.probes.kinds import KINDS, OPTIONS

__all__ = [
    "KINDS",
    "OPTIONS",
    "Expectations",
    "Kind",
    "ProbeFile",
    "Said",
    "compile_objects",
    "compile_program",
    "included",
    "known_issue",
    "load_issues",
]
