# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Everything about one cell, one probe in it, and a cell that was booted once more, for a terminal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from runner.errors import UserError
from runner.model import (
    ANSWERS,
    BEGINS,
    NO_ANSWER,
    CellResult,
    Crash,
    Deviation,
    JudgedSplat,
    Outcome,
    Row,
    Trace,
    Verdict,
)
from runner.probes.kinds import KINDS
from runner.reports.drawing import Trimmed, columns, pairs, section, state_mark, verdict_mark
from runner.reports.findings import show_command
from runner.reports.summary import differing, kept_from
from runner.results.model import JudgedCell
from runner.text import counted, lines, nearest, plain, printable

# what is wrong first; the rest in the order in which it was asked
_VERDICTS = (Verdict.BROKEN, Verdict.NO_ANSWER, Verdict.NOT_APPLICABLE, Verdict.HOLDS)
_BOOT = "Linux version "
_KERNEL = re.compile(r"\[ *\d+\.\d{6}\] ")  # the ssh server and qemu write there as well
_MAX_CONSOLE_LINES = 60

_Pairs = Iterator[tuple[str, str]]


def cell_report(
    cell: JudgedCell, *, every: bool = False, console_lines: int = 20, console_path: str = ""
) -> RenderableType:
    """Without `every`, states are listed only of subjects of which something is expected, unless nothing is.

    `cell.result.console` must have been loaded for its last lines to be shown.
    """
    result = cell.result
    expected = {row.subject for row in cell.rows if row.verdict is not None}
    parts = [section(title, pairs(facts)) for title, facts in cell_facts(cell)]
    parts += [_splat(splat) for splat in cell.splats]
    parts.append(differing(result))
    for kind in KINDS.values():
        rows = [row for row in cell.rows if row.kind == kind.name]
        title = ", ".join(dict.fromkeys(f"{kind.noun_of(row)}s" for row in rows)).capitalize()
        if verdicts := [row for row in rows if row.verdict is not None]:
            tally = _tally([str(row.verdict) for row in verdicts], [str(it) for it in Verdict])
            parts.append(section(f"{title}: {tally}", _verdicts(verdicts)))
        if states := [row for row in rows if row.verdict is None]:
            shown = [row for row in states if every or row.subject in expected or not expected]
            words = [it.word for it in kind.states] + [NO_ANSWER]
            parts.append(section(f"{title}: {_tally([row.state for row in states], words)}", _states(shown)))
    return Trimmed(Group(*parts, _console(result, console_lines, console_path)))


def require_probe(cell: JudgedCell, probe: str, run_id: str = "") -> None:
    """Raises UserError, naming the nearest probe, when the cell has no such probe."""
    probes = list(dict.fromkeys(row.probe for row in cell.rows))
    if probe in probes or _crashed(cell.result, probe):
        return
    whole = next((it for it in probes if it.endswith(f"/{probe}")), None)  # a program's name without its object's
    otherwise = f"`{show_command(cell.id, run_id=run_id, every=True)}` lists them"
    hint = f"did you mean {whole!r}?" if whole else nearest(probe, probes, otherwise)
    raise UserError(f"cell {cell.id} has no probe {plain(probe)!r}", hint=hint)


def probe_report(
    cell: JudgedCell, probe: str, *, says: str = "", source: str = "", trace: Trace | None = None, run_id: str = ""
) -> RenderableType:
    """One probe: what is expected (`says` in words, `source` who says it), its rows, the raw answer, its trace.

    Raises UserError, naming the nearest probe, when the cell has no such probe.
    """
    require_probe(cell, probe, run_id)
    rows, crashed = [row for row in cell.rows if row.probe == probe], _crashed(cell.result, probe)
    parts: list[RenderableType] = []
    for row in rows:
        kind = KINDS[row.kind]
        parts.append(section(f"{plain(probe)} on {cell.id}", pairs(_row(row, says, source))))
        if raw := list(kind.shown(cell.result, row)):
            if short := [it for it in raw if "\n" not in it[1]]:
                parts.append(section("Answer", pairs(short)))
            parts += [section(word.capitalize(), *lines(text)) for word, text in raw if "\n" in text]
            log = lines(row.log.rstrip()) if row.log.strip() else ["empty"]
            parts.append(section(kind.log_title, *log))
        else:
            why = "it took the guest down" if crashed else "the guest never answered it"
            parts.append(Text(f"There is no answer: {why}."))
    for crash in crashed:
        oops = lines(crash.oops) if crash.oops else ["it was not kept"]
        parts.append(section(plain(crash.cause) or "What the console said", *oops))
    parts += [_splat(splat) for splat in cell.splats if splat.probe == probe]
    if trace and trace.failed:
        parts.append(section("Trace", f"was not possible: {plain(trace.failed)}"))
    elif trace:
        said = [line for text in trace.kernel for line in lines(text)]
        parts.append(section("Verifier, every state", *lines(trace.log.rstrip())))
        parts.append(section("The kernel said meanwhile", *(said or ["nothing"])))
    parts += _probing_console(cell.result, probe)
    return Trimmed(Group(*parts))


