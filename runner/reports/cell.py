"""Everything about one cell, and everything about one probe in it, for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from runner.errors import UserError
from runner.model import CellResult, ClaimVerdict, KfuncState, Level, Look, Observation, State, Verdict
from runner.model.errnos import errno_name, errno_words
from runner.reports.findings import show_command
from runner.reports.hanging import whole
from runner.reports.look import look_sections, probing_console
from runner.reports.marks import KNOWN_ISSUE, STATES, VERDICTS
from runner.reports.trimmed import Trimmed, section
from runner.results.model import JudgedCell
from runner.text import lines, nearest, plain

# what is wrong first; the rest as the claims file has it
_VERDICTS = (Verdict.BROKEN, Verdict.NO_ANSWER, Verdict.NOT_APPLICABLE, Verdict.HOLDS)
_LEVELS = {level: f"{at}/{len(Level) - 1} {level}" for at, level in enumerate(Level)}

_Pairs = Iterable[tuple[str, str]]


def cell_report(
    cell: JudgedCell, *, every_kfunc: bool = False, console_lines: int = 20, console_path: str = ""
) -> RenderableType:
    """`cell.result.console` must have been loaded for its last lines to be shown."""
    result = cell.result
    claimed = {claim.kfunc for claim in cell.claims}
    states = [state for state in cell.states if every_kfunc or state.kfunc in claimed]
    parts = [
        section(cell.id, _pairs(_about(cell))),
        section("Kernel", _pairs(_kernel(result))),
        section("Guest", _pairs(_guest(result))),
        section(f"Claims: {_tally(claim.verdict for claim in cell.claims)}", _claims(cell.claims)),
        section(f"Kfuncs: {_tally(state.state for state in cell.states)}", _states(states)),
    ]
    return Trimmed(Group(*parts, _console(result, console_lines, console_path)))


def probe_report(
    cell: JudgedCell, probe: str, *, says: str = "", source: str = "", look: Look | None = None
) -> RenderableType:
    """One probe: the claim (`says` in words, `source` who says it), its verdict, the raw observation, a closer look.

    Raises UserError, naming the nearest probe, when the cell knows no such probe.
    """
    claim = next((claim for claim in cell.claims if claim.probe == probe), None)
    seen = [observation for observation in cell.result.observations if observation.probe == probe]
    if claim is None and not seen and probe not in cell.result.crashed:
        raise _unknown_probe(cell, probe)
    parts: list[RenderableType] = []
    if claim:
        parts.append(section(f"{plain(probe)} on {cell.id}", _pairs(_claim(claim, says, source))))
    if not seen:
        why = "it took the guest down" if probe in cell.result.crashed else "the guest never answered it"
        parts.append(Text(f"There is no observation: {why}."))
    for crash in (crash for crash in cell.result.crashes if crash.probe == probe):
        oops = [whole(line) for line in lines(crash.oops)]
        parts.append(
            section(
                plain(crash.cause) or "What the console said", Group(*oops) if crash.oops else Text("it was not kept")
            )
        )
    for observation in seen:
        parts.append(section("Observation", _pairs(_observation(observation))))
        log = [whole(line) for line in lines(observation.log.rstrip())]
        parts.append(section("Log of the load", Group(*log) if observation.log.strip() else Text("empty")))
    parts += look_sections(look) if look else []
    parts += probing_console(cell.result)
    return Trimmed(Group(*parts))


def _about(cell: JudgedCell) -> _Pairs:
    result = cell.result
    yield "outcome", f"{result.outcome}{result.cause and f': {result.cause}'}"
    yield "host", " ".join(filter(None, (result.host, result.accel and f"({result.accel})"))) or "none"
    yield "attempts", str(result.attempts)
    for at, earlier in enumerate(cell.earlier, start=1):
        yield f"attempt {at}", f"{earlier.outcome}{earlier.cause and f': {earlier.cause}'}"
    took = result.timings.model_dump()
    yield "seconds", ", ".join(f"{name.removesuffix('_s')} {_seconds(took[name])}" for name in took)
    if result.crashed:
        yield "crashed by", ", ".join(result.crashed)
    if result.unasked:
        yield "never asked", ", ".join(result.unasked)


def _kernel(result: CellResult) -> _Pairs:
    locked = result.cell.kernel
    yield "name", result.cell.name
    yield "version", locked.version
    yield "release", locked.release
    yield "source", locked.source
    yield "sha256", result.build.sha256 or "never prepared"
    yield "compiler", result.build.compiler or "unknown"
    yield "pahole", result.build.pahole or "unknown"
    if result.build.lacks:
        yield "lacks", ", ".join(f"CONFIG_{option}" for option in result.build.lacks)
    for file in locked.files:
        yield "file", f"{file.name}, {file.size_bytes} bytes, sha256 {file.sha256}"
    for package in locked.packages:
        yield "package", f"{package.name} {package.version} ({package.suite}, {package.architecture})"
    yield "image", f"{result.image_sha256 or 'never prepared'} (packages: {len(result.cell.image.packages)})"


def _guest(result: CellResult) -> _Pairs:
    facts = result.facts
    yield "uname", " ".join(filter(None, (facts.release, facts.build, facts.machine))) or "never answered"
    yield "command line", facts.cmdline or "unknown"
    yield "BPF JIT", facts.jit or "unknown"
    yield "BTF", ", ".join(facts.btf) or "none was seen"
    for module, error in facts.modules.items():
        yield f"module {plain(module)}", error or "loaded"
    yield "agent", f"Python {facts.python or 'unknown'}, libbpf {facts.libbpf or 'unknown'}"
    size = result.cell.guest
    yield "size", f"{size.cpus} CPU{'' if size.cpus == 1 else 's'}, {size.memory_mib} MiB"


def _claim(claim: ClaimVerdict, says: str, source: str) -> _Pairs:
    if says:
        yield "says", says
    if source:
        yield "source", source
    yield "kfunc", f"{claim.kfunc} ({claim.prog_type})"
    yield "expected", claim.expected
    yield "observed", claim.observed or "nothing"
    yield "verdict", f"{claim.verdict}{', it crashed the kernel' if claim.crashed else ''}"
    if claim.known_issue:
        yield "known issue", claim.known_issue
    if claim.cause:
        yield "cause", claim.cause


def _observation(seen: Observation) -> _Pairs:
    yield "load", errno_words(seen.load_errno, "the verifier accepted it")
    yield "run", errno_words(seen.run_errno, "it ran")
    yield "returned", "nothing" if seen.retval is None else str(seen.retval)
    for name, value in seen.fields.items():
        yield name, f"{value} ({f'-{errno_name(-value)}' if value < 0 else f'{value:#x}'})"
    if seen.failed:
        yield "not asked", seen.failed


def _claims(claims: Iterable[ClaimVerdict]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for _ in range(4):
        table.add_column(overflow="fold")
    table.add_row(*(Text(word, "bold") for word in ("verdict", "probe", "expected", "observed")))
    for claim in sorted(claims, key=lambda claim: _VERDICTS.index(claim.verdict)):
        mark = KNOWN_ISSUE if claim.known_issue else VERDICTS[claim.verdict]
        observed = claim.cause if claim.verdict in (Verdict.NO_ANSWER, Verdict.NOT_APPLICABLE) else claim.observed
        table.add_row(
            Text("known issue" if claim.known_issue else str(claim.verdict), mark.style, no_wrap=True),
            Text(plain(claim.probe)),
            Text(plain(claim.expected, 200)),
            Text(plain(observed, 200)),
        )
    return table


def _states(states: Iterable[KfuncState]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for _ in range(5):
        table.add_column(overflow="fold")
    for state in sorted(states, key=lambda state: (state.kfunc, state.prog_type)):
        where = f"in {plain(state.object)}" if state.object else "in no BTF"
        cause = f"{where}; {plain(state.cause, 200)}" if state.cause else where
        mark = STATES[state.state]
        table.add_row(
            Text(plain(state.kfunc)),
            Text(state.prog_type),
            Text(state.state, mark.style, no_wrap=True),
            Text(_LEVELS[state.level], "dim", no_wrap=True),
            Text(cause),
        )
    return table


def _console(result: CellResult, count: int, path: str) -> RenderableType:
    kept = lines(result.console.rstrip())[-count:] if result.console.strip() else []
    if not kept:
        return section("Console", Text("there is no console log"))
    shown = [whole(line) for line in kept]
    return section(f"Console, last lines{path and f' of {path}'}", Group(*shown))


def _pairs(pairs: _Pairs) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(plain(name)), Text(plain(value)))
    return table


def _tally(words: Iterable[Verdict | State]) -> str:
    counts = Counter(words)
    order = [*Verdict, *State]
    return ", ".join(f"{word} {counts[word]}" for word in sorted(counts, key=order.index)) or "none"


def _seconds(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.1f}"


def _unknown_probe(cell: JudgedCell, probe: str) -> UserError:
    hint = nearest(probe, [claim.probe for claim in cell.claims], f"`{show_command(cell.id)}` lists them")
    return UserError(f"cell {cell.id} has no probe {plain(probe)!r}", hint=hint)
