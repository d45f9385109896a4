# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How a host is reached: with the ssh program, by hosts.yaml and the user's own ~/.ssh/config.

Workers and all other commands use the same configuration, so both log in with the same keys, through the same jumps.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from runner.caches import disk_fault
from runner.engine.fleet import OUTPUT_BEGINS, HostLimits
from runner.errors import InfraError, RunnerError
from runner.hosts.hostsfile import HostEntry
from runner.model.deadline import Deadline
from runner.process import Completed, run
from runner.text import printable

Feed = bytes | Callable[[IO[bytes]], None]  # a command's stdin, or what writes it

_ALIVE_COUNT = 3
_TAIL_LINES = 15
_BROKE = 255  # ssh's own exit status
_AUTHENTICATED = "Authenticated to "


@dataclass(frozen=True, slots=True)
class Connection:
    """The way to `host`; each command logs in by itself. `folder` holds the ssh configuration and ssh's log."""

    host: HostEntry
    folder: Path

    def run(self, command: str, *, deadline: Deadline, feed: Feed = b"", check: bool = True) -> Completed:
        """Run a shell line to its end; one without a backslash, which fish reads in its own way.

        Raises InfraError when the login fails or the connection breaks, when the deadline passes, and, unless `check`
        is False, when the command exits with anything but 0. Raises also what `feed` raises.
        """
        name, shown = self.host.name, command if len(command) <= 100 else f"{command[:100]}…"
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        # the user's shell there may be any; what it prints before the command is not the command's
        script = f"echo {OUTPUT_BEGINS}; echo {OUTPUT_BEGINS} >&2; {command}"
        ssh = ("ssh", "-F", self.folder / "config", "-E", log, "-o", "LogLevel=DEBUG1", self.host.address)
        try:
            with _fed(feed) as stdin:
                words = (*ssh, f"exec sh -c {shlex.quote(script)}")
                done = run(words, deadline=deadline, stdin=stdin, check=False)
        except InfraError as error:
            if not deadline.expired:
                raise
            raise InfraError(f"{name}: `{shown}` did not end within {deadline.what}") from error
        noise, began, out = done.stdout.partition(f"{OUTPUT_BEGINS}\n")
        logged = log.read_text(errors="replace") if log.exists() else ""
        if done.returncode == _BROKE and (began or _AUTHENTICATED in logged):
            why = _words(logged) or printable(f"{noise}\n{done.stderr}").strip()
            raise InfraError(f"{name}: the connection broke during `{shown}`: {why}")
        if not began:
            raise _refused(self.host, logged, f"{noise}\n{done.stderr}", deadline)
        err = done.stderr.rpartition(f"{OUTPUT_BEGINS}\n")[2]
        if check and done.returncode != 0:
            tail = "\n".join(printable(err.strip() or out.strip()).splitlines()[-_TAIL_LINES:])
            raise InfraError(f"{name}: `{shown}` failed with exit status {done.returncode}:\n{tail}")
        return Completed(done.returncode, out, err)


@contextmanager
def connect(host: HostEntry, limits: HostLimits) -> Iterator[Connection]:
    """Raises InfraError when the login fails: no way there, an unknown host key, a key that is not accepted."""
    with tempfile.TemporaryDirectory(prefix="runner-host-") as folder:
        (Path(folder) / "config").write_text(ssh_config(host, limits))
        connection = Connection(host, Path(folder))
        connection.run("true", deadline=limits.deadline("connect_s"))
        yield connection


@contextmanager
def _fed(feed: Feed) -> Iterator[int]:
    """A pipe to read from, which `feed` writes in a thread. Raises what that raises."""
    read_end, write_end = os.pipe()
    errors: list[RunnerError] = []

    def write() -> None:
        with suppress(BrokenPipeError), os.fdopen(write_end, "wb") as stream:  # the command ended: its status tells
            try:
                if isinstance(feed, bytes):
                    stream.write(feed)
                else:
                    feed(stream)
            except RunnerError as error:
                errors.append(error)
            except BrokenPipeError:
                raise
            except OSError as error:
                errors.append(disk_fault(error, str(error.filename or "what is sent")))

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield read_end
    finally:
        os.close(read_end)
        thread.join()
    if errors:
        raise errors[0]


# --- the configuration -----------------------------------------------------------------------------------------------


