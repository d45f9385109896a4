# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a shell completes: names of the nearest project and of its store. Where there are none it completes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.project import Project


def _safely(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """A shell that completes shows no errors: those are for the command itself."""

    def complete(incomplete: str) -> list[str]:
        try:
            return [name for name in dict.fromkeys(names()) if name.startswith(incomplete)]
        except Exception:
            return []

    return complete


def _project() -> Project:
    """The nearest one. Imported late: every command imports this module."""
    from runner.project import DEFAULT_MATRIX, Project  # noqa: PLC0415

    return Project.at(DEFAULT_MATRIX)


def _cells() -> Iterable[str]:
    project = _project()
    return [cell.id for cell in project.matrix.cells(project.lock())]


def _kernels() -> Iterable[str]:
    """Series and versions that the lock has, then the names of the matrix."""
    project = _project()
    versions = [pin.upstream for pin in project.lock().kernels]
    series = [".".join(map(str, it.series)) for it in versions]
    return [*series, *map(str, versions), *(it.name for it in project.matrix.wanted())]


def _probes() -> Iterable[str]:
    return [said.probe for said in _project().expectations.said()]


def _kfuncs() -> Iterable[str]:
    from runner.probes.files import BUILTIN, load_kfuncs  # noqa: PLC0415

    return sorted(load_kfuncs(BUILTIN).names)


def _runs() -> Iterable[str]:
    with _project().store() as store:
        return [run.id for run in store.runs()]


cells, kernels, probes, kfuncs, runs = map(_safely, (_cells, _kernels, _probes, _kfuncs, _runs))
