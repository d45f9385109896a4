# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner exec`: does my own test pass on these kernels?"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from runner.cli import Finished, options
from runner.cli.options import Format, command
from runner.errors import UserError
from runner.matrix import ImageEntry
from runner.model import Cell
from runner.model.architecture import architecture
from runner.probes.commands.results import ResultsKind
from runner.probes.commands.written import CommandEntry
from runner.project import Project
from runner.text import plain

app = typer.Typer()
_OPTIONS = {
    "modules": "--module", "env": "--env", "bring": "--bring", "timeout_s": "--timeout", "silence_s": "--silence",
    "command": "COMMAND",
}  # fmt: skip
_SPARE_S = 120  # of a cell, besides its commands: its boots


@dataclass(frozen=True, slots=True, kw_only=True)
class Exec:
    """What a command line says about a command."""

    run: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND ARG...", help="What to run; ./PROGRAM is copied.")
    ] = None
    kernel: options.Kernels = None
    arch: options.Archs = None
    copy: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH[:NAME]", help="A file or folder for /payload; {arch}, {goarch} and {debarch}."),
    ] = None
    env: Annotated[list[str] | None, typer.Option(metavar="N[=V]", help="A variable; without V, this shell's.")] = None
    results: Annotated[ResultsKind, typer.Option(help="How what it prints is read.")] = "exit"
    bring: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help="Fetch what it leaves.")] = None
    timeout: Annotated[float, typer.Option(metavar="S", min=0.1, help="Seconds for one run of it.")] = 300
    silence: Annotated[
        float | None, typer.Option(metavar="S", min=0.1, help="Seconds without a word. [default: --timeout]")
    ] = None
    memory: Annotated[int | None, typer.Option(metavar="MIB", help="Memory of each guest.")] = None
    cpus: Annotated[int | None, typer.Option(metavar="N", help="Processors of each guest.")] = None
    package: Annotated[
        list[str] | None, typer.Option(metavar="DEB", help="A Debian package for the guests' image. May be repeated.")
    ] = None
    image: Annotated[
        str, typer.Option(metavar="oci:REF", help="Container image as the root of the command, or PATH of a layout.")
    ] = ""
    network: Annotated[bool, typer.Option("--network", help="Let the guests reach this host's network.")] = False
    module: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A kernel module to load first.")] = None
    repeat: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="How often to run it on each kernel.")] = 1
    bisect: options.Bisects = False
    resume: options.Resumed = ""
    slots: options.Slots = None
    hosts: options.Hosts = None
    no_snapshot: options.NoSnapshot = False
    offline: options.Offline = False
    format_: options.EventFormat = Format.TEXT

    def check(self) -> None:
        """Raises UserError for what cannot change a run that is resumed."""
        given = {
            "COMMAND": self.run, "--kernel": self.kernel, "--arch": self.arch, "--copy": self.copy,
            "--package": self.package, "--image": self.image,
        }  # fmt: skip
        if self.resume:
            options.only_a_new_run_takes(given, f"runner exec --resume {self.resume}")

    def _program(self, word: str) -> str:
        """The whole path of a program that lies here and is to be copied; empty when the guest has it."""
        if word.startswith("/") or "/" not in word or word.removeprefix("./") in self._copied:
            return ""
        if "{" not in word and not Path(word).exists():
            raise UserError(
                f"{word}: no such file", hint="name a program of the guest without ./, or by its whole path"
            )
        return str(Path(word).absolute())

    @property
    def _copied(self) -> set[str]:
        """The names in /payload that --copy gives."""
        named = (it.partition(":") for it in self.copy or ())
        return {name or Path(path).name for path, _, name in named}

    def entry(self) -> CommandEntry:
        """What a matrix's `probes` would say. Raises UserError for what cannot stand there."""
        if not self.run:
            raise UserError("which command?", hint="runner exec --kernel 6.12 -- ./prog.test -v")
        run, files = list(self.run), [_absolute(named) for named in self.copy or ()]
        if own := self._program(run[0]):
            files.append(own)
            run[0] = f"./{Path(run[0]).name}"
        words = {
            "command": run, "files": files, "env": dict(map(_variable, self.env or ())), "results": self.results,
            "bring": self.bring or (), "timeout_s": self.timeout, "silence_s": self.silence,
            "modules": self.module or (), "repeat": self.repeat,
        }  # fmt: skip
        try:
            return CommandEntry.model_validate(words)
        except ValidationError as error:
            first = error.errors()[0]
            where = _OPTIONS.get(str(first["loc"][0]), "")
            given = str(first["input"]).encode(errors="backslashreplace").decode()  # bytes that are not UTF-8, too
            raise UserError(f"{where} {plain(given, 100)}: {first['msg']}".strip()) from None

    def sized(self, project: Project) -> Project:
        """The project with guests of this size and with these programs, and time for the command. Raises UserError."""
        file = project.matrix.file
        image = self._image(file.image)
        given = {"cpus": self.cpus, "memory_mib": self.memory, "network": self.network or None}
        try:
            guest = type(file.guest).model_validate(
                {**file.guest.model_dump(), **{name: it for name, it in given.items() if it is not None}}
            )
        except ValidationError as error:
            first = error.errors()[0]
            option = "--cpus" if first["loc"][0] == "cpus" else "--memory"
            raise UserError(f"{option} {first['input']}: {first['msg']}") from None
        whole_s = max(file.limits.cell_s, self.timeout * self.repeat + _SPARE_S)
        limits = file.limits.model_copy(update={"cell_s": whole_s})
        changed = file.model_copy(update={"guest": guest, "limits": limits, "image": image})
        return replace(project, matrix=replace(project.matrix, file=changed))

    def _image(self, image: ImageEntry) -> ImageEntry:
        """The project's, with what is added to it. Raises UserError."""
        words = {**image.model_dump(), "packages": (*image.packages, *(self.package or ()))}
        if self.image:
            words["oci"] = _reference(self.image)
        try:
            return ImageEntry.model_validate(words)
        except ValidationError as error:
            first = error.errors()[0]
            option = "--image" if first["loc"][0] == "oci" else "--package"
            raise UserError(f"{option}: {first['msg'].removeprefix('Value error, ')}") from None

    def check_program(self, project: Project, cells: Iterable[Cell]) -> None:
        """Raises UserError when the program that is copied cannot start in a guest."""
        if not (self.run and (own := self._program(self.run[0]))):
            return
        from runner.probes.commands.binary import check_program  # noqa: PLC0415  late: it brings elftools

        for arch, image in {cell.arch: cell.image for cell in cells}.items():
            row, packages = architecture(arch), {it.name: it.version for it in image.packages}
            # what a container image has is not known before it was pulled
            check_program(project.root / row.filled(own), row, None if image.oci else packages)


