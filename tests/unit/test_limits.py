# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Every wait has a limit of matrix.yaml or hosts.yaml, and the documentation lists them all."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from runner.engine.fleet import HostLimits
from runner.model import Limit, Limits
from tests.unit.sources import FILES, PACKAGE, nodes

ROOT = PACKAGE.parent
# where a limit that a file names becomes a deadline, or one that another machine sent
MAKERS = {"model/cells.py", "engine/fleet.py", "engine/gateways.py", "cli/host.py"}
SECONDS = {**Limits().model_dump(), **{k: v for k, v in HostLimits().model_dump().items() if k.endswith("_s")}}


def test_the_documentation_lists_every_limit_with_its_default() -> None:
    found: dict[str, float] = {}
    for page in ("matrix.md", "hosts.md"):
        text = (ROOT / "docs" / page).read_text()
        rows = re.findall(r"^\| `limits\.(\w+_s)` \|.*\| (\d+) \|$", text, re.MULTILINE)
        assert rows
        found |= {name: float(default) for name, default in rows}
    assert found == SECONDS


def test_each_limit_can_be_waited_for() -> None:
    assert set(get_args(Limit)) == Limits.model_fields.keys()
    deadline = Limits(boot_s=7, end_s=3).deadline("boot_s")
    assert (deadline.what, deadline.end_s) == ("boot_s of 7 s", 3)
    assert 6 < deadline.remaining_s <= 7


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_deadline_of_its_own_is_only_made_within_another(file: Path) -> None:
    """`outer.sooner(Deadline.after(...))` shortens one try; anything else would be a limit that no file names."""
    found = list(nodes(file))
    within = {
        id(argument)
        for node in found
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sooner"
        for argument in node.args
    }
    made = [node for node in found if isinstance(node, ast.Call) and ast.unparse(node.func) == "Deadline.after"]
    wrong = [node.lineno for node in made if id(node) not in within]
    assert not wrong or str(file.relative_to(PACKAGE)) in MAKERS
