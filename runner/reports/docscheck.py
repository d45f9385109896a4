"""Documentation held against kernels: for the terminal, and for scripts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model import Build
from runner.reports.drawing import Hanging, whole
from runner.reports.findings import alike, listed, merged, show_command
from runner.results.docscheck import ATTACHED_TYPES, Disagreement, Dispute, DocsCheck, flags_of
from runner.text import plain

_NAMED = 8
_WIDTH = 140


def docs_check_report(check: DocsCheck) -> RenderableType:
    """For the terminal."""
    builds = _by_arch([it.build for it in check.builds])
    wrong = sum(len(it.builds) for it in check.disagreements if it.kind is not Dispute.FLAGS)
    types = [str(prog_type) for prog_type in check.types]
    parts: list[RenderableType] = [
        Text(f"{check.agreements} answers agree, {wrong} do not", "bold"),
        Text(f"kernels: {builds}; program types: {listed(types, _NAMED)}"),
        Text(f"since-versions with a kernel on both sides, which agree: {check.points} of {check.all_points}"),
    ]
    for kind in Dispute:
        groups = _alike([it for it in check.disagreements if it.kind is kind])
        if groups:
            parts += [Text(), Text(kind.capitalize(), "bold red")]
            parts += [line for group in groups for line in _lines(group)]
    if attached := [str(prog_type) for prog_type in check.types if prog_type in ATTACHED_TYPES]:
        why = "the kernel may answer otherwise where such a program is attached to something else"
        parts += [Text(), Text(f"{', '.join(attached)}: {why}", "yellow")]
    parts += [Text(), Text("What these kernels cannot decide", "bold")]
    for it in check.undecided:
        parts.append(Text(f"  {it.why}: {listed((topic.subject for topic in it.topics), _NAMED)}"))
    if check.unasked:
        parts.append(Text(f"  documented, and no kernel was asked: {listed(check.unasked, _NAMED)}"))
    if check.unknown:
        parts.append(Text(f"  kernels have it, and the documentation does not: {listed(check.unknown, _NAMED)}"))
    return Group(*parts)


def docs_check_document(check: DocsCheck) -> dict[str, object]:
    """The same for scripts. Fields are added, never renamed."""
    return {
        "schema": 1,
        "agreements": check.agreements,
        "since_confirmed": check.points,
        "since_documented": check.all_points,
        "disagreements": [
            {"kind": it.kind, "kfunc": it.topic.subject, "prog_type": it.topic.type, "documented": it.documented,
             "kernels": [{"version": str(build), "arch": build.arch} for build in it.builds],
             "state": it.row.state, "cause": plain(it.row.cause), "errno": it.row.errno,
             "flags": list(flags_of(it.row)), "run": it.seen.run, "cell": it.seen.cell.id, "command": _command(it)}
            for it in check.disagreements
        ],
        "undecided": [
            {"why": it.why, "kfuncs": [{"kfunc": topic.subject, "prog_type": topic.type} for topic in it.topics]}
            for it in check.undecided
        ],
        "unasked": list(check.unasked),
        "undocumented": list(check.unknown),
    }  # fmt: skip


def _alike(found: Sequence[Disagreement]) -> list[list[Disagreement]]:
    """Disagreements that differ in the program type only, then those that differ in the kfunc only."""
    types = alike(found, lambda it: (it.topic.subject, it.documented, it.builds, it.row.state, plain(it.row.cause)))
    return merged(types, _without_kfunc)


def _without_kfunc(group: list[Disagreement]) -> Hashable:
    it = group[0]
    flags = flags_of(it.row) if it.kind is Dispute.FLAGS else ()
    types = tuple(each.topic.type for each in group)
    return types, flags, it.documented, it.builds, it.row.state, plain(it.row.cause)


def _lines(group: Sequence[Disagreement]) -> list[RenderableType]:
    it = group[0]
    names = listed((plain(each.topic.subject) for each in group), _NAMED)
    types = ", ".join(dict.fromkeys(each.topic.type for each in group))
    if it.kind is Dispute.FLAGS:
        what, observed = names, ", ".join(flags_of(it.row))
    else:
        cause = plain(it.row.cause, _WIDTH)
        what, observed = f"{names} ({types})", f"{it.row.state}: {cause}" if cause else str(it.row.state)
    return [
        Hanging("  ", f"{what}  on {_by_arch(it.builds)}"),
        Hanging("    documented ", str(it.documented), "dim"),
        Hanging("    observed   ", observed, "dim"),
        whole(f"    {_command(it)}", "dim"),
    ]


def _command(it: Disagreement) -> str:
    return show_command(it.seen.cell.id, run_id=it.seen.run, every=True)


def _by_arch(builds: Sequence[Build]) -> str:
    """`6.1.192, 6.12.117 (x86_64, arm64)`"""
    archs: dict[str, list[str]] = {}
    for build in builds:
        archs.setdefault(build.arch, []).append(str(build))
    kernels: dict[str, list[str]] = {}
    for arch, names in archs.items():
        kernels.setdefault(listed(names, _NAMED), []).append(arch)
    return "; ".join(f"{names} ({', '.join(them)})" for names, them in kernels.items())
