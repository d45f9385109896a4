"""The history of one kfunc, with its declarations: for the terminal, and for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model import StructLayout, layout_lines
from runner.reports.drawing import Hanging, whole
from runner.reports.findings import alike, show_command
from runner.results.history import Signature, Turn
from runner.text import counted, plain, printable

NOT_RECORDED = "not recorded"
_WIDTH = 140


def history_report(kfunc: str, turns: Sequence[Turn], signatures: Sequence[Signature], runs: int) -> RenderableType:
    """For the terminal: first answers, each change with its evidence, and how the kernels declare it."""
    if not turns:
        return Text(f"No run has an answer about {kfunc}.")
    firsts = [turn for turn in turns if turn.before is None]
    changes = [turn for turn in turns if turn.before is not None]
    parts: list[RenderableType] = [
        Text(f"{kfunc}: {counted(len(changes), 'change')} in {counted(runs, 'run')}", "bold"),
        Text(),
    ]
    parts += [Text("First answers", "bold"), *_firsts(firsts)]
    if changes:
        parts += [Text(), Text("Changes", "bold")]  # of one cell in one run, those that say the same together
        together = alike(changes, lambda it: (it.new.run, it.new.cell.id, plain(it.before or ""), plain(it.after)))
        parts += [line for group in together for line in _lines(group)]
    if signatures:
        parts += [Text(), Text("Declarations", "bold"), *_declarations(signatures)]
    return Group(*parts)


def history_document(
    kfunc: str, turns: Sequence[Turn], signatures: Sequence[Signature], runs: int
) -> dict[str, object]:
    """The same for scripts. Fields are added, never renamed. A prototype that is null was not recorded."""
    return {
        "schema": 1,
        "kfunc": kfunc,
        "runs": runs,
        "turns": [_document(turn) for turn in turns],
        "signatures": [
            {"arch": it.arch, "kernels": [str(build) for build in it.builds], "object": it.owner,
             "prototype": it.prototype or None, "flags": list(it.flags),
             "layouts": [layout.model_dump() for layout in it.layouts]}
            for it in signatures
        ],
    }  # fmt: skip


def _firsts(turns: Sequence[Turn]) -> Iterator[RenderableType]:
    """One line for each answer and day, with the kernels that gave it."""
    groups: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for turn in turns:
        kernels = groups.setdefault((f"{turn.when:%Y-%m-%d}", turn.type, plain(turn.after, _WIDTH)), {})
        archs = kernels.setdefault(str(turn.new.build), [])
        if turn.new.build.arch not in archs:
            archs.append(turn.new.build.arch)
    for (day, prog_type, words), kernels in groups.items():
        yield Hanging(f"  {day}  {prog_type:<4} ", words)
        yield Hanging("      ", ", ".join(f"{kernel} ({', '.join(archs)})" for kernel, archs in kernels.items()))


def _lines(group: Sequence[Turn]) -> Iterator[RenderableType]:
    turn = group[0]
    assert turn.old is not None  # noqa: S101  a change has something before it
    what = ", ".join(each.probe or f"state ({each.type})" for each in group)
    kernels = f"{turn.old.build} -> {turn.new.build}" if turn.old.build != turn.new.build else str(turn.new.build)
    yield Hanging(f"  {turn.when:%Y-%m-%d %H:%M}  ", f"{kernels} {turn.new.build.arch}  {plain(what)}")
    same = "" if turn.old.build != turn.new.build else " (the same build)"
    yield Hanging("    before   ", plain(turn.before or "", _WIDTH), "dim")
    yield Hanging("    after    ", f"{plain(turn.after, _WIDTH)}{same}", "dim")
    if turn.unanswered:
        yield Text(f"    no answer in {counted(turn.unanswered, 'run')} in between", "dim")
    for seen in (turn.old, turn.new):
        yield whole(f"    {show_command(seen.cell.id, turn.probe, seen.run, every=True)}", "dim")


def _document(turn: Turn) -> dict[str, object]:
    return {
        "when": turn.when.isoformat(),
        "prog_type": turn.type,
        "probe": turn.probe,
        "arch": turn.new.build.arch,
        "before": None if turn.before is None else plain(turn.before),
        "after": plain(turn.after),
        "kernel": {"before": None if turn.old is None else str(turn.old.build), "after": str(turn.new.build)},
        "run": {"before": None if turn.old is None else turn.old.run, "after": turn.new.run},
        "cell": {"before": None if turn.old is None else turn.old.cell.id, "after": turn.new.cell.id},
        "unanswered": turn.unanswered,
        "command": show_command(turn.new.cell.id, turn.probe, turn.new.run, every=True),
    }


def _declarations(found: Sequence[Signature]) -> Iterator[RenderableType]:
    """Each with the kernels that share it."""
    for (prototype, flags, layouts, owner), places in _places(found).items():
        yield Hanging("  ", f"{'; '.join(places)}  in {plain(owner)}")
        yield Hanging("    prototype  ", plain(prototype) or NOT_RECORDED, "" if prototype else "dim")
        words = ", ".join(flags) if flags else "none shown" if prototype else NOT_RECORDED
        yield Hanging("    flags      ", plain(words), "" if flags else "dim")
        yield from (whole(f"    {printable(line)}") for layout in layouts for line in layout_lines(layout))


_Said = tuple[str, tuple[str, ...], tuple[StructLayout, ...], str]


def _places(found: Sequence[Signature]) -> dict[_Said, list[str]]:
    """For each signature, its kernels in words, by architecture."""
    places: dict[_Said, dict[str, list[str]]] = {}
    for it in found:
        first, last = it.builds[0], it.builds[-1]
        words = str(first) if len(it.builds) == 1 else f"{first} to {last}"
        what = (it.prototype, it.flags, it.layouts, it.owner)
        places.setdefault(what, {}).setdefault(words, []).append(it.arch)
    return {
        key: [f"{words} ({', '.join(archs)})" for words, archs in kernels.items()] for key, kernels in places.items()
    }
