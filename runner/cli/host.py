"""`runner host`: the machines of hosts.yaml: what they can do, and making them ready."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runner.caches import cache_root
from runner.cli import EXIT_NO_ANSWER, EXIT_OK, Finished
from runner.cli.lazy import Group
from runner.cli.options import (
    DEFAULT_MATRIX,
    Format,
    FormatOption,
    MatrixFile,
    Output,
    Project,
    Verbose,
    emit,
    emit_json,
)
from runner.errors import InfraError, RunnerError, UserError
from runner.hosts import facts, transfer
from runner.hosts.connection import connect
from runner.hosts.hostsfile import HostEntry, HostsFile, load_hosts
from runner.hosts.muster import Answer, ask_all, slots_of
from runner.hosts.prepare import Paths, install, warm
from runner.hosts.wheel import build_wheels
from runner.model import GuestSize, Limits, Lock
from runner.model.deadline import Deadline
from runner.text import printable

app = typer.Typer(
    cls=Group,
    help="The machines that boot guests, see hosts.yaml.",
    epilog="Example: runner host check",
    no_args_is_help=True,
)

HostsOption = Annotated[Path, typer.Option("--hosts", help="The file that names the hosts.", show_default=True)]
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these hosts; by default all.")]

DEFAULT_HOSTS = Path("hosts.yaml")


@app.command("list")
def list_hosts(hosts: HostsOption = DEFAULT_HOSTS, format_: FormatOption = Format.TEXT, output: Output = None) -> None:
    """List the hosts, as the file has them; no connection is made.

    Example: runner host list --hosts hosts.yaml
    """
    file = load_hosts(hosts)
    if format_ is Format.JSON:
        emit_json([host.model_dump(mode="json", by_alias=True) for host in file.hosts], output)
        return
    table = Table("host", "ssh", "port", "slots", "python", box=None, pad_edge=False)
    for host in file.hosts:
        number = "found out" if host.slots is None else json.dumps(host.slots)
        where = (host.ssh, str(host.port)) if host.ssh else ("this machine", "")
        table.add_row(host.name, *where, number, host.python if host.ssh else "")
    emit(table, output)


@app.command("check")
def check(
    names: Names = None,
    hosts: HostsOption = DEFAULT_HOSTS,
    doctor: Annotated[bool, typer.Option("--doctor", help="Also what `runner doctor` says there.")] = False,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
) -> None:
    """Ask every host what it can do. Exit status 2 when one cannot be used.

    Example: runner host check --doctor
    """
    file = _chosen(load_hosts(hosts), names)
    answers = ask_all(file)
    doctors = _doctors(answers, file) if doctor else {}
    if format_ is Format.JSON:
        emit_json([_plain(answer, doctors) for answer in answers], output)
    else:
        emit(_table(answers, doctors), output)
    bad = any(answer.error or answer.facts is None for answer in answers)
    raise Finished(EXIT_NO_ANSWER if bad else EXIT_OK)


def _plain(answer: Answer, doctors: dict[str, str]) -> dict[str, object]:
    found = answer.facts
    return {
        "host": answer.entry.name,
        "usable": found is not None,
        "error": str(answer.error or ""),
        "facts": found.model_dump(mode="json") if found else None,
        "slots": slots_of(answer.entry, found, GuestSize()) if found else {},
        "doctor": json.loads(doctors[answer.entry.name]) if answer.entry.name in doctors else None,
    }


def _table(answers: tuple[Answer, ...], doctors: dict[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    for answer in answers:
        name, found = answer.entry.name, answer.facts
        if found is None:
            error = answer.error
            said = Text(printable(error.what if error else "").removeprefix(f"{name}: "))
            said.append(f"\n{error.hint}" if error and error.hint else "", "dim")
            table.add_row(Text("✗", "red"), name, said)
            continue
        number = slots_of(answer.entry, found, GuestSize())
        guests = ", ".join(f"{slots} {arch} ({found.accel[arch]})" for arch, slots in number.items())
        said = Text(f"guests at once: {guests or 'none'}; {found.cpus} cores, {found.memory_mib} MiB free")
        if found.missing:
            said.append(f"\nDebian packages are missing: {' '.join(found.missing)}", "yellow")
        for finding in json.loads(doctors.get(name, "[]")):
            if finding["level"] != "ok":
                said.append(printable(f"\n{finding['check']}: {finding['found']}"), "yellow")
        table.add_row(Text("✓", "green"), name, said)
    return table


def _doctors(answers: tuple[Answer, ...], file: HostsFile) -> dict[str, str]:
    """What each usable host's own doctor says, as JSON."""

    def ask(entry: HostEntry) -> str:
        with connect(entry, deadline=file.limits.deadline("connect_s")) as connection:
            line = Paths(entry).runner("doctor", "--format", "json")
            said = connection.run(line, deadline=file.limits.deadline("ask_s"), check=False).stdout
        try:
            json.loads(said)
        except ValueError:
            raise InfraError(f"{entry.name}: its doctor said nothing that can be read") from None
        return said

    far = [answer.entry for answer in answers if answer.facts and answer.entry.ssh]
    with ThreadPoolExecutor(max(1, len(far))) as pool:
        return dict(zip((entry.name for entry in far), pool.map(ask, far), strict=True))


