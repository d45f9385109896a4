# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Brings a host from bare Debian to ready: packages, the runner in an environment of its own, kernels and images.

Those go from the cache of one machine to that of another as a tar of each, whose digests are checked on arrival.
"""

from __future__ import annotations

import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Annotated

from pydantic import Field, TypeAdapter, ValidationError

from runner.errors import InfraError
from runner.guest.share import packed
from runner.hosts.connection import Connection, connect
from runner.hosts.health import HostFacts, describe, remote_runner, slots_of
from runner.hosts.hostsfile import HostEntry, HostsFile
from runner.images import ensure_image, stored_image
from runner.kernels import ensure_kernel, stored_kernel
from runner.model import GuestSize, ImagePin, Limits, Pin, Plain, Sha256
from runner.model.deadline import Deadline
from runner.process import run
from runner.store import Store, StoredTree, tree_sha256
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
    files = {name: (_PACKAGE / name).read_bytes() for name in ("packages.sh", "packages.txt")}
    files |= {f"wheels/{file.name}": file.read_bytes() for file in wheels}
    connection.run(_UNPACK.format(folder=setup), deadline=deadline, feed=packed(files))
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
        say(title(pin))
        deadline = limits.deadline("prepare_s")
        if push:
            line = remote_runner(host, "host", "receive", within=deadline)
            connection.run(line, deadline=deadline, feed=partial(send, pin, cache))
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


# --- from one cache to another ----------------------------------------------------------------------------------------

_BLOCK = 1 << 16

Pinned = Pin | ImagePin
_Either = Annotated[Pinned, Field(union_mode="left_to_right")]
PINS: TypeAdapter[tuple[Pinned, ...]] = TypeAdapter(tuple[_Either, ...])  # what hosts are told in


class Parcel(Plain):
    """One entry on its way: the first line of what `runner host receive` reads; the tar follows."""

    pin: _Either
    sha256: Sha256  # of the entry


def title(pin: Pinned) -> str:
    if isinstance(pin, Pin):
        return f"kernel {pin.version} for {pin.arch}"
    return f"container image for {pin.arch}" if pin.oci else f"image for {pin.arch}"


def lacking(pins: Iterable[Pinned], cache: Path) -> tuple[Pinned, ...]:
    """What is not in this machine's cache."""
    places = ((pin, *_place(pin, cache)) for pin in pins)
    return tuple(pin for pin, store, key in places if not store.has(key))


def fetch(pins: Iterable[Pinned], cache: Path, *, deadline: Deadline) -> Iterator[Pinned]:
    """Get each from the archive, unless it is there. Raises InfraError."""
    for pin in pins:
        if isinstance(pin, Pin):
            ensure_kernel(pin, cache, deadline=deadline)
        else:
            ensure_image(pin, cache, deadline=deadline)
        yield pin


def send(pin: Pinned, cache: Path, to: IO[bytes]) -> None:
    """Write a parcel. Raises InfraError when the entry is not in this machine's cache."""
    entry = _entry(pin, cache)
    to.write(Parcel(pin=pin, sha256=entry.sha256).model_dump_json().encode() + b"\n")
    with tarfile.open(fileobj=to, mode="w|", bufsize=_BLOCK) as archive:
        for path in sorted(entry.files):
            archive.add(entry.tree / path, arcname=str(path), recursive=False)


def receive(stream: IO[bytes], cache: Path, *, deadline: Deadline) -> Pinned:
    """Take a parcel into the cache. Raises InfraError when something is missing or is not what was sent."""
    parcel = Parcel.model_validate_json(stream.readline())
    store, key = _place(parcel.pin, cache)

    def make(tree: Path) -> None:
        try:
            _unpack(stream, tree)
        except (tarfile.TarError, EOFError) as error:
            raise InfraError(f"{title(parcel.pin)} arrived damaged: {error}") from error
        if tree_sha256(tree) != parcel.sha256:
            raise InfraError(f"{title(parcel.pin)} arrived damaged: its files are not those that were sent")

    store.ensure(key, make, deadline=deadline)
    return parcel.pin


def _unpack(stream: IO[bytes], tree: Path) -> None:
    """Plain files below `tree`, nothing else. tarfile's own filters came with Python 3.11.4; Debian 12 has 3.11.2."""
    with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            content = archive.extractfile(member) if member.isreg() else None
            if content is None or path.is_absolute() or ".." in path.parts:
                raise InfraError(f"{member.name!r} is not a file of a kernel or an image")
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            with (tree / path).open("xb") as file:
                shutil.copyfileobj(content, file, _BLOCK)
            (tree / path).chmod(0o700 if member.mode & 0o100 else 0o600)


def _entry(pin: Pinned, cache: Path) -> StoredTree:
    store, key = _place(pin, cache)
    entry = store.get(key)
    if entry is None:
        raise InfraError(f"the {title(pin)} is not in this machine's cache", hint="`runner kernels fetch` gets it")
    return entry


def _place(pin: Pinned, cache: Path) -> tuple[Store, str]:
    return stored_kernel(pin, cache) if isinstance(pin, Pin) else stored_image(pin, cache)
