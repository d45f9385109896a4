# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The kinds of probe that there are: the folders beside this file."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import Any

from runner.probes.kind import NO_ANSWER_WORD, OTHERS, GridPlace, Kind

__all__ = ["KINDS", "NO_ANSWER_WORD", "OPTIONS", "OTHERS", "PROBE_ENTRIES", "GridPlace", "Kind"]


def _found() -> dict[str, Kind[Any]]:
    """By name. Raises ValueError when a folder's KIND is called otherwise than the folder."""
    found: dict[str, Kind[Any]] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.ispkg:
            kind = import_module(f"runner.probes.{module.name}").KIND
            if kind.name != module.name:
                raise ValueError(f"runner/probes/{module.name}: its KIND is called {kind.name!r}")
            found[kind.name] = kind
    order = TopologicalSorter({name: found[name].evidence for name in sorted(found)}).static_order()
    return {name: found[name] for name in order}


KINDS: Mapping[str, Kind[Any]] = _found()  # in the order in which they are judged, and shown
PROBE_ENTRIES = {next(iter(entry.model_fields)): entry for kind in KINDS.values() if (entry := kind.entry)}
OPTIONS = tuple(sorted({option for kind in KINDS.values() for option in kind.options}))
