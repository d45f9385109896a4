# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner doctor`: what this machine, or every machine of hosts.yaml, can do, and what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from runner.caches import cache_root
from runner.cli import EXIT_NO_ANSWER, EXIT_OK
from runner.cli.options import Shown, command
from runner.doctor import Severity, examine, install_missing
from runner.errors import UserError
from runner.hosts.health import HostHealth, query_all, slots_of
from runner.hosts.hostsfile import HostsFile, load_hosts
from runner.model import GuestSize
from runner.project import Project
from runner.reports.drawing import Trimmed
from runner.text import counted, printable

_MARKS = {Severity.OK: ("✓", "green"), Severity.WARN: ("!", "yellow"), Severity.BAD: ("✗", "red")}

app = typer.Typer()


@command(app, "doctor", "doctor")
def doctor(
    project: Project,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="With --hosts: only these. [default: all]")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Install the missing Debian packages of this machine.")] = False,
    hosts: Annotated[
        Path | None, typer.Option("--hosts", help="Check the hosts of this file instead: what guests each can run.")
    ] = None,
) -> Shown:
    """Check this machine: what it can do, and what it lacks. Exit status 2 when something that is needed is missing.

    With --hosts, query every host of a file: cores, memory, architectures, missing packages; 2 when one cannot be used.
    """
    if hosts and fix:
        raise UserError("--fix is for this machine", hint="`runner host prepare` installs what hosts lack")
    if hosts:
        return _of_hosts(load_hosts(hosts, names or ()))
    if names:
        raise UserError(f"unexpected argument {names[0]}: only valid with --hosts", hint="--hosts hosts.yaml")
    limits = project.limits
    if fix:
        install_missing(deadline=limits.deadline("prepare_s"))
    findings = tuple(examine(cache_root(), GuestSize(), deadline=limits.deadline("prepare_s")))
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        mark, style = _MARKS[finding.level]
        todo = (f"\n{finding.todo}", "dim") if finding.todo else ""
        table.add_row(Text(mark, style), finding.name, Text.assemble(finding.found, todo))
    document = [{"check": it.name, "level": it.level, "found": it.found, "todo": it.todo} for it in findings]
    bad = any(finding.level is Severity.BAD for finding in findings)
    return Shown(Trimmed(table), document, EXIT_NO_ANSWER if bad else EXIT_OK)


def _of_hosts(file: HostsFile) -> Shown:
    table, document = Table.grid(padding=(0, 2)), []
    found = query_all(file)
    for health in found:
        slots = slots_of(health.entry, health.facts, GuestSize()) if health.facts else {}
        table.add_row(
            Text(*_MARKS[Severity.OK if health.facts else Severity.BAD]), health.entry.name, _words(health, slots)
        )
        document.append(
            {
                "host": health.entry.name,
                "usable": health.facts is not None,
                "error": str(health.error or ""),
                "facts": health.facts.model_dump(mode="json") if health.facts else None,
                "slots": slots,
            }
        )
    return Shown(Trimmed(table), document, EXIT_OK if all(health.facts for health in found) else EXIT_NO_ANSWER)


def _words(health: HostHealth, slots: dict[str, int]) -> Text:
    """What a host can do, or why it cannot be used."""
    facts, error = health.facts, health.error
    if facts is None:
        what = printable(error.what if error else "").removeprefix(f"{health.entry.name}: ")
        return Text.assemble(what, (f"\n{error.hint}" if error and error.hint else "", "dim"))
    guests = ", ".join(f"{number} {arch} ({facts.accel[arch]})" for arch, number in slots.items())
    words = Text(f"{guests or 'no guests'}; {counted(facts.cpus, 'core')}, {facts.memory_mib} MiB free")
    if facts.missing:
        words.append(f"\nDebian packages are missing: {' '.join(facts.missing)}", "yellow")
    return words
