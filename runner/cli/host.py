# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner host`: making the machines of hosts.yaml ready; what they can do is for `runner doctor --hosts`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.text import Text

from runner.caches import cache_root
from runner.cli import EXIT_NO_ANSWER, EXIT_OK, Finished
from runner.cli.options import command, emit, group, out_console
from runner.errors import InfraError, UserError
from runner.hosts import provision
from runner.hosts.health import own_facts
from runner.hosts.hostsfile import load_hosts
from runner.hosts.provision import PINS, Pinned
from runner.model.deadline import Deadline
from runner.project import Project

app = group("Prepare the machines that boot guests (hosts.yaml).", "host prepare --push")


@command(app, "prepare", "host prepare --push")
def prepare(
    project: Project,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Only these hosts. [default: all]")] = None,
    hosts: Annotated[Path, typer.Option("--hosts", help="File that lists the hosts.", show_default=True)] = Path(
        "hosts.yaml"
    ),
    push: Annotated[
        bool, typer.Option("--push", help="Send wheels, kernels and images from here; hosts need no network.")
    ] = False,
) -> None:
    """Prepare bare Debian hosts: packages, this version of runner, the kernels and images of the lock.

    Installing packages needs root there, or sudo without a password; without either they are listed. Exit status 2
    when a host did not become ready.
    """
    file = load_hosts(hosts, names or ())
    cells = project.matrix.cells(project.lock())
    pins: list[Pinned] = [cell.kernel for cell in cells]
    pins += [image for cell in cells for image in (cell.image.system, cell.image)]
    if not any(host.ssh for host in file.hosts):
        raise UserError(f"{hosts}: there is no host but this machine", hint="`make setup` prepares this machine")
    console = out_console()
    console.print("building runner's wheel")

    def say(name: str, what: str) -> None:
        console.print(Text(f"{name}: {what}"), soft_wrap=True)

    errors = provision.prepare(file, tuple(dict.fromkeys(pins)), cache_root(), say, push=push, limits=project.limits)
    for error in errors:
        console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
    raise Finished(EXIT_NO_ANSWER if errors else EXIT_OK)


# --- what the controller runs on a host; hidden -----------------------------------------------------------------------

LimitS = Annotated[float, typer.Option(help="How long the controller waits for a reply.")]


@command(app, "describe")
def describe(limit_s: LimitS) -> None:
    """Print what this machine can do, for the controller."""
    emit(own_facts(deadline=_limit(limit_s)).model_dump_json())


@command(app, "lacks")
def lacks() -> None:
    """Print those kernels and images on stdin that this machine's cache lacks."""
    emit(PINS.dump_json(provision.lacking(_pins_from_stdin(), cache_root())).decode())


@command(app, "fetch")
def fetch(limit_s: LimitS) -> None:
    """Get the kernels and images on stdin from the archive."""
    for pin in provision.fetch(_pins_from_stdin(), cache_root(), deadline=_limit(limit_s)):
        emit(provision.title(pin))


@command(app, "receive")
def receive(limit_s: LimitS) -> None:
    """Take a kernel or an image from stdin into this machine's cache."""
    try:
        emit(provision.title(provision.receive(sys.stdin.buffer, cache_root(), deadline=_limit(limit_s))))
    except ValidationError:
        raise InfraError("what was received is not a kernel or an image of this program") from None


def _limit(limit_s: float) -> Deadline:
    return Deadline.after(limit_s, "the controller's limit")


def _pins_from_stdin() -> tuple[Pinned, ...]:
    try:
        return PINS.validate_json(sys.stdin.buffer.read())
    except ValidationError:
        raise InfraError("what was received are not kernels and images of this program") from None
