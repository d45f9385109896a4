"""Brings a host from bare Debian to ready: packages, the runner in an environment of its own, kernels and images."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from runner.errors import InfraError
from runner.hosts import transfer
from runner.hosts.connection import Connection
from runner.hosts.facts import HostFacts, code_sha256
from runner.hosts.hostsfile import HostEntry
from runner.model import Limits, Lock
from runner.model.deadline import Deadline
from runner.ssh import feeding
from runner.text import printable

_PACKAGE = Path(__file__).parents[1]
_UNPACK = "umask 077 && mkdir -p {folder} && tar -xf - -C {folder}"
_MIN_PYTHON = "import sys; sys.exit(sys.version_info < (3, 11))"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Paths:
    """Where things are on a host. Each is a plain word: hosts.yaml is checked for that."""

    host: HostEntry

    @property
    def venv(self) -> str:
        return self.host.python.rpartition("/bin/")[0]

    @property
    def setup(self) -> str:
        return f"{self.venv}.setup"

    def runner(self, *words: str, within: Deadline | None = None) -> str:
        """A shell line that runs the runner of the host; what runs there ends by itself when the time is over."""
        cache = f"RUNNER_CACHE={self.host.cache} " if self.host.cache else ""
        limit = ["--limit-s", f"{within.remaining_s + 1:.0f}"] if within else []
        return " ".join([f"{cache}{self.venv}/bin/runner", *words, *limit])


def describe(connection: Connection, *, deadline: Deadline) -> HostFacts:
    """What the host says of itself. InfraError when it has no runner, or one that we do not understand."""
    host = connection.host
    hint = f"`runner host prepare {host.name}` installs ours"
    said = connection.run(Paths(host).runner("host", "describe", within=deadline), deadline=deadline, check=False)
    if said.status in {126, 127}:
        raise InfraError(f"{host.name}: there is no runner at {Paths(host).venv}", hint=hint)
    if said.status != 0:
        raise InfraError(f"{host.name}: its runner failed: {printable(said.stderr).strip()[-500:]}", hint=hint)
    try:
        return HostFacts.model_validate_json(said.stdout)
    except ValidationError:
        raise InfraError(f"{host.name}: its runner is another version", hint=hint) from None


def check_code(host: HostEntry, facts: HostFacts) -> None:
    """InfraError unless the host has exactly our code: orders and results are not made for mixed versions."""
    if facts.code_sha256 != code_sha256():
        raise InfraError(
            f"{host.name}: its runner {facts.runner_version} is not the same code as ours",
            hint=f"`runner host prepare {host.name}` installs ours",
        )


def install(
    connection: Connection, wheel: Path, wheels: Sequence[Path], say: Say, *, pushed: bool, limits: Limits
) -> HostFacts:
    """Packages, then the environment. With `pushed` no package index is asked. InfraError says what is missing."""
    deadline = limits.deadline("prepare_s")
    paths = Paths(connection.host)
    files = {name: _PACKAGE / name for name in ("packages.sh", "packages.txt")}
    files |= {f"wheels/{file.name}": file for file in wheels}
    connection.run(_UNPACK.format(folder=paths.setup), deadline=deadline, feed=feeding(_tar(files)))
    try:
        say("Debian packages")
        _install_packages(connection, paths, say, deadline)
        say("the runner, in its own environment")
        connection.run(f"python3 -c '{_MIN_PYTHON}'", deadline=deadline)
        connection.run(f"test -x {paths.venv}/bin/python || python3 -m venv {paths.venv}", deadline=deadline)
        pip = f"{paths.venv}/bin/python -m pip install --quiet --disable-pip-version-check"
        pip += f" --no-index --find-links {paths.setup}/wheels" if pushed else ""
        ours = f"{paths.setup}/wheels/{wheel.name}"
        # the second time for our code alone: pip keeps what has the same version
        with _needs_network(needs=not pushed):
            connection.run(f"{pip} {ours} && {pip} --no-deps --force-reinstall {ours}", deadline=deadline)
    finally:
        connection.run(f"rm -rf {paths.setup}", deadline=limits.deadline("end_s"), check=False)
    facts = describe(connection, deadline=deadline)
    check_code(connection.host, facts)
    return facts


def warm(connection: Connection, lock: Lock, cache: Path, say: Say, *, push: bool, limits: Limits) -> int:
    """Kernels and images into the host's cache; with `push` from ours. How many were not there. InfraError."""
    deadline = limits.deadline("prepare_s")
    paths = Paths(connection.host)
    document = lock.model_dump_json().encode()
    said = connection.run(paths.runner("host", "lacks"), deadline=deadline, feed=feeding(document))
    missing = transfer.pins(Lock.model_validate_json(said.stdout))
    for pin in missing:
        say(transfer.title(pin))
        deadline = limits.deadline("prepare_s")
        if push:
            _push(connection, paths, pin, cache, deadline)
        else:
            kind = {"kernels": (pin,)} if pin in lock.kernels else {"images": (pin,)}
            alone = Lock.model_validate(kind).model_dump_json().encode()
            line = paths.runner("host", "fetch", within=deadline)
            with _needs_network():
                connection.run(line, deadline=deadline, feed=feeding(alone))
    return len(missing)


@contextmanager
def _needs_network(*, needs: bool = True) -> Iterator[None]:
    try:
        yield
    except InfraError as error:
        hint = "does the host reach an archive and a package index? With --push it needs none"
        raise InfraError(error.what, hint=hint if needs else error.hint) from error


def _install_packages(connection: Connection, paths: Paths, say: Say, deadline: Deadline) -> None:
    done = connection.run(f"sh {paths.setup}/packages.sh", deadline=deadline, check=False)
    if done.status != 0:
        what = printable((done.stderr or done.stdout).strip())[-1500:]
        raise InfraError(f"{connection.host.name}: Debian packages are missing:\n{what}")
    if done.stdout.strip():
        say(printable(done.stdout.strip().splitlines()[0]))


def _push(connection: Connection, paths: Paths, pin: transfer.Pinned, cache: Path, deadline: Deadline) -> None:
    line = paths.runner("host", "receive", within=deadline)
    connection.run(line, deadline=deadline, feed=lambda to: transfer.send(pin, cache, to))


def _tar(files: dict[str, Path]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, path in files.items():
            archive.add(path, arcname=name, recursive=False)
    return stream.getvalue()
