# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The text of a program in the sources of a project's BPF objects: bpf/OBJECT.bpf.c, and the headers that it includes
from there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from runner import userfile
from runner.probes.files import FOLDER, own_or_shipped

_INCLUDE = re.compile(r'^#include "([A-Za-z0-9_.]+)"', re.MULTILINE)


def program_text(root: Path, object_: str, program: str) -> tuple[str, str] | None:
    """The file that has the program, and its text there: from its section to its last brace.

    None: it is not written as `SECTION int T(program)(` or `int tc_program(`. Raises UserError when a source cannot be
    read.
    """
    name = rf"(?:T\({program}\)|(?:tc_|xdp_)?{program})"
    head = re.compile(rf"^[^\n/#*{{}};]*\b{name}\([^;{{}}]*\)\n\{{.*?^\}}", re.MULTILINE | re.DOTALL)
    for path in _sources(own_or_shipped(root, f"{object_}.bpf.c")):
        text = userfile.read(path).decode("utf-8", "replace")
        if found := head.search(text):
            begins = text[: found.start()].rpartition("\n\n")[2]  # a SEC() may have a line of its own
            return f"{FOLDER}/{path.name}", (begins if begins.startswith("SEC(") else "") + found[0]
    return None


def _sources(path: Path) -> Iterator[Path]:
    yield path
    included = _INCLUDE.findall(userfile.read(path).decode("utf-8", "replace"))
    for name in dict.fromkeys(included):
        if (path.parent / name).is_file():
            yield path.parent / name
