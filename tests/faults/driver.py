# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`python -m tests.faults.driver ARGUMENTS`: the command line as it is, but every guest is a fake of machine.py."""

from __future__ import annotations

import sys

from runner import cli
from runner.cli.running import Engine

if __name__ == "__main__":
    sys.exit(cli.run(sys.argv[1:], Engine(lambda *_, **__: {"little": {}}, machine="tests.faults.machine:disturbed")))