@app.command("prepare")
def prepare(
    names: Names = None,
    hosts: HostsOption = DEFAULT_HOSTS,
    matrix: MatrixFile = DEFAULT_MATRIX,
    push: Annotated[
        bool, typer.Option("--push", help="Send wheels, kernels and images from here: the hosts need no network.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Bring hosts from bare Debian to ready: packages, this very runner, the kernels and images of the lock.

    Packages need root there, or sudo without a password; otherwise what is missing is named. Doing it again costs
    little. Exit status 2 when a host did not become ready.

    Example: runner host prepare --push
    """
    file = _chosen(load_hosts(hosts), names)
    project = Project.at(matrix)
    cells = project.matrix.cells(project.lock())
    lock = Lock(
        kernels=tuple(dict.fromkeys(cell.kernel for cell in cells)),
        images=tuple(dict.fromkeys(cell.image for cell in cells)),
    )
    far = [host for host in file.hosts if host.ssh]
    if not far:
        raise UserError(f"{hosts}: there is no host but this machine", hint="`make setup` prepares this machine")
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="runner-wheels-") as folder:
        console.print("building the runner's wheel")
        wheel, wheels = build_wheels(Path(folder), deadline=project.limits.deadline("prepare_s"), with_needs=push)

        def one(entry: HostEntry) -> RunnerError | None:
            try:
                _prepare(entry, lock, wheel, wheels, push, file, _saying(console, entry.name), project.limits)
            except InfraError as error:
                return error
            return None

        with ThreadPoolExecutor(len(far)) as pool:
            errors = [error for error in pool.map(one, far) if error]
    for error in errors:
        console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
    raise Finished(EXIT_NO_ANSWER if errors else EXIT_OK)


def _prepare(
    entry: HostEntry,
    lock: Lock,
    wheel: Path,
    wheels: tuple[Path, ...],
    push: bool,
    file: HostsFile,
    say: Callable[[str], None],
    limits: Limits,
) -> None:
    with connect(entry, deadline=file.limits.deadline("connect_s")) as connection:
        found = install(connection, wheel, wheels, say, pushed=push, limits=limits)
        wanted = Lock(
            kernels=tuple(pin for pin in lock.kernels if pin.arch in found.accel),
            images=tuple(pin for pin in lock.images if pin.arch in found.accel),
        )
        brought = warm(connection, wanted, cache_root(), say, push=push, limits=limits)
        number = slots_of(entry, found, GuestSize())
        guests = ", ".join(f"{slots} {arch}" for arch, slots in number.items())
        say(f"ready: {guests} guests at once; {brought} of {len(transfer.pins(wanted))} kernels and images were new")


def _saying(console: Console, name: str) -> Callable[[str], None]:
    return lambda what: console.print(Text(f"{name}: {what}"), soft_wrap=True)


def _chosen(file: HostsFile, names: list[str] | None) -> HostsFile:
    """UserError for a name that is not in the file."""
    known = [host.name for host in file.hosts]
    for name in names or ():
        if name not in known:
            raise UserError(f"no host is called {name!r}", hint=f"known: {', '.join(known)}")
    hosts = tuple(host for host in file.hosts if not names or host.name in names)
    return file.model_copy(update={"hosts": hosts})


# --- what a host is asked by another machine ------------------------------------------------------------------------

LimitS = Annotated[float, typer.Option(help="So long does the asking machine wait.")]


@app.command("describe", hidden=True)
def describe(limit_s: LimitS) -> None:
    """Print what this machine can do, for another machine."""
    found = facts.this_machine(deadline=_asker_waits(limit_s))
    emit(found.model_dump_json(), None)


@app.command("lacks", hidden=True)
def lacks() -> None:
    """Print those kernels and images of the lock on stdin that this machine's cache lacks."""
    emit(transfer.lacking(_lock_from_stdin(), cache_root()).model_dump_json(), None)


@app.command("fetch", hidden=True)
def fetch(limit_s: LimitS) -> None:
    """Get the kernels and images of the lock on stdin from the archive."""
    for pin in transfer.fetch(_lock_from_stdin(), cache_root(), deadline=_asker_waits(limit_s)):
        emit(transfer.title(pin), None)


@app.command("receive", hidden=True)
def receive(limit_s: LimitS) -> None:
    """Take a kernel or an image from stdin into this machine's cache."""
    deadline = _asker_waits(limit_s)
    try:
        emit(transfer.title(transfer.receive(sys.stdin.buffer, cache_root(), deadline=deadline)), None)
    except ValidationError:
        raise InfraError("what was received is not a kernel or an image of this program") from None


def _asker_waits(limit_s: float) -> Deadline:
    return Deadline.after(limit_s, "the asking machine's limit")


def _lock_from_stdin() -> Lock:
    try:
        return Lock.model_validate_json(sys.stdin.buffer.read())
    except ValidationError:
        raise InfraError("what was received is no lock of this program") from None
