"""A cell that was booted once more: both answers compared, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from runner.model import ANSWERS, CellResult, Outcome
from runner.results.comparison import Deviation
from runner.text import plain


def comparison_report(
    where: str, before: CellResult, now: CellResult, changed: Sequence[Deviation], *, notes: Sequence[str] = ()
) -> RenderableType:
    """`where` names what `before` is of. `notes` say what could not be made as it was."""
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(overflow="fold")
    table.add_row(Text(""), Text("then", "bold"), Text("now", "bold"))
    for name, was, became in _conditions(before, now):
        table.add_row(Text(name, "dim"), Text(plain(was)), Text(plain(became)))
    for one in changed:
        table.add_row(Text(plain(one.what), "red"), Text(plain(one.before, 200)), Text(plain(one.after, 200)))
    said = [Text(f"Note: {plain(note)}", "yellow") for note in notes]
    heading = Text(f"{plain(before.cell.id)} of {plain(where)}, booted once more", "bold")
    return Group(heading, Padding(table, (0, 0, 1, 2), expand=False), *said, _verdict(before, now, changed))


def _conditions(before: CellResult, now: CellResult) -> list[tuple[str, str, str]]:
    return [
        ("outcome", _outcome(before), _outcome(now)),
        ("kernel", before.build.sha256[:16] or "unknown", now.build.sha256[:16] or "not prepared"),
        ("image", before.image_sha256[:16] or "unknown", now.image_sha256[:16] or "not prepared"),
        ("host", f"{before.host} ({before.accel})", f"{now.host} ({now.accel})"),
    ]


def _outcome(result: CellResult) -> str:
    return f"{result.outcome}{result.cause and f': {result.cause}'}"


def _verdict(before: CellResult, now: CellResult, changed: Sequence[Deviation]) -> Text:
    if before.outcome not in ANSWERS:
        return Text(f"There was no answer to compare with: then it {_ended(before)}.", "yellow")
    if now.outcome not in ANSWERS:
        return Text("There is no answer: this machine failed, which says nothing about the kernel.", "yellow")
    if now.outcome is not before.outcome:
        return Text(f"Not the same: then it {_ended(before)}, now it {_ended(now)}.", "red")
    if now.outcome is Outcome.BOOT_FAILED:
        return Text("The same as stored: it did not boot.", "green")
    if changed:
        return Text(f"Not the same as stored: {len(changed)} differ.", "red")
    return Text("The answer is the same as the stored one.", "green")


def _ended(result: CellResult) -> str:
    return "ran" if result.outcome is Outcome.RAN else f"ended as {result.outcome}"
