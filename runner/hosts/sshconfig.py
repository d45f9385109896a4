"""The configuration that ssh gets: of each host what hosts.yaml says, for all of them what a run needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from runner.hosts.hostsfile import HostEntry, HostLimits

_ALIVE_COUNT = 3


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