def ssh_config(host: HostEntry, limits: HostLimits) -> str:
    """The file for `ssh -F`. Of each option ssh takes the first value: ours, then those of the user's own files."""
    options = host.options
    this = {
        "User": host.user,
        "Port": host.port,
        "IdentityFile": options.identity_file,
        "IdentitiesOnly": "yes" if options.identity_file else None,  # a server ends a login after a few wrong keys
        "UserKnownHostsFile": options.known_hosts,
    }
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
        "RemoteCommand": "none",
        "LogLevel": "ERROR",
    }
    own = [f'    Include "{file}"' for file in (Path("~/.ssh/config").expanduser(), "/etc/ssh/ssh_config")]
    return "\n".join([f"Host {host.address}", *_lines(this), "Host *", *_lines(every), *own]) + "\n"


def _lines(options: Mapping[str, object]) -> list[str]:
    return [f"    {key} {value}" for key, value in options.items() if value is not None]


# --- why a login failed, from ssh's own log ---------------------------------------------------------------------------

_CANDIDATE = re.compile(r"^debug1: Will attempt key: (.+?) (?:[A-Z0-9-]+ SHA256:\S+)?(.*)$", re.MULTILINE)
_HOST_KEY = re.compile(r"^debug1: Server host key: (.+)$", re.MULTILINE)
_OFFENDING = re.compile(r"^Offending \S+ key in (.+):(\d+)", re.MULTILINE)
_PROGRESS = re.compile(r"debug\d:|Authenticated to |Transferred: |Bytes per second: |@|Warning: Permanently ")


def _refused(host: HostEntry, log: str, printed: str, deadline: Deadline) -> InfraError:
    """Why `host` did not run our command. `printed`: by its shell, or by the ssh of a jump host."""
    said = "; ".join(printable(printed).split("\n")[-_TAIL_LINES:]).strip("; ")
    login = _login(host)
    key = found[1] if (found := _HOST_KEY.search(log)) else ""
    if _AUTHENTICATED in log:
        return InfraError(
            f"{host.name}: the login works, but no command runs there: {said or _words(log)}",
            hint=f"`ssh {login} true` must end by itself and print nothing",
        )
    if changed := _OFFENDING.search(log):
        what = f"{host.name}: the host shows another key than {changed[1]}:{changed[2]} has: {key}"
        return InfraError(what, hint=f"if it was changed on purpose: sed -i {changed[2]}d {changed[1]}")
    if "Host key verification failed" in log and key:
        hint = "compare that with the host's own; when it is the same, this accepts it: "
        accept = f"ssh -o StrictHostKeyChecking=accept-new {login} true"
        return InfraError(f"{host.name}: its host key is not known: {key}", hint=hint + accept)
    if "Too many authentication failures" in log:
        what = f"{host.name}: the host ended the login after too many wrong keys"
        return InfraError(what, hint="name the right one: options: {IdentityFile: ~/.ssh/...}")
    if "Permission denied" in log:
        if encrypted := _encrypted(log, deadline):
            what = f"{host.name}: the key {encrypted} is encrypted, and no agent holds it"
            return InfraError(what, hint=f"ssh-add {encrypted}")
        return InfraError(f"{host.name}: {host.ssh} accepts none of our keys", hint=f"ssh-copy-id {login}")
    why = "; ".join(filter(None, (_words(log), said)))
    return InfraError(
        f"{host.name}: no connection to {host.ssh}: {why or 'ssh ended without a word'}",
        hint=f"try it by hand: ssh {login} true",
    )


def _login(host: HostEntry) -> str:
    """The arguments with which a user's own ssh logs in there."""
    words = ["-p", str(host.port)] if host.port else []
    words += ["-i", host.options.identity_file] if host.options.identity_file else []
    words += ["-o", f"UserKnownHostsFile={host.options.known_hosts}"] if host.options.known_hosts else []
    return " ".join([*words, host.ssh or host.address])


def _words(log: str) -> str:
    """What ssh said, without its debugging output."""
    return "; ".join(plain for line in log.splitlines() if (plain := line.strip()) and not _PROGRESS.match(plain))


def _encrypted(log: str, deadline: Deadline) -> str:
    """The first key that ssh could have used, had it had the passphrase; empty when there is none."""
    for path, flags in _CANDIDATE.findall(log):
        refused = f"Offering public key: {path} " in log and f"Server accepts key: {path} " not in log
        if "agent" in flags or refused or not Path(path).is_file():
            continue
        tried = run(["ssh-keygen", "-y", "-P", "", "-f", path], deadline=deadline, check=False)
        if "passphrase" in tried.stderr:
            return str(path)
    return ""
