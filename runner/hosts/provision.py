# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Brings a host from bare Debian to ready: packages, the runner in an environment of its own, kernels and images."""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from runner.errors import InfraError
from runner.hosts import transfer
from runner.hosts.connection import Connection, connect
from runner.hosts.health import HostFacts, describe, remote_runner, slots_of
from runner.hosts.hostsfile import HostEntry, HostsFile
from runner.hosts.transfer import PINS, Pinned
from runner.model import GuestSize, Limits
from runner.model.deadline import Deadline
from runner.process import run
from runner.text import printable

_PACKAGE = Path(__file__).parents[1]
_UNPACK = "umask 077 && mkdir -p {folder} && tar -xf - -C {folder}"
_MIN_PYTHON = "import sys; sys.exit(sys.version_info < (3, 11))"

Say = Callable[[str], None]


def prepare(
    file: HostsFile, pins: Sequence[Pinned], cache: Path, say: Callable[[str, str], None], *, push: bool, limits: Limits
) -> tuple[InfraError, ...]:
    """Make every host of `file` ready, all at the same time. `say` gets a host's name and what is done there.

    Returns why some did not become ready. Raises InfraError when no wheel of this program can be built.
    """
    remote = [host for host in file.hosts if host.ssh]
    with tempfile.TemporaryDirectory(prefix="runner-wheels-") as folder:
        wheel, wheels = build_wheels(Path(folder), deadline=limits.deadline("prepare_s"), with_needs=push)

        def one(entry: HostEntry) -> InfraError | None:
            tell = partial(say, entry.name)
            try:
                with connect(entry, file.limits) as connection:
                    facts = install(connection, wheel, wheels, tell, pushed=push, limits=limits)
                    wanted = tuple(pin for pin in pins if pin.arch in facts.accel)
                    new = warm(connection, wanted, cache, tell, push=push, limits=limits)
                    guests = (f"{number} {arch}" for arch, number in slots_of(entry, facts, GuestSize()).items())
                    tell(f"ready: {', '.join(guests)} guests; {new} of {len(wanted)} kernels and images were new")
            except InfraError as error:
                return error
            return None

        with ThreadPoolExecutor(len(remote)) as pool:
            return tuple(error for error in pool.map(one, remote) if error)


def install(
    connection: Connection, wheel: Path, wheels: Sequence[Path], say: Say, *, pushed: bool, limits: Limits
) -> HostFacts:
    """Packages, then the environment. With `pushed` no package index is asked. InfraError says what is missing."""
    deadline = limits.deadline("prepare_s")
    host = connection.host
    setup = f"{host.venv}.setup"
    files = {name: _PACKAGE / name for name in ("packages.sh", "packages.txt")}
    files |= {f"wheels/{file.name}": file for file in wheels}
    connection.run(_UNPACK.format(folder=setup), deadline=deadline, feed=_tar(files))
    try:
        say("Debian packages")
        _install_packages(connection, setup, say, deadline)
        say("the runner, in its own environment")
        connection.run(f"python3 -c '{_MIN_PYTHON}'", deadline=deadline)
        connection.run(f"test -x {host.venv}/bin/python || python3 -m venv {host.venv}", deadline=deadline)
        pip = f"{host.venv}/bin/python -m pip install --quiet --disable-pip-version-check"
        pip += f" --no-index --find-links {setup}/wheels" if pushed else ""
        ours = f"{setup}/wheels/{wheel.name}"
        # the second time for our code alone: pip keeps what has the same version
        with _needs_network(needs=not pushed):
            connection.run(f"{pip} {ours} && {pip} --no-deps --force-reinstall {ours}", deadline=deadline)
    finally:
        connection.run(f"rm -rf {setup}", deadline=limits.deadline("end_s"), check=False)
    return describe(connection, deadline=deadline)


def warm(connection: Connection, pins: tuple[Pinned, ...], cache: Path, say: Say, *, push: bool, limits: Limits) -> int:
    """Kernels and images into the host's cache; with `push` from ours. Returns how many were new.

    Raises InfraError when one cannot be got.
    """
    host = connection.host
    line = remote_runner(host, "host", "lacks")
    done = connection.run(line, deadline=limits.deadline("prepare_s"), feed=PINS.dump_json(pins))
    try:
        missing = PINS.validate_json(done.stdout)
    except ValidationError:
        what = f"{host.name}: what its runner prints is no list of kernels: {printable(done.stdout)[:200].strip()!r}"
        raise InfraError(what) from None
    for pin in missing:
        say(transfer.title(pin))
        deadline = limits.deadline("prepare_s")
        if push:
            line = remote_runner(host, "host", "receive", within=deadline)
            connection.run(line, deadline=deadline, feed=partial(transfer.send, pin, cache))
        else:
            line = remote_runner(host, "host", "fetch", within=deadline)
            with _needs_network():
                connection.run(line, deadline=deadline, feed=PINS.dump_json((pin,)))
    return len(missing)


@contextmanager
def _needs_network(*, needs: bool = True) -> Iterator[None]:
    try:
        yield
    except InfraError as error:
        hint = "does the host reach an archive and a package index? With --push it needs none"
        raise InfraError(error.what, hint=hint if needs else error.hint) from error


def _install_packages(connection: Connection, setup: str, say: Say, deadline: Deadline) -> None:
    done = connection.run(f"sh {setup}/packages.sh", deadline=deadline, check=False)
    if done.returncode != 0:
        what = printable((done.stderr or done.stdout).strip())[-1500:]
        raise InfraError(
            f"{connection.host.name}: Debian packages are missing:\n{what}",
            hint=f"install them on {connection.host.name}, then repeat `runner host prepare`",
        )
    if done.stdout.strip():
        say(printable(done.stdout.strip().splitlines()[0]))


def _tar(files: dict[str, Path]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, path in files.items():
            archive.add(path, arcname=name, recursive=False)
    return stream.getvalue()


def build_wheels(into: Path, *, deadline: Deadline, with_needs: bool) -> tuple[Path, tuple[Path, ...]]:
    """(this program's wheel, all wheels). Raises InfraError when this is not a checkout, or pip fails.

    What it needs is taken for this machine's own Python and architecture.
    """
    if not (_PACKAGE.parent / "pyproject.toml").is_file():
        raise InfraError(
            "this runner was not installed from a checkout, so no wheel can be built of it",
            hint="run `runner host prepare` from a checkout (`make setup` makes its environment)",
        )
    options = [] if with_needs else ["--no-deps"]
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet"]
    run([*pip, *options, "--wheel-dir", into, _PACKAGE.parent], deadline=deadline)
    wheels = tuple(sorted(into.glob("*.whl")))
    return next(wheel for wheel in wheels if wheel.name.startswith("kfunc_runner-")), wheels
