# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner kfunc`: what was measured about a kfunc, at once: no kernel is booted. Only --history needs a project."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from runner.cli import completion
from runner.cli.options import MatrixFile, Shown, command, versions
from runner.errors import UserError
from runner.model import NETWORK_TYPES, ProgType
from runner.model.version import KernelVersion
from runner.project import DEFAULT_MATRIX, MEASURED, Project
from runner.reports.kfunc import (
    AskedKernel,
    KfuncData,
    callable_on,
    feature_report,
    kernel_report,
    kfunc_report,
    search_report,
)
from runner.reports.over_time import history_document, history_report
from runner.results.history import history, signatures
from runner.results.series import builds, different
from runner.results.stories import filled
from runner.text import nearest

app = typer.Typer()


@command(app, "kfunc", "kfunc bpf_skb_ct_alloc")
def kfunc(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", autocompletion=completion.kfuncs, help="A kfunc, a helper, BPF_MAP_TYPE_ARENA…"),
    ] = None,
    search: Annotated[str, typer.Option(metavar="TEXT", help="List the names that have this in them.")] = "",
    kernel: Annotated[
        str,
        typer.Option(
            metavar="KERNEL", autocompletion=completion.kernels, help="List what may be called there: 6.12, 6.12.117."
        ),
    ] = "",
    changes: Annotated[
        bool, typer.Option("--history", help="Show each change of the answers about NAME in the stored matrix runs.")
    ] = False,
    prog_type: Annotated[
        ProgType | None,
        typer.Option(
            "--type", metavar="TYPE", help="With --kernel: tc or xdp [default: tc]. With --history: only this one."
        ),
    ] = None,
    arch: Annotated[str | None, typer.Option(help="With --history: only this architecture.")] = None,
    data: Annotated[Path, typer.Option(help="Another document of `runner report availability --format json`.")] = (
        MEASURED
    ),
    matrix: MatrixFile = DEFAULT_MATRIX,
) -> Shown:
    """Show since when a kfunc is available, how it is declared, and what programs that call it showed.

    Helpers, and types of programs, maps and attachments are found as well. With --history the answers are those of the
    project's own runs: each change with its evidence, and the prototype and flags in BTF.
    """
    if name and (search or kernel):
        raise UserError("one question at a time", hint="NAME, --search or --kernel")
    if changes:
        if data != MEASURED:
            raise UserError("--history shows the runs of the project's store", hint="leave --data out")
        return _history(name, Project.at(matrix), prog_type, arch)
    if arch:
        raise UserError("--arch needs --history", hint="without it every architecture is shown")
    if prog_type and not kernel:
        raise UserError("--type needs --history or --kernel", hint="without them every program type is shown")
    known = KfuncData.read(data)
    if name:
        return _one(name, known)
    if kernel:
        return _callable(known, _newest(known, kernel), prog_type or ProgType.TC, search)
    if not search:
        raise UserError("which kfunc?", hint="runner kfunc bpf_skb_ct_alloc, runner kfunc --search dynptr")
    if not (names := known.names(search)):
        raise UserError(
            f"nothing has {search!r} in its name",
            hint="`runner report show --all` lists all kfuncs that were asked about",
        )
    return Shown(search_report(known, names), names)


def _history(name: str | None, project: Project, prog_type: ProgType | None, arch: str | None) -> Shown:
    """Raises UserError when no kernel of the stored runs was asked about it."""
    if not name:
        raise UserError("the history of which kfunc?", hint="runner kfunc bpf_ct_set_nat_info --history")
    kept = filled(project.measured(name, arch, verdicts_of=name))
    asked = {topic.type for states in different(kept) for topic in states if topic.subject == name}
    if prog_type and prog_type not in asked:
        there = ", ".join(sorted(asked - {""})) or "it has no program type"
        raise UserError(f"no kernel was asked about {name} of {prog_type} programs", hint=f"asked: {there}")
    types = {topic.type for states in different(kept) for topic in states}
    turns = history(kept, name, (prog_type,) if prog_type else types)
    shown = (name, turns, signatures(builds(kept), name), len({each.run for each in kept}))
    return Shown(history_report(*shown), history_document(*shown))


def _callable(known: KfuncData, kernels: list[AskedKernel], prog_type: ProgType, search: str) -> Shown:
    if prog_type not in NETWORK_TYPES:
        raise UserError(f"--kernel with --type {prog_type}: it was not measured", hint=" or ".join(NETWORK_TYPES))
    kfuncs, helpers = ([it._asdict() for it in found] for found in callable_on(known, kernels, prog_type, search))
    document = {"kernel": kernels[0].version, "prog_type": prog_type, "kfuncs": kfuncs, "helpers": helpers}
    return Shown(kernel_report(known, kernels, prog_type, search), document)


def _one(name: str, known: KfuncData) -> Shown:
    """Raises UserError when no kernel was asked about it."""
    feature, today = known.by_feature.get(name), datetime.now(UTC).date()
    if feature is None and name not in known.kfuncs:
        there = (*known.kfuncs, *known.by_feature)
        raise UserError(
            f"no kernel was asked about {name}", hint=nearest(name, there, "`runner kfunc --search TEXT` lists names")
        )
    facts = (
        feature.model_dump(mode="json", exclude={"stories"}) if feature else known.kfuncs[name].model_dump(mode="json")
    )
    document = {
        "measured": str(known.measured), "runner": known.runner, **({} if feature else {"kfunc": name}),
        "availability": [it.model_dump(mode="json") for it in known.stories(name)],
        **facts,
    }  # fmt: skip
    return Shown(feature_report(feature, known, today) if feature else kfunc_report(name, known, today), document)


def _newest(known: KfuncData, words: str) -> list[AskedKernel]:
    """The newest kernel of that version on each architecture. Raises UserError when none was measured."""
    wanted, found = versions("--kernel", words), {}
    for it in sorted(known.kernels, key=lambda it: KernelVersion.parse(it.version)):
        if KernelVersion.parse(it.version) in wanted:
            found[it.arch] = it
    if not found:
        there = ", ".join(dict.fromkeys(it.version for it in known.kernels))
        raise UserError(f"no kernel {words} was measured", hint=f"these were: {there}")
    return list(found.values())