def _crashed(result: CellResult, probe: str) -> list[Crash]:
    """Those by a probe, or by the item of PROBE/ITEM."""
    return [crash for crash in result.crashes if crash.probe in (probe, probe.replace("/", ":", 1))]


def cell_facts(cell: JudgedCell) -> tuple[tuple[str, _Pairs], ...]:
    """Titles, each with (word, text). The texts may be a guest's."""
    return (cell.id, _about(cell)), ("Kernel", _kernel(cell.result)), ("Guest", _guest(cell.result))


def row_facts(row: Row) -> _Pairs:
    """What is said of a row besides its state or verdict."""
    if row.verdict is not None:
        yield "expected", row.expected
        yield "observed", row.observed or "nothing"
    if row.known_issue:
        yield "known issue", row.known_issue
    if row.cause and row.cause != row.observed:
        yield "cause", row.cause


def _about(cell: JudgedCell) -> _Pairs:
    result = cell.result
    yield "outcome", result.ended
    for splat in cell.splats:
        yield "reported", f"{splat.title}{splat.probe and f', while {splat.probe} was asked'}"
    yield "host", result.where or "none"
    for kept in result.kept:
        yield "reused from", kept_from(kept)
    if result.rechecked:
        yield "rechecks", ", ".join(it.run for it in result.rechecked.of)
    yield "attempts", str(result.attempts)
    for at, earlier in enumerate(cell.earlier, start=1):
        yield f"attempt {at}", earlier.ended
    took = result.timings.model_dump()
    if not result.is_kept:
        yield "seconds", ", ".join(f"{name.removesuffix('_s')} {_seconds(took[name])}" for name in took)
    if result.crashed:
        yield "crashed by", ", ".join(result.crashed)
    if result.unasked:
        yield "never asked", ", ".join(result.unasked)


def _kernel(result: CellResult) -> _Pairs:
    pin = result.cell.kernel
    yield "name", result.cell.name
    yield "version", pin.version
    yield "vendor", f"{pin.vendor} ({pin.vendor.note})" if pin.vendor.note else str(pin.vendor)
    yield "release", pin.release
    yield "source", pin.source
    yield "sha256", result.build.sha256 or "never prepared"
    yield "compiler", result.build.compiler or "unknown"
    yield "pahole", result.build.pahole or "unknown"
    if result.build.lacks:
        yield "lacks", ", ".join(f"CONFIG_{option}" for option in result.build.lacks)
    for file in pin.files:
        yield "file", f"{file.name}, {file.size_bytes} bytes, sha256 {file.sha256}"
    for package in pin.packages:
        yield "package", f"{package.name} {package.version} ({package.suite}, {package.architecture})"
    image = result.cell.image
    yield "image", f"{result.image_sha256 or 'never prepared'} (packages: {len(image.packages)})"
    if image.added:
        yield "added", ", ".join(image.added)
    for file in image.files:
        yield "container", f"{image.oci}, sha256 {file.sha256}"


_ROOTS = {
    "": "never prepared",
    "disk": "the image's disk",
    "9p": "the image's files, over 9p: no ext4 or virtio-blk",
    "virtiofs": "the image's files, over virtiofs: no ext4 or virtio-blk, no 9p",
}


def _guest(result: CellResult) -> _Pairs:
    facts = result.facts
    yield "uname", " ".join(filter(None, (facts.release, facts.build, facts.machine))) or "never answered"
    if facts.version_signature:
        yield "signature", facts.version_signature
    yield "root", _ROOTS[result.root]
    yield "start", f"{result.start}; {plain(result.no_snapshot)}" if result.no_snapshot else result.start
    yield "command line", facts.cmdline or "unknown"
    yield "BPF JIT", facts.jit or "unknown"
    yield "BTF", ", ".join(facts.btf) or "none was seen"
    for module, error in facts.modules.items():
        yield f"module {plain(module)}", error or "loaded"
    yield "agent", f"Python {facts.python or 'unknown'}" + (f", libbpf {facts.libbpf}" if facts.libbpf else "")
    size = result.cell.guest
    yield "size", f"{counted(size.cpus, 'CPU')}, {size.memory_mib} MiB"


