"""`runner kfunc`: what was measured about a kfunc, at once: no kernel is booted, and no project is needed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from runner.cli.options import Shown, command
from runner.errors import UserError
from runner.model.version import KernelVersion, Versions
from runner.project import MEASURED
from runner.reports.kfunc import AskedKernel, KfuncData, kernel_report, kfunc_report, search_report
from runner.text import nearest

app = typer.Typer()


@command(app, "kfunc", "kfunc bpf_skb_ct_alloc")
def kfunc(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The kfunc.")] = None,
    search: Annotated[str, typer.Option(metavar="TEXT", help="List the kfuncs whose name has this.")] = "",
    kernel: Annotated[str, typer.Option(metavar="KERNEL", help="List what may be called there: 6.12, 6.12.117.")] = "",
    prog_type: Annotated[Literal["tc", "xdp"], typer.Option("--type", help="With --kernel.")] = "tc",
    data: Annotated[Path, typer.Option(help="Another document of `runner report availability --format json`.")] = (
        MEASURED
    ),
) -> Shown:
    """Show since when a kfunc is available, how it is declared, and what programs that call it showed."""
    known = KfuncData.read(data)
    if name:
        if search or kernel:
            raise UserError("one question at a time", hint="NAME, --search or --kernel")
        if name not in known.kfuncs:
            raise UserError(
                f"no kernel was asked about {name}", hint=nearest(name, known.kfuncs, "runner kfunc --search")
            )
        today = datetime.now(UTC).date()
        document = {
            "measured": str(known.measured), "runner": known.runner, "kfunc": name,
            "availability": [it.model_dump(mode="json") for it in known.stories(name)],
            **known.kfuncs[name].model_dump(mode="json"),
        }  # fmt: skip
        return Shown(kfunc_report(name, known, today), document)
    names = [it for it in sorted(known.kfuncs) if search in it]
    if kernel:
        kernels = _newest(known, kernel)
        return Shown(kernel_report(known, kernels, prog_type, names), names)
    if not search:
        raise UserError("which kfunc?", hint="runner kfunc bpf_skb_ct_alloc, runner kfunc --search dynptr")
    if not names:
        raise UserError(f"no kfunc has {search!r} in its name")
    return Shown(search_report(known, names), names)


def _newest(known: KfuncData, words: str) -> list[AskedKernel]:
    """The newest kernel of that version on each architecture. Raises UserError when none was measured."""
    try:
        versions = Versions.parse(words)
    except ValueError as error:
        raise UserError(f"--kernel {words}: {error}") from None
    found = {}
    for it in sorted(known.kernels, key=lambda it: KernelVersion.parse(it.version)):
        if KernelVersion.parse(it.version) in versions:
            found[it.arch] = it
    if not found:
        there = ", ".join(dict.fromkeys(it.version for it in known.kernels))
        raise UserError(f"no kernel {words} was measured", hint=f"these were: {there}")
    return list(found.values())
