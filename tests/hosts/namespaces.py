# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Hosts made of namespaces: each has its own network, processes, name, home, cache and sshd. Needs root.

The hosts hang on a bridge of this machine and reach nothing but it and each other. All that is made here goes again:
a host's processes with its first one, its network with its namespace.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

_SSHD = "/usr/sbin/sshd"
_UP_S = 20.0
_SETUP = """set -e
mount --bind "$1/passwd" /etc/passwd
mount -t tmpfs none /run
mkdir -m 755 /run/sshd
hostname "$2"
ip link set lo up
exec /usr/sbin/sshd -D -e -f "$1/sshd_config"
"""
_SSHD_CONFIG = """ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
LogLevel FATAL
"""


def warm(host: NetHost, cache: Path) -> None:
    """Kernels and images of another cache, as hard links: what is stored is never written to."""
    for kind in ("kernels", "images"):
        shutil.copytree(cache / kind, host.cache / kind, copy_function=os.link, ignore=shutil.ignore_patterns(".*"))


def lacking() -> str:
    """What keeps this machine from making such hosts; empty when nothing does."""
    if os.geteuid() != 0:
        return "namespaces of the network need root"
    missing = [tool for tool in (_SSHD, "ip", "unshare", "nsenter", "ssh", "ssh-keygen") if not shutil.which(tool)]
    return f"not installed: {', '.join(missing)}" if missing else ""


@dataclass(frozen=True)
class NetHost:
    """One host."""

    name: str
    address: str
    folder: Path
    link: str  # its end of the cable in this machine's own network
    process: subprocess.Popen[bytes]  # ends the host

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def cache(self) -> Path:
        return self.home / ".cache" / "kfunc-runner"

    def cut(self) -> None:
        """The network swallows everything from now on, without a word."""
        _ip("link", "set", self.link, "down")

    def mend(self) -> None:
        _ip("link", "set", self.link, "up")

    def processes(self, word: bytes) -> list[int]:
        """The processes of this host whose command line has `word` in it; guests have another home."""
        mine, place = f"HOME={self.home}\0".encode(), f"{self.home}/".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes()
                if word in command and (place in command or mine in (folder / "environ").read_bytes()):
                    found.append(int(folder.name))
            except OSError:
                continue
        return found


@dataclass(frozen=True)
class Net:
    """The hosts, and what a user needs to reach them."""

    hosts: tuple[NetHost, ...]
    folder: Path

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def hosts_yaml(self, *, python: str, slots: int = 1, **limits: float) -> str:
        """The file for all of them."""
        lines = ["hosts:"]
        for host in self.hosts:
            options = f"{{IdentityFile: {self.key}, UserKnownHostsFile: {self.known_hosts}}}"
            lines.append(
                f"  - {{name: {host.name}, ssh: root@{host.address}, slots: {slots}, python: {python}, "
                f"options: {options}}}"
            )
        if limits:
            lines.append("limits: {" + ", ".join(f"{key}: {value:g}" for key, value in limits.items()) + "}")
        return "\n".join(lines) + "\n"


@contextmanager
def net(folder: Path, *names: str) -> Iterator[Net]:
    """Hosts with these names, up and reachable, their keys known."""
    mark = f"{os.getpid() % 46656:x}"
    third = os.getpid() % 250 + 1
    bridge = f"kfb{mark}"
    folder.mkdir(parents=True, exist_ok=True)
    _keygen(folder / "key")
    with ExitStack() as stack:
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "del", bridge, check=False)
        _ip("addr", "add", f"10.213.{third}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        hosts = [
            stack.enter_context(_host(folder, name, f"{mark}{number}", f"10.213.{third}.{number + 10}", bridge))
            for number, name in enumerate(names)
        ]
        known = [f"{host.address} {(host.folder / 'host_key.pub').read_text()}" for host in hosts]
        (folder / "known_hosts").write_text("".join(known))
        yield Net(tuple(hosts), folder)


@contextmanager
def _host(base: Path, name: str, mark: str, address: str, bridge: str) -> Iterator[NetHost]:
    folder = base / name
    (folder / "home").mkdir(parents=True)
    folder.chmod(0o755)
    _keygen(folder / "host_key")
    shutil.copy(base / "key.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(_SSHD_CONFIG.format(address=address, folder=folder))
    lines = Path("/etc/passwd").read_text().splitlines()
    others = [line for line in lines if not line.startswith("root:")]
    (folder / "passwd").write_text("\n".join([f"root:x:0:0:root:{folder}/home:/bin/sh", *others]) + "\n")
    namespace, near, far = f"kfn{mark}", f"kfv{mark}", f"kfw{mark}"
    with ExitStack() as stack:
        _ip("netns", "add", namespace)
        stack.callback(_ip, "netns", "del", namespace, check=False)
        _ip("link", "add", near, "type", "veth", "peer", "name", far)
        stack.callback(_ip, "link", "del", near, check=False)
        _ip("link", "set", far, "netns", namespace)
        _ip("link", "set", near, "master", bridge, "up")
        _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", far)
        _ip("-n", namespace, "link", "set", far, "up")
        own = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        setup = ["sh", "-c", _SETUP, "setup", str(folder), name]
        process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{namespace}", *own, *setup],
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"]},
            start_new_session=True,
        )
        stack.callback(_end, process)
        _await_sshd(address, process)
        yield NetHost(name, address, folder, near, process)


def _await_sshd(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _UP_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with socket.create_connection((address, 22), timeout=1) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the sshd of {address} did not come up")


def _end(process: subprocess.Popen[bytes]) -> None:
    """`unshare --kill-child` takes the host's first process with it, and that one all the others."""
    process.kill()
    process.wait()


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True)


def _keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
