"""Documentation held against kernels: for the terminal, and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.text import Text

from runner.reports.findings import show_command
from runner.reports.text import plain
from runner.results.docscheck import Disagreement, DocsCheck, types_checked
from runner.results.series import Build

_NAMED = 8
_WIDTH = 140


def docs_check_report(check: DocsCheck) -> RenderableType:
    """For the terminal."""
    builds = _by_arch([it.build for it in check.builds])
    parts: list[RenderableType] = [
        Text(f"{check.agreements} answers agree, {len(check.disagreements)} disagreements", "bold"),
        Text(f"kernels: {builds}; program types: {', '.join(types_checked(check))}"),
        Text(f"since-versions with a kernel on both sides, which agree: {check.points} of {check.all_points}"),
    ]
    for kind, group in groupby(sorted(check.disagreements, key=lambda it: it.kind), key=lambda it: it.kind):
        parts += [Text(), Text(kind.capitalize(), "bold red")]
        parts += [line for it in group for line in _lines(it)]
    parts += [Text(), Text("What these kernels cannot decide", "bold")]
    for it in check.undecided:
        parts.append(Text(f"  {it.why}: {_some([f'{row.kfunc} ({row.prog_type})' for row in it.rows])}"))
    if check.unasked:
        parts.append(Text(f"  documented, and no kernel was asked: {_some(check.unasked)}"))
    if check.unknown:
        parts.append(Text(f"  kernels have it, and the documentation does not: {_some(check.unknown)}"))
    return Group(*parts)


def docs_check_document(check: DocsCheck) -> dict[str, object]:
    """The same for scripts. Fields are added, never renamed."""
    return {
        "schema": 1,
        "agreements": check.agreements,
        "since_confirmed": check.points,
        "since_documented": check.all_points,
        "disagreements": [
            {"kind": it.kind, "kfunc": it.row.kfunc, "prog_type": it.row.prog_type, "documented": it.documented,
             "kernels": [{"version": str(build), "arch": build.arch} for build in it.builds],
             "state": it.state.state, "cause": plain(it.state.cause), "errno": it.state.errno,
             "flags": list(it.state.flags), "run": it.seen.run, "cell": it.seen.cell.id, "command": _command(it)}
            for it in check.disagreements
        ],
        "undecided": [
            {"why": it.why, "kfuncs": [{"kfunc": row.kfunc, "prog_type": row.prog_type} for row in it.rows]}
            for it in check.undecided
        ],
        "unasked": list(check.unasked),
        "undocumented": list(check.unknown),
    }  # fmt: skip


def _lines(it: Disagreement) -> list[Text]:
    observed = ": ".join(filter(None, (str(it.state.state), plain(it.state.cause, _WIDTH), ", ".join(it.state.flags))))
    return [
        Text(f"  {plain(it.row.kfunc)} ({it.row.prog_type})  {_by_arch(it.builds)}"),
        Text(f"    documented {it.documented}", "dim"),
        Text(f"    observed   {observed}", "dim"),
        Text(f"    {_command(it)}", "dim", no_wrap=True, overflow="ignore"),
    ]


def _command(it: Disagreement) -> str:
    return show_command(it.seen.cell.id, run_id=it.seen.run)


def _by_arch(builds: Sequence[Build]) -> str:
    """`6.1.192, 6.12.117 (x86_64, arm64)`"""
    archs: dict[str, list[str]] = {}
    for build in builds:
        names = archs.setdefault(build.arch, [])
        if str(build) not in names:
            names.append(str(build))
    kernels: dict[str, list[str]] = {}
    for arch, names in archs.items():
        kernels.setdefault(_some(names), []).append(arch)
    return "; ".join(f"{names} ({', '.join(them)})" for names, them in kernels.items())


def _some(names: Sequence[str]) -> str:
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{len(names)}: {', '.join(names[: _NAMED - 1])} and {len(names) - _NAMED + 1} more"
