"""How a host is reached: the configuration that its workers' ssh gets, and our own connection for everything else."""

from __future__ import annotations

import getpass
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from runner.errors import InfraError
from runner.hosts.hostsfile import HostEntry, HostLimits
from runner.model.deadline import Deadline
from runner.process import Completed
from runner.ssh import Account, ConnectionLost, Feed, Ssh, to_host
from runner.text import printable

_ALIVE_COUNT = 3
_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Connection:
    """An authenticated connection to `host`."""

    host: HostEntry
    ssh: Ssh

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        feed: Feed | None = None,
        check: bool = True,
    ) -> Completed:
        """Run a shell line to its end.

        Raises InfraError when the connection breaks, when the deadline passes, and, unless `check` is False, when it
        ends with anything but 0.
        """
        shown = command if len(command) <= 100 else f"{command[:100]}…"
        try:
            done = self.ssh.run(command, deadline=deadline, feed=feed)
        except ConnectionLost as error:
            if deadline.expired:
                raise InfraError(f"{self.host.name}: `{shown}` did not end within {deadline.what}") from error
            raise InfraError(f"{self.host.name}: the connection broke: {error}") from error
        if check and done.returncode != 0:
            tail = "\n".join(printable(done.stderr.strip() or done.stdout.strip()).splitlines()[-_TAIL_LINES:])
            raise InfraError(f"{self.host.name}: `{shown}` failed with exit status {done.returncode}:\n{tail}")
        return done


@contextmanager
def connect(host: HostEntry, *, deadline: Deadline) -> Iterator[Connection]:
    """Raises InfraError: no way there, an unknown host key, a key that is not accepted."""
    options = host.options
    account = Account(
        name=host.name,
        address=host.address,
        port=host.port,
        user=host.user or getpass.getuser(),
        key=options.identity_file,
        only_key=options.identities_only,
        known_hosts=options.known_hosts,
    )
    with to_host(account, deadline=deadline) as ssh:
        yield Connection(host, ssh)


def ssh_config(hosts: Iterable[HostEntry], limits: HostLimits) -> str:
    """The file's text. Used with `ssh -F`, so that neither the user's configuration nor the system's is read."""
    blocks = [_block(host) for host in hosts if host.ssh]
    every = {
        "BatchMode": "yes",  # no questions
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": math.ceil(limits.connect_s),
        "ServerAliveInterval": max(1, math.floor(limits.silence_s / _ALIVE_COUNT)),
        "ServerAliveCountMax": _ALIVE_COUNT,
        "ControlPath": "none",
        "ClearAllForwardings": "yes",
        "ForwardAgent": "no",
        "RequestTTY": "no",
        "LogLevel": "ERROR",
    }
    return "\n".join([*blocks, "Host *", *_lines(every)]) + "\n"


def _block(host: HostEntry) -> str:
    options = {
        "HostName": host.address,
        "User": host.user,
        "Port": host.port,
        "IdentityFile": host.options.identity_file,
        "UserKnownHostsFile": host.options.known_hosts,
        "IdentitiesOnly": "yes" if host.options.identities_only else None,
    }
    return "\n".join([f"Host {host.name}", *_lines(options)])


def _lines(options: Mapping[str, object]) -> list[str]:
    return [f"    {key} {value}" for key, value in options.items() if value is not None]
