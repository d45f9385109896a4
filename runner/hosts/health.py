# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What machines can do: this one's own facts, those of the hosts of hosts.yaml, and the fleet that they make."""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from runner import __version__
from runner.doctor import missing_packages
from runner.engine.fleet import Fleet, Host, HostLimits
from runner.errors import InfraError
from runner.guest.accel import accelerations, host_cpus, host_memory_mib, slots, tools_of
from runner.guest.interface import Accel
from runner.hosts.connection import Connection, connect, ssh_config
from runner.hosts.hostsfile import HostEntry, HostsFile
from runner.model import GuestSize, Plain, SafeName
from runner.model.architecture import ARCHITECTURES
from runner.model.cells import Tools
from runner.model.deadline import Deadline
from runner.text import printable

_PACKAGE = Path(__file__).parents[1]
_NO_CODE = frozenset({"__pycache__", "builtin"})


class HostFacts(Plain):
    """The document that `runner host describe` prints. `accel` holds the architectures whose guests run there."""

    runner_version: SafeName
    code_sha256: str
    node: str
    machine: str
    cpus: Annotated[int, Field(ge=1)]
    memory_mib: Annotated[int, Field(ge=0)]
    accel: dict[str, Accel]
    tools: dict[str, Tools]  # by architecture
    missing: tuple[str, ...]  # Debian packages


@dataclass(frozen=True, slots=True)
class HostHealth:
    """What a host can do, or why it cannot be used."""

    entry: HostEntry
    facts: HostFacts | None = None
    error: InfraError | None = None


@cache
def code_sha256() -> str:
    """Over every file of this program: the same version and the same digest are the same code.

    A wheel also brings a built-in project, which a checkout has beside the program and no worker reads.
    """
    digest = hashlib.sha256()
    for file in sorted(_PACKAGE.rglob("*")):
        if file.is_file() and not _NO_CODE.intersection(file.relative_to(_PACKAGE).parts):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(_PACKAGE).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def own_facts(*, deadline: Deadline) -> HostFacts:
    """This machine's. Raises InfraError when a program that must be there is not."""
    native = any(row.uname == platform.machine() and shutil.which(row.qemu) for row in ARCHITECTURES.values())
    found = accelerations(deadline) if native else {}
    accel = {name: found.get(name, "tcg") for name, row in ARCHITECTURES.items() if shutil.which(row.qemu)}
    return HostFacts(
        runner_version=__version__,
        code_sha256=code_sha256(),
        node=platform.node(),
        machine=platform.machine(),
        cpus=host_cpus(),
        memory_mib=host_memory_mib(),
        accel=accel,
        tools={name: tools_of(ARCHITECTURES[name], it, deadline=deadline) for name, it in accel.items()},
        missing=missing_packages(deadline=deadline),
    )


# --- the runner of another machine ----------------------------------------------------------------------------------


def remote_runner(host: HostEntry, *words: str, within: Deadline | None = None) -> str:
    """A shell line that runs the runner of the host; what runs there ends by itself when the time is over."""
    cache_folder = f"RUNNER_CACHE={host.cache} " if host.cache else ""
    limit = ["--limit-s", f"{within.remaining_s + 1:.0f}"] if within else []
    return " ".join([f"{cache_folder}{host.venv}/bin/runner", *words, *limit])


def describe(connection: Connection, *, deadline: Deadline) -> HostFacts:
    """The host's own facts.

    Raises InfraError when it has no runner, or one with other code: orders and results are not made for mixed versions.
    """
    host = connection.host
    hint = f"`runner host prepare {host.name}` installs ours"
    line = remote_runner(host, "host", "describe", within=deadline)
    done = connection.run(line, deadline=deadline, check=False)
    if done.returncode in {126, 127}:
        raise InfraError(f"{host.name}: there is no runner at {host.venv}", hint=hint)
    if done.returncode != 0:
        raise InfraError(f"{host.name}: its runner failed: {printable(done.stderr).strip()[-500:]}", hint=hint)
    try:
        facts = HostFacts.model_validate_json(done.stdout)
    except ValidationError:
        what = f"{host.name}: what its runner prints is not ours: {printable(done.stdout)[:200].strip()!r}"
        raise InfraError(what, hint=hint) from None
    if facts.code_sha256 != code_sha256():
        what = f"{host.name}: its runner {facts.runner_version} is not the same code as ours"
        raise InfraError(what, hint=hint)
    return facts


def query(entry: HostEntry, limits: HostLimits) -> HostHealth:
    """Never raises for a host that cannot be used."""
    try:
        if entry.ssh is None:
            return HostHealth(entry, own_facts(deadline=limits.deadline("ask_s")))
        with connect(entry, limits) as connection:
            return HostHealth(entry, describe(connection, deadline=limits.deadline("ask_s")))
    except InfraError as error:
        return HostHealth(entry, error=error)


def query_all(file: HostsFile) -> tuple[HostHealth, ...]:
    """All hosts at the same time, in the file's order."""
    with ThreadPoolExecutor(len(file.hosts)) as pool:
        return tuple(pool.map(lambda entry: query(entry, file.limits), file.hosts))


# --- the fleet ------------------------------------------------------------------------------------------------------


def slots_of(entry: HostEntry, facts: HostFacts, guest: GuestSize) -> dict[str, int]:
    """Concurrent guests of each architecture that runs there: as hosts.yaml says, or what the host can carry."""
    if isinstance(entry.slots, int):
        return dict.fromkeys(facts.accel, entry.slots)
    if entry.slots is not None:
        return {arch: number for arch, number in entry.slots.items() if arch in facts.accel}
    return {arch: slots(facts.cpus, facts.memory_mib, guest, accel) for arch, accel in facts.accel.items()}


@contextmanager
def usable_fleet(file: HostsFile, guest: GuestSize) -> Iterator[tuple[Fleet, tuple[InfraError, ...]]]:
    """The fleet, and why some hosts are not in it. Raises InfraError when none can be used."""
    hosts, errors = [], []
    limits = file.limits
    with tempfile.TemporaryDirectory(prefix="runner-hosts-") as folder:
        for health in query_all(file):
            entry = health.entry
            facts = health.facts
            if facts and (number := slots_of(entry, facts, guest)):
                place = Path(folder)
                hosts.append(fleet_host(entry, limits, place, slots=number, accel=facts.accel, tools=facts.tools))
            else:
                what = f"{entry.name}: none of its architectures in hosts.yaml has a qemu there"
                hint = f"`runner doctor --hosts FILE {entry.name}` shows what it can run"
                errors.append(health.error or InfraError(what, hint=hint))
        if not hosts:
            raise InfraError(
                "no host can be used:\n" + "\n".join(str(error) for error in errors),
                hint="`runner doctor --hosts FILE` shows what each lacks, `runner host prepare` installs it",
            )
        yield Fleet(tuple(hosts), limits), tuple(errors)


def fleet_host(
    entry: HostEntry,
    limits: HostLimits,
    folder: Path,
    *,
    slots: Mapping[str, int],
    accel: Mapping[str, Accel],
    tools: Mapping[str, Tools],
) -> Host:
    """A host of a run. Its ssh configuration is written into `folder`."""
    config = folder / f"{entry.name}.config"
    if entry.ssh:
        config.write_text(ssh_config(entry, limits))
    return Host(
        name=entry.name,
        slots=slots,
        accel=accel,
        tools=tools,
        ssh=entry.address,
        ssh_config=config,
        python=entry.python,
        cache=entry.cache or "",
    )
