# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner load --watch`: a run on each save. The newest save wins: it interrupts a run that is under way."""

from __future__ import annotations

import glob
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.text import Text

from runner.cli import EXIT_INTERRUPTED, explain, running
from runner.cli.load import Load
from runner.cli.options import Format, out_console, progress_console
from runner.cli.running import Engine
from runner.engine.plan import Plan, RunEnd, Sink
from runner.errors import BuildError, InfraError, UserError
from runner.probes import included
from runner.process import run, run_in_sight
from runner.project import Project
from runner.reports.changes import builds_report
from runner.results.availability import availability
from runner.results.diff import rounds_compared
from runner.text import plain, printable

_POLL_S = 0.3
_QUIET_S = 0.1  # without a change: then a file is written whole
_MOST = 20_000  # files
_State = Mapping[Path, tuple[int, int, int] | None]  # of each file time, inode and size; None: there is none


def watch(project: Project, asked: Load, engine: Engine) -> int:
    """Load, and again on each save, until Ctrl-C. What does not compile or is no object is shown, and waited for.

    Raises UserError and InfraError, other than of a build, until a run began: the command line may be wrong.
    """
    rounds = _Rounds(project, asked, engine)
    while True:
        try:
            if rounds.ask() == EXIT_INTERRUPTED:
                return EXIT_INTERRUPTED
            rounds.wait()
        except (UserError, InfraError) as error:
            if not (rounds.run or isinstance(error, BuildError)):
                raise
            explain(error)
            rounds.wait()
        except KeyboardInterrupt:
            if not rounds.saved:
                raise


@dataclass
class _Rounds:
    """`run` is the last one that began, `last` the last one that came to its end. `saved`: the round is out of date."""

    project: Project
    asked: Load
    engine: Engine
    run: str = ""
    last: str = ""
    saved: bool = False
    _files: set[Path] = field(default_factory=set)
    _state: _State = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._console = progress_console() if self.asked.format_ is Format.JSON else out_console()

    def ask(self) -> int:
        """One round. Returns the exit status that it would have alone."""
        self.saved, began = False, time.monotonic()
        self._build()
        status = running.load(self.project, self.asked, replace(self.engine, execute=self._execute))
        if status != EXIT_INTERRUPTED:
            if self.last:
                before, after = self.project.run(self.last), self.project.run(self.run)
                report = builds_report(rounds_compared(before, after), availability(after))
                self._console.print(Text(), report, crop=False)
            self.last = self.run
            self._say(f"the round took {time.monotonic() - began:.1f} s")
        return status

    def wait(self) -> None:
        """Return when a file was saved, and is written whole."""
        self._say(f"waiting for a save of {self._what()}; Ctrl-C ends")
        while not (changed := self._changed()):
            time.sleep(_POLL_S)
        self._settle()
        self._say(f"{printable(os.path.relpath(changed))} was saved")

    def _execute(self, plan: Plan, sinks: Sequence[Sink]) -> RunEnd:
        self.run = plan.run.id
        with self._interrupted_by_a_save():
            end = self.engine.execute(plan, sinks)
        if self.saved:
            raise KeyboardInterrupt
        return end

    @contextmanager
    def _interrupted_by_a_save(self) -> Iterator[None]:
        """A save is a Ctrl-C inside, so that all that was started ends as it does then."""
        over, main = threading.Event(), threading.get_ident()

        def look() -> None:
            while not over.wait(_POLL_S):
                if changed := self._changed():
                    self._say(f"{printable(os.path.relpath(changed))} was saved: interrupting the run")
                    self.saved = True
                    signal.pthread_kill(main, signal.SIGINT)
                    return

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    # --- files ---------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        """Run the user's command, and again if something was saved meanwhile, be it by the command: then it has nothing
        to do any more. What is saved from here on begins another round. Raises BuildError."""
        self._look_again()
        status = 0
        for _ in range(2 if self.asked.build else 0):
            self._settle()
            argv = ["sh", "-c", self.asked.build]
            status = run_in_sight(argv, end_s=self.project.limits.deadline("prepare_s").end_s)
            if not self._changed():
                break
        else:
            self._settle()
        if status:
            raise BuildError(f"`{plain(self.asked.build)}` failed with exit status {status}")

    def _look_again(self) -> None:
        """Which files are there. None is forgotten: a source that cannot be read names none that it includes."""
        deadline = self.project.limits.deadline("prepare_s")
        for file in self._named():
            found = {file}
            if file.suffix == ".c":
                found |= included(file, self.asked.archs(self.project)[0], deadline=deadline)
            self._files |= found | {file.parent / it for it in found if not it.exists()}
        if self.asked.build:
            self._files |= set(self._of_folder())
        if len(self._files) > _MOST:
            raise UserError(f"{len(self._files)} files to watch, more than {_MOST}", hint="cd to the program's folder")

    def _named(self) -> Iterator[Path]:
        for file in (*(self.asked.files or ()), *filter(None, [self.asked.against])):
            yield from map(Path, glob.glob(str(file)) or [file])  # noqa: PTH207  it may be an absolute pattern

    def _of_folder(self) -> Iterable[Path]:
        """Below the current folder, without what git ignores; where there is no git, without what is hidden."""
        with suppress(InfraError):
            argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
            done = run(argv, deadline=self.project.limits.deadline("prepare_s"))
            return map(Path, filter(None, done.stdout.split("\0")))
        every = (path for path in Path().rglob("*") if not any(part.startswith(".") for part in path.parts))
        return (path for path in every if path.is_file())

    def _changed(self) -> Path | None:
        now = _state(self._files)
        return next((path for path in now if now[path] != self._state.get(path)), None)

    def _settle(self) -> None:
        """Until nothing is being written."""
        while self._state != (now := _state(self._files)):
            self._state = now
            time.sleep(_QUIET_S)

    def _what(self) -> str:
        if self.asked.build:
            return f"a file in {printable(str(Path.cwd()))}"
        files = [printable(str(file)) for file in self.asked.files or ()]
        also = " or what it includes" if any(name.endswith(".c") for name in files) else ""
        return f"{' or '.join(files)}{also}"

    def _say(self, text: str) -> None:
        self._console.print(Text(text, "bold"), soft_wrap=True)


def _state(files: Iterable[Path]) -> _State:
    return {path: _stat(path) for path in sorted(files)}


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
