"""From hosts.yaml to the fleet of a run: every host is asked what it can do, all at the same time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.engine.fleet import Fleet, Host
from runner.errors import InfraError
from runner.guest.accel import slots
from runner.hosts import facts
from runner.hosts.connection import connect, ssh_config
from runner.hosts.facts import HostFacts
from runner.hosts.hostsfile import HostEntry, HostLimits, HostsFile
from runner.hosts.prepare import check_code, describe
from runner.model import GuestSize


@dataclass(frozen=True, slots=True)
class Answer:
    """What a host says of itself, or why it cannot be used."""

    entry: HostEntry
    facts: HostFacts | None = None
    error: InfraError | None = None


def ask(entry: HostEntry, limits: HostLimits) -> Answer:
    """Never raises for a host that cannot be used."""
    try:
        if entry.ssh is None:
            return Answer(entry, facts.this_machine(deadline=limits.deadline("ask_s")))
        with connect(entry, deadline=limits.deadline("connect_s")) as connection:
            found = describe(connection, deadline=limits.deadline("ask_s"))
        check_code(entry, found)
        return Answer(entry, found)
    except InfraError as error:
        return Answer(entry, error=error)


def ask_all(file: HostsFile) -> tuple[Answer, ...]:
    """In the file's order."""
    with ThreadPoolExecutor(len(file.hosts)) as pool:
        return tuple(pool.map(lambda entry: ask(entry, file.limits), file.hosts))


def slots_of(entry: HostEntry, found: HostFacts, guest: GuestSize) -> dict[str, int]:
    """Guests at once of each architecture that runs there: as hosts.yaml says, or what the host can carry."""
    if isinstance(entry.slots, int):
        return dict.fromkeys(found.accel, entry.slots)
    if entry.slots is not None:
        return {arch: number for arch, number in entry.slots.items() if arch in found.accel}
    return {arch: slots(found.cpus, found.memory_mib, guest, accel) for arch, accel in found.accel.items()}


@contextmanager
def mustered(file: HostsFile, guest: GuestSize) -> Iterator[tuple[Fleet, tuple[InfraError, ...]]]:
    """The fleet, and what keeps some hosts out of it. InfraError when none can be used."""
    hosts, errors = [], []
    for answer in ask_all(file):
        entry = answer.entry
        if answer.facts and (number := slots_of(entry, answer.facts, guest)):
            hosts.append(
                Host(
                    name=entry.name,
                    slots=number,
                    accel=answer.facts.accel,
                    ssh=entry.name if entry.ssh else "",
                    python=entry.python,
                    cache=entry.cache or "",
                )
            )
        else:
            what = f"{entry.name}: none of the architectures that it shall run has a qemu there"
            errors.append(answer.error or InfraError(what, hint=f"`runner host check` says what {entry.name} can do"))
    if not hosts:
        raise InfraError("no host can be used:\n" + "\n".join(str(error) for error in errors))
    limits = file.limits
    with tempfile.TemporaryDirectory(prefix="runner-hosts-") as folder:
        config = Path(folder) / "ssh_config"
        config.write_text(ssh_config(file.hosts, limits))
        yield Fleet(tuple(hosts), config, limits.connect_s, limits.silence_s, limits.failures), tuple(errors)