def _splat(splat: JudgedSplat) -> RenderableType:
    """What the kernel reported by itself, whole."""
    while_ = f", while {plain(splat.probe)} was asked" if splat.probe else ""
    allowed = f", known issue {plain(splat.known_issue)}" if splat.known_issue else ""
    told = [printable(line) for line in splat.lines or (splat.text,)]
    return section(f"The kernel reported{while_}: {splat.kind}{allowed}", *told)


def _row(row: Row, says: str, source: str) -> _Pairs:
    kind = KINDS[row.kind]
    if says:
        yield "says", says
    if source:
        yield "source", source
    about = kind.place(row.subject).noun or kind.subject
    yield about, f"{row.subject} ({row.type})" if row.type else row.subject
    if row.state:
        yield "state", row.state
    if row.verdict is not None:
        yield "verdict", f"{row.verdict}{', it crashed the kernel' if row.crashed else ''}"
    yield from row_facts(row)


def _verdicts(rows: Sequence[Row]) -> RenderableType:
    table = []
    for row in sorted(rows, key=lambda row: _VERDICTS.index(row.verdict or Verdict.NO_ANSWER)):
        word = Text("known issue" if row.known_issue else str(row.verdict), verdict_mark(row).style)
        observed = row.cause if row.verdict in (Verdict.NO_ANSWER, Verdict.NOT_APPLICABLE) else row.observed
        table.append((word, row.probe, plain(row.expected, 200), plain(observed, 200)))
    return columns(table, "verdict", "probe", "expected", "observed", no_wrap=(0,))


def _states(rows: Sequence[Row]) -> RenderableType:
    table = []
    for row in sorted(rows, key=lambda row: (row.subject, row.type)):
        brief = KINDS[row.kind].brief(row)
        said = "; ".join(filter(None, (plain(brief), plain(row.cause, 200))))
        table.append((row.subject, row.type, Text(row.state, state_mark(row).style), said))
    return columns(table, no_wrap=(2,))


def _console(result: CellResult, count: int, path: str) -> RenderableType:
    kept = [line for line in lines(result.console.rstrip()) if BEGINS not in line and line.strip()][-count:]
    if not kept:
        return section("Console", Text("there is no console log"))
    return section(f"Console, last lines{path and f' of {path}'}", *kept)


def _probing_console(result: CellResult, probe: str) -> list[RenderableType]:
    """What the kernel wrote while the probe was asked, in all boots; nothing where it was silent or not loaded."""
    said, asked, names = [], "", (probe, probe.replace("/", ":", 1))
    for line in lines(result.console):
        text = _KERNEL.sub("", line, count=1)
        if text.startswith(BEGINS):
            asked = text.removeprefix(BEGINS)
        elif _BOOT in text:
            asked = ""
        elif text != line and (asked in names or asked.startswith(f"{probe}:")):
            said.append(line)
    if not said:
        return []
    shown = said[-_MAX_CONSOLE_LINES:]
    cut = [f"[... {counted(len(said) - len(shown), 'line')} ...]"] if len(said) > len(shown) else []
    return [section("Console while it was asked", *cut, *shown)]


def _tally(words: Sequence[str], order: Sequence[str]) -> str:
    counts = Counter(words)
    return ", ".join(f"{word} {counts[word]}" for word in sorted(counts, key=order.index)) or "none"


def _seconds(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.1f}"


# --- a cell that was booted once more: both answers compared ---------------------------------------------------------


def comparison_report(
    where: str, before: CellResult, now: CellResult, changed: Sequence[Deviation], *, notes: Sequence[str] = ()
) -> RenderableType:
    """`where` names what `before` is of. `notes` say what could not be made as it was."""
    conditions = (
        ("outcome", before.ended, now.ended),
        ("kernel", before.build.sha256[:16] or "unknown", now.build.sha256[:16] or "not prepared"),
        ("image", before.image_sha256[:16] or "unknown", now.image_sha256[:16] or "not prepared"),
        ("host", f"{before.host} ({before.accel})", f"{now.host} ({now.accel})"),
    )
    deviations = ((Text(plain(it.what), "red"), plain(it.before, 200), plain(it.after, 200)) for it in changed)
    table = columns([*conditions, *deviations], "", "then", "now", style="dim")
    said = [Text(f"Note: {plain(note)}", "yellow") for note in notes]
    heading = Text(f"{plain(before.cell.id)} of {plain(where)}, booted once more", "bold")
    return Group(heading, Trimmed(table, indent=2), Text(), *said, _same(before, now, changed))


def _same(before: CellResult, now: CellResult, changed: Sequence[Deviation]) -> Text:
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
