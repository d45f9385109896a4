# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Imports go one way; this is the picture of docs/architecture.md, held."""

from __future__ import annotations

import ast
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.unit import sources
from tests.unit.sources import PACKAGE, nodes

# Lowest first. A module may import from its own layer and those before it, without cycles between modules or packages.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "model", "process", "caches", "userfile", "yamlfile", "text", "steps"}),
    frozenset({"store", "probes", "guest"}),
    frozenset({"kernels", "results"}),
    frozenset({"images"}),
    frozenset({"matrix"}),
    frozenset({"engine", "reports", "doctor", "project"}),
    frozenset({"bisect", "hosts"}),
    frozenset({"cli"}),
)
ALONE = frozenset({"agent", "supervise"})  # run by themselves, with Python's own library alone
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def unit_of(file: Path) -> str:
    """runner/guest/boot.py and runner/guest/__init__.py are of `guest`, runner/store.py is `store`."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imported(file: Path) -> frozenset[str]:
    """The absolute names of every module that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in nodes(file):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            folder = file.parent.relative_to(PACKAGE.parent).parts
            base = ".".join(folder[: len(folder) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return frozenset(names)


@cache
def own_units(file: Path) -> frozenset[str]:
    """The parts of this program that a file imports, but for its own."""
    parts = (name.split(".") for name in imported(file))
    found = {one[1] for one in parts if one[0] == "runner" and len(one) > 1}
    return frozenset(unit for unit in found if unit in RANK or unit in ALONE) - {unit_of(file)}


FILES = [file for file in sources.FILES if file != PACKAGE / "__init__.py"]
assert len(FILES) > 50


def graph() -> dict[str, set[str]]:
    units: dict[str, set[str]] = {}
    for file in FILES:
        units.setdefault(unit_of(file), set()).update(own_units(file))
    return units


def test_every_part_has_a_layer() -> None:
    parts = {unit_of(file) for file in FILES} - {"__main__"}
    assert parts <= RANK.keys() | ALONE, "give the new part a layer here and in docs/architecture.md"


def test_imports_go_down() -> None:
    wrong = {
        f"{file.relative_to(PACKAGE)} may not import {target}"
        for file in FILES
        for target in own_units(file)
        if (unit := unit_of(file)) != "__main__"
        and (unit in ALONE or target in ALONE or RANK.get(target, 0) > RANK.get(unit, len(LAYERS)))
    }
    assert not wrong


def test_one_module_alone_uses_paramiko() -> None:
    users = [file.name for file in FILES if any(name.split(".")[0] == "paramiko" for name in imported(file))]
    assert users == ["ssh.py"]


def test_there_are_no_cycles() -> None:
    try:
        order = list(TopologicalSorter(graph()).static_order())
    except CycleError as error:
        pytest.fail(f"parts import each other: {' -> '.join(error.args[1])}")
    assert order


def test_probes_know_no_guests() -> None:
    below: set[str] = set()
    queue = ["probes"]
    units = graph()
    while queue:
        for unit in units.get(queue.pop(), set()) - below:
            below.add(unit)
            queue.append(unit)
    assert "guest" not in below


def test_reports_see_results_and_the_list_of_kinds_alone() -> None:
    assert graph().get("reports", set()) <= LAYERS[0] | {"results", "probes"}
    seen = {name for file in FILES if unit_of(file) == "reports" for name in imported(file)}
    probes = {name for name in seen if name.startswith("runner.probes")}
    assert probes
    assert not [name for name in probes if not name.startswith("runner.probes.kinds")]


@pytest.mark.parametrize("unit", sorted(ALONE))
def test_what_runs_alone_needs_nothing_but_python(unit: str) -> None:
    files = [file for file in FILES if unit_of(file) == unit]
    names = {(file, name, name.split(".")[0]) for file in files for name in imported(file)}
    assert names
    others = {
        f"{file.relative_to(PACKAGE)}: {name}"
        for file, name, top in names
        if top not in sys.stdlib_module_names | {"__future__"}
        and not (file.parent / f"{top}.py").exists()  # the agent is its own program, in its own folder
        and not name.startswith(f"runner.{unit}.")
    }
    assert not others


def test_only_the_command_line_exits() -> None:
    exits = {
        unit_of(file)
        for file in FILES
        if {"sys.exit", "os._exit"} & imported(file)
        or any(
            isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.exit", "os._exit") for node in nodes(file)
        )
    }
    assert exits
    assert exits <= ALONE | {"cli", "__main__"}


def test_nothing_goes_through_a_shell() -> None:
    words = {(node.arg, file) for file in FILES for node in nodes(file) if isinstance(node, ast.keyword)}
    assert "check" in {word for word, _ in words}
    assert not [file for word, file in words if word == "shell"]
