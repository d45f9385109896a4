# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner load`: does my own object file load on these kernels?"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from runner.caches import cache_root
from runner.cli import Finished, options
from runner.cli.options import Format, command
from runner.errors import UserError
from runner.probes import compile_program
from runner.probes.objects.files import escaped
from runner.probes.objects.written import OLD, ObjectEntry, name_of
from runner.process import own_folder
from runner.project import Project
from runner.text import plain

app = typer.Typer()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a command line says about objects."""

    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE.bpf.o", help="Object files; a FILE.c is compiled first.")
    ] = None
    kernel: options.Kernels = None
    arch: options.Archs = None
    program: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Only these programs. May be repeated.")] = (
        None
    )
    attach: Annotated[bool, typer.Option("--attach", help="Also attach each program that loads.")] = False
    stats: options.Stats = None
    log: Annotated[bool, typer.Option("--log", help="Keep the whole log of the verifier, up to 16 MiB.")] = False
    against: Annotated[
        Path | None,
        typer.Option(metavar="OLD.bpf.o", help="Also load an earlier build; exit 1 only when FILE.bpf.o is worse."),
    ] = None
    bisect: options.Bisects = False
    watch: Annotated[bool, typer.Option("--watch", help="Load again on each save, until Ctrl-C.")] = False
    build: Annotated[
        str, typer.Option(metavar="COMMAND", help="With --watch: run this first, on each save in this folder.")
    ] = ""
    resume: options.Resumed = ""
    fresh: options.Fresh = False
    slots: options.Slots = None
    hosts: options.Hosts = None
    no_snapshot: options.NoSnapshot = False
    offline: options.Offline = False
    format_: options.EventFormat = Format.TEXT

    def check(self) -> None:
        """Raises UserError for what cannot change a run that is resumed."""
        given = {
            "FILE": self.files, "--kernel": self.kernel, "--arch": self.arch, "--program": self.program,
            "--attach": self.attach, "--log": self.log, "--against": self.against, "--watch": self.watch,
        }  # fmt: skip
        if self.resume:
            options.only_a_new_run_takes(given, f"runner load --resume {self.resume}")
        if self.build and not self.watch:
            raise UserError("--build is for --watch", hint="or run the command before this one")
        if self.bisect and self.watch:
            raise UserError("--bisect ends with an answer, --watch does not end")

    def archs(self, project: Project) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.arch or (one.arch for one in project.matrix.wanted())))

    @contextmanager
    def compiled(self, project: Project) -> Iterator[Mapping[Path, str]]:
        """What names the objects of the sources among the files, for as long as the block lasts.

        Raises BuildError when a source is wrong.
        """
        files = [*(self.files or ()), *([self.against] if self.against else ())]
        sources = [file for file in files if file.suffix == ".c"]
        if not sources:
            yield {}
            return
        deadline = project.limits.deadline("prepare_s")
        with own_folder(cache_root() / "compiled", "load-", end_s=deadline.end_s) as folder:
            named = {}
            for number, source in enumerate(sources):
                place = folder.path / str(number)
                compile_program(source, self.archs(project), place, deadline=deadline)
                object_ = escaped(source.with_suffix(".o").name)
                named[source] = f"{escaped(place)}/{{arch}}/{object_}"
            yield named

    def entries(self, compiled: Mapping[Path, str]) -> tuple[ObjectEntry, ...]:
        """What a matrix's `probes` would say; `compiled` names what is no object itself.

        Raises UserError without a file, and for several with --against.
        """
        if not self.files:
            raise UserError("which object file?", hint="runner load prog.bpf.o")
        if self.against and len(self.files) > 1:
            raise UserError("--against compares one file with another", hint="name one FILE.bpf.o")
        named: list[tuple[Path, str | None]] = [(file, None) for file in self.files]
        if self.against:
            named.append((self.against, f"{name_of(self.files[0])}{OLD}"))
        return tuple(self._entry(compiled.get(file) or _pattern(file), id_) for file, id_ in named)

    def _entry(self, pattern: str, id_: str | None) -> ObjectEntry:
        try:
            return ObjectEntry(
                object=pattern,
                id=id_,
                up_to="attach" if self.attach else "load",
                log="whole" if self.log else "cut",
                only=tuple(self.program or ()),
            )
        except ValidationError as error:
            (key, *_), value = error.errors()[0]["loc"], plain(str(error.errors()[0]["input"]))
            if key == "only":
                raise UserError(f"--program {value!r} cannot be a program's name", hint="like 'tail_*'") from None
            raise UserError(f"{value!r} cannot be an object's id", hint="rename the file, without spaces") from None


def _pattern(file: Path) -> str:
    """What names `file` in an entry: its whole path. A file that exists is meant by its name, whatever is in that."""
    whole = str(file.absolute())
    if not whole.isprintable():
        raise UserError(f"{plain(whole)}: the path has characters that do not print", hint="rename it")
    if file.exists():
        return escaped(whole)
    if not glob.has_magic(whole) and "{" not in whole:
        raise UserError(f"{file}: no such file", hint="runner load prog.bpf.o")
    return whole


@command(app, "load", "load prog.bpf.o --kernel 6.1 --kernel 6.12")
def load(context: typer.Context, project: Project, asked: Load) -> None:
    """Load object files on kernels: each program and map alone, and all of a file together.

    Exit status: 0 everything loads; 1 something does not; 2 something has no answer; 64 bad usage.
    """
    from runner.cli import running, watch  # noqa: PLC0415  late: they bring pytest

    asked.check()
    ask = watch.watch if asked.watch else running.load
    raise Finished(ask(project, asked, context.obj or running.Engine()))
