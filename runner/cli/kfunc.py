# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner kfunc`: what was measured about a kfunc, at once: no kernel is booted, and no project is needed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from runner.cli import completion
from runner.cli.options import Shown, command, versions
from runner.errors import UserError
from runner.model.version import KernelVersion
from runner.project import MEASURED
from runner.reports.kfunc import (
    AskedKernel,
    KfuncData,
    callable_on,
    feature_report,
    kernel_report,
    kfunc_report,
    search_report,
)
from runner.text import nearest

app = typer.Typer()


@command(app, "kfunc", "kfunc bpf_skb_ct_alloc")
def kfunc(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", autocompletion=completion.kfuncs, help="A kfunc, a helper, BPF_MAP_TYPE_ARENA…"
        ),
    ] = None,
    search: Annotated[str, typer.Option(metavar="TEXT", help="List the names that have this in them.")] = "",
    kernel: Annotated[
        str,
        typer.Option(
            metavar="KERNEL", autocompletion=completion.kernels, help="List what may be called there: 6.12, 6.12.117."
        ),
    ] = "",
    prog_type: Annotated[Literal["tc", "xdp"], typer.Option("--type", help="With --kernel.")] = "tc",
    data: Annotated[Path, typer.Option(help="Another document of `runner report availability --format json`.")] = (
        MEASURED
    ),
) -> Shown:
    """Show since when a kfunc is available, how it is declared, and what programs that call it showed.

    Helpers, and types of programs, maps and attachments are found as well.
    """
    known = KfuncData.read(data)
    if name:
        if search or kernel:
            raise UserError("one question at a time", hint="NAME, --search or --kernel")
        return _one(name, known)
    if kernel:
        kernels = _newest(known, kernel)
        kfuncs, helpers = ([it._asdict() for it in found] for found in callable_on(known, kernels, prog_type, search))
        document = {"kernel": kernels[0].version, "prog_type": prog_type, "kfuncs": kfuncs, "helpers": helpers}
        return Shown(kernel_report(known, kernels, prog_type, search), document)
    if not search:
        raise UserError("which kfunc?", hint="runner kfunc bpf_skb_ct_alloc, runner kfunc --search dynptr")
    if not (names := [it for it in (*sorted(known.kfuncs), *known.by_feature) if search.lower() in it.lower()]):
        raise UserError(
            f"nothing has {search!r} in its name",
            hint="`runner report show --all` lists all kfuncs that were asked about",
        )
    return Shown(search_report(known, names), names)


def _one(name: str, known: KfuncData) -> Shown:
    """Raises UserError when no kernel was asked about it."""
    feature, today = known.by_feature.get(name), datetime.now(UTC).date()
    if feature is None and name not in known.kfuncs:
        there = (*known.kfuncs, *known.by_feature)
        raise UserError(f"no kernel was asked about {name}", hint=nearest(name, there, "runner kfunc --search"))
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
