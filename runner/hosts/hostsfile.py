# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""hosts.yaml: the machines that boot guests. Nothing in it can become more than one word of a command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from runner import yamlfile
from runner.engine.fleet import HostLimits
from runner.errors import UserError
from runner.kernels.fields import Arch, Matches
from runner.matrix import SCHEMA_ID
from runner.model import Plain
from runner.yamlfile import Location

MAX_HOSTS = 64
VENV = "~/.local/share/kfunc-runner/venv"

_NAME = r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?"
# a user of a domain is jane@corp.example.com or CORP\jane: the last @ divides
_TARGET = r"(?![^:]*:[0-9]+$)([A-Za-z0-9_][A-Za-z0-9_.@+\\-]{0,127}@)?[A-Za-z0-9]([A-Za-z0-9.:-]{0,253}[A-Za-z0-9])?"
_PATH = r"(~|(~?/[A-Za-z0-9._+-]+))(/[A-Za-z0-9._+-]+)*"


Name = Annotated[str, Matches("a host's name", _NAME, "small letters, digits, `.` and `-`")]
Target = Annotated[str, Matches("an ssh target", _TARGET, "user@host or host; the port has its own key")]
PlainPath = Annotated[
    str, Matches("a path", _PATH, "beginning with / or ~/, of letters, digits and `.`, `_`, `+`, `-`")
]
PythonPath = Annotated[str, Matches("a path of a Python", rf"{_PATH}/bin/python[0-9.]*", "as in ~/venv/bin/python")]
Slots = Annotated[int, Field(ge=1, le=256)]


class SshOptions(Plain):
    """Options of ssh, by ssh's own names. There are no others: most of ssh's can run commands."""

    identity_file: Annotated[
        PlainPath | None, Field(alias="IdentityFile", description="the private key; no other is offered")
    ] = None
    known_hosts: Annotated[
        PlainPath | None, Field(alias="UserKnownHostsFile", description="by default ~/.ssh/known_hosts")
    ] = None


class HostEntry(Plain):
    """A machine that boots guests. Without `ssh` it is the one on which the run is started."""

    name: Annotated[Name, Field(description="its name in reports")]
    ssh: Annotated[Target | None, Field(description="user@host, or a host of ~/.ssh/config")] = None
    port: Annotated[int | None, Field(ge=1, le=65535, description="of its ssh server")] = None
    options: Annotated[SshOptions, Field(description="options of ssh")] = SshOptions()
    slots: Annotated[
        Slots | dict[Arch, Slots] | None,
        Field(description="concurrent guests, or those of each architecture; by default what its cores allow"),
    ] = None
    python: Annotated[PythonPath, Field(description="the Python of the runner's virtual environment there")] = (
        f"{VENV}/bin/python"
    )
    cache: Annotated[PlainPath | None, Field(description="its cache folder, as RUNNER_CACHE there")] = None

    @property
    def user(self) -> str | None:
        return self.ssh.rpartition("@")[0] or None if self.ssh else None

    @property
    def venv(self) -> str:
        """The folder of the runner's virtual environment there."""
        return self.python.rpartition("/bin/")[0]

    @property
    def address(self) -> str:
        return self.ssh.rpartition("@")[2] if self.ssh else ""


class HostsFile(Plain):
    """The machines that boot guests."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="hosts.yaml")

    schema_: Annotated[Literal[1], Field(alias="schema", description="version of this format")] = 1
    hosts: Annotated[tuple[HostEntry, ...], Field(min_length=1, max_length=MAX_HOSTS, description="the machines")]
    limits: Annotated[HostLimits, Field(description="when a host is no longer waited for")] = HostLimits()


def json_schema() -> dict[str, object]:
    """The JSON schema of hosts.yaml, for editors."""
    return {"$schema": SCHEMA_ID, **HostsFile.model_json_schema()}


def load_hosts(path: Path, only: Sequence[str] = ()) -> HostsFile:
    """Read and check hosts.yaml; of its hosts, `only` those of these names, if there are any.

    Raises one UserError that lists every problem with its line, or for a name that is not in the file.
    """
    document = yamlfile.load(path, absent="docs/hosts.md shows one")
    file = yamlfile.validate(document, HostsFile)
    problems: list[tuple[Location, str]] = []
    names = [host.name for host in file.hosts]
    for index, host in enumerate(file.hosts):
        if host.name in names[:index]:
            problems.append((("hosts", index, "name"), f"two hosts are called {host.name!r}"))
        if host.ssh is None and any(other.ssh is None for other in file.hosts[:index]):
            problems.append((("hosts", index), "this machine (no `ssh`) is there already"))
        if host.slots == {}:
            problems.append((("hosts", index, "slots"), "no architecture: the host would get no guest"))
    if problems:
        raise document.error(problems)
    for name in only:
        if name not in names:
            raise UserError(f"no host is called {name!r}", hint=f"known: {', '.join(names)}")
    return file.model_copy(update={"hosts": tuple(it for it in file.hosts if not only or it.name in only)})