def _reference(word: str) -> str:
    """Of `oci:REF`; a path becomes a whole one. Raises UserError."""
    kind, colon, rest = word.partition(":")
    if not (kind == "oci" and colon and rest):
        raise UserError(f"--image {word}: which image?", hint="oci:HOST/NAME:TAG, or oci:PATH[:TAG] of a layout")
    return os.path.abspath(Path(rest).expanduser()) if rest.startswith((".", "~")) else rest  # noqa: PTH100


def _absolute(named: str) -> str:
    path, colon, name = named.partition(":")
    return f"{Path(path).absolute()}{colon}{name}"


def _variable(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals and name not in os.environ:
        raise UserError(f"--env {name}: this shell has no such variable", hint=f"--env {name}=VALUE")
    return name, value if equals else os.environ[name]


@command(app, "exec", "exec --kernel 6.1 --kernel 6.12 -- ./prog.test -test.v", takes_rest=True)
def exec_(context: typer.Context, project: Project, asked: Exec) -> None:
    """Run a command on kernels, as root in a guest of each: its exit status decides, or the tests that it names.

    Exit status: 0 everything passes; 1 something fails; 2 something has no answer; 64 bad usage.
    """
    from runner.cli import running  # noqa: PLC0415  late: it brings pytest

    asked.check()
    raise Finished(running.run_command(project, asked, context.obj or running.Engine()))
