# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One private apt root: its configuration, its lists, and what is fetched through it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import quote

import filelock

from runner.errors import InfraError
from runner.kernels.download import WebServer
from runner.model import Package
from runner.model.deadline import Deadline
from runner.process import Completed, run, spawn
from runner.steps import filling
from runner.store import file_sha256, write_atomically

if TYPE_CHECKING:
    from debian import deb822

_HELPER = "/usr/lib/apt/apt-helper"
_KERNEL_STANZA = re.compile(rb"Package: (?:[a-z]+-)*(?:image|unsigned|binary|modules|extra|base|kernel)-\d")
_UNREACHED = "check the network and the proxy"
_NO_SUITE = re.compile(r"does not have a Release file")
_FOLDER = re.compile(r"\w[\w.+/-]*", re.ASCII)
_OUT_OF_STEP = re.compile(r"has unexpected size|Hash Sum mismatch")  # as apt says it of a mirror that is being updated

# The host's configuration is not read (Parts, Main), but its passwords for mirrors are. /dev/null is apt's own word
# for "none". Sandbox: as root, apt would switch to a user who cannot write here. A frozen mirror is past Valid-Until.
_APT_CONF = """\
Dir "{root}";
Dir::Etc::Main "/dev/null";
Dir::Etc::Parts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::Etc::SourceList "{root}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Trusted "/dev/null";
Dir::Etc::TrustedParts "/dev/null";
Dir::Etc::Netrc "/etc/apt/auth.conf";
Dir::Etc::NetrcParts "/etc/apt/auth.conf.d";
Dir::State "{root}/state";
Dir::State::Status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Acquire::Check-Valid-Until "false";
"""


@dataclass(frozen=True, slots=True)
class Repository:
    """Where suites are, and whose signatures count."""

    uri: str
    components: tuple[str, ...]
    keyring: Path
    variable: str = ""  # the environment variable that names another server, if there is one


@dataclass(frozen=True, slots=True)
class AptRoot:
    """One apt root. `index` holds the stanzas of the kernels' packages; its age is the age of the lists."""

    folder: Path
    suite: str
    debian_arch: str
    repository: Repository
    transport: str  # the host's proxy and TLS settings, as lines of apt.conf
    deadline: Deadline

    @property
    def index(self) -> Path:
        return self.folder / "kernels.Packages"

    @property
    def _config(self) -> Path:
        return self.folder / "apt.conf"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process and one thread at a time. Raises InfraError when the deadline passes first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(self.folder / "lock", timeout=self.deadline.remaining_s):
                yield
        except filelock.Timeout:
            raise InfraError(
                f"{self.folder} was in use by another process for {self.deadline.what}",
                hint="repeat the command when that other run of runner has ended",
            ) from None

    def configure(self) -> None:
        """Write the configuration where it is not what it must be; other sources make the lists stale."""
        its = self.repository
        source = f"deb [signed-by={its.keyring}] {its.uri} {self.suite} {' '.join(its.components)}\n"
        files = {
            self._config: _APT_CONF.format(root=self.folder, arch=self.debian_arch) + self.transport,
            self.folder / "sources.list": source,
            self.folder / "status": "",
        }
        if all(path.is_file() and path.read_text() == text for path, text in files.items()):
            return
        self.index.unlink(missing_ok=True)
        for folder in ("state/lists/partial", "cache/archives/partial"):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            write_atomically(path, text.encode())

    def fresh(self, max_age_s: float) -> bool:
        """Are the lists younger? A clock that was set back does not keep old ones fresh."""
        now = datetime.now(UTC).timestamp()
        return self.index.exists() and abs(now - self.index.stat().st_mtime) < max_age_s

    def update(self, max_age_s: float) -> str:
        """Fetch the lists unless they are younger than `max_age_s`. Returns a warning about them, or nothing.

        Raises InfraError when they cannot be fetched.
        """
        with self.locked():
            if self.fresh(max_age_s):
                return ""
            done = self.apt("apt-get", "update", "-qq", "--error-on=any", check=False)
            if done.returncode != 0:
                raise self._update_failed(done)
            stanzas: list[bytes] = []
            for packages in sorted((self.folder / "state/lists").glob("*_Packages*")):
                argv: list[str | Path] = [_HELPER, "cat-file", packages]
                with (
                    spawn(argv, end_s=self.deadline.end_s, stdout=subprocess.PIPE, env=self._env) as process,
                    self.deadline.at_end(process.terminate),
                ):
                    stanzas += kernel_stanzas(cast("IO[bytes]", process.stdout))
                    if process.wait() != 0:
                        raise InfraError(f"cannot read {packages}", hint=f"delete {self.folder}")
            write_atomically(self.index, b"\n\n".join(stanzas) + b"\n")
            return self._notice()

    def apt(self, tool: str, *arguments: str, cwd: Path | None = None, check: bool = True) -> Completed:
        return run([tool, *arguments], deadline=self.deadline, cwd=cwd, env=self._env, check=check)

    def unlisted(self, packages: Sequence[Package]) -> list[Package]:
        """Those that the lists do not name, byte for byte."""
        wanted = [f"{package.name}={package.version}" for package in packages]
        shown = self.apt("apt-cache", "show", *wanted, check=False).stdout
        digests = {paragraph["SHA256"] for paragraph in paragraphs(shown)}
        return [package for package in packages if package.sha256 not in digests]

    def fetch(self, packages: Sequence[Package], into: Path) -> tuple[list[Package], list[str]]:
        """(those that did not come whole, what went wrong with each). Files appear in `into` only when they are."""
        if not packages:
            return [], []
        with tempfile.TemporaryDirectory(prefix=".download-", dir=into) as name:
            folder = Path(name)
            wanted = [f"{package.name}={package.version}" for package in packages]
            size = sum(package.size_bytes for package in packages)
            with filling(folder, f"fetching {size >> 20} MiB of packages", size):
                done = self.apt("apt-get", "-qq", "download", *wanted, cwd=folder, check=False)
            left, faults = [], []
            for package in packages:
                file = folder / file_name(package)
                if fault := damage(file, package):
                    left.append(package)
                    faults.append(fault)
                else:
                    file.replace(into / file.name)
        if left and done.stderr.strip():
            faults.append(done.stderr.strip())
        return left, faults

    # what the lists no longer name may still be in the pool: a pin names the file and its digest

    def in_pool(self, package: Package) -> str:
        """Where below the archive's address a file of this name and size is, which the lists no longer name.

        Empty where there is none, or the archive is not on an HTTP server.
        """
        server = WebServer(self.repository.uri)
        version = package.version.partition(":")[2] or package.version  # names of files have no epoch
        name = f"{package.name}_{version}_{package.architecture}.deb"
        for folder in self._folders(package) if server.base.startswith("http") else ():
            try:
                if server.size(f"{folder}/{name}", deadline=self.deadline) == package.size_bytes:
                    return f"{folder}/{name}"
            except InfraError:  # not there, or not to be asked: the lists say that it left
                continue
        return ""

    def from_pool(self, package: Package, target: Path) -> bool:
        """`target` appears only when it is the package; false when the pool has no such file. Raises InfraError."""
        if not (path := self.in_pool(package)):
            return False
        server, size = WebServer(self.repository.uri), package.size_bytes
        server.file(path, target, sha256=package.sha256, size_bytes=size, deadline=self.deadline)
        return True

    def _folders(self, package: Package) -> Iterator[str]:
        """Where other versions of it lie; of a kernel's, whose name has its version, other kernels'."""
        shown = self.apt("apt-cache", "show", package.name, check=False).stdout
        word = re.split(r"\d", package.name)[0]
        known = paragraphs(self.index.read_bytes()) if word != package.name else ()
        alike = (it for it in known if it["Package"].startswith(word))
        folders = {it.get("Filename", "").rpartition("/")[0] for it in (*paragraphs(shown), *alike)}
        yield from sorted(filter(_FOLDER.fullmatch, folders))

    @property
    def _env(self) -> dict[str, str]:
        return {"APT_CONFIG": str(self._config), "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}

    def _update_failed(self, done: Completed) -> InfraError:
        errors = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
        said = "\n".join(errors[-5:] or [done.stderr.strip()[-500:]])
        what = "the mirror's lists do not fit each other, try later" if _OUT_OF_STEP.search(said) else _UNREACHED
        if _NO_SUITE.search(said):
            what = f"is there a suite {self.suite!r}? Else {what}"
        other = f"; {self.repository.variable} names another mirror" if self.repository.variable else ""
        return InfraError(f"cannot fetch the package lists of {self.suite}:\n{said}", hint=f"{what}{other}")

    def _notice(self) -> str:
        """A frozen mirror serves lists beyond their time: signed and usable, but no longer the newest."""
        for release in (self.folder / "state/lists").glob("*_InRelease"):
            fields = dict(re.findall(r"^(Date|Valid-Until): (.+)$", release.read_text(errors="replace"), re.MULTILINE))
            until = fields.get("Valid-Until", "")
            if until and parsedate_to_datetime(until) < datetime.now(UTC):
                return (
                    f"the mirror's lists of {self.suite} are of {fields.get('Date', 'an unknown date')} and were valid "
                    f"until {until}: newer packages may exist"
                )
        return ""


def paragraphs(stanzas: str | bytes) -> Iterator[deb822.Packages]:
    """Of a list of packages."""
    from debian import deb822  # noqa: PLC0415  late: it takes as long as all sources of kernels, and few commands need it

    return iter(deb822.Packages.iter_paragraphs(stanzas, use_apt_pkg=False))


def kernel_stanzas(stream: IO[bytes]) -> Iterator[bytes]:
    """The stanzas of kernels' packages; a whole list is 60 MB, too much to hold or to parse in full."""
    rest = b""
    while chunk := stream.read(1 << 20):
        *whole, rest = (rest + chunk).split(b"\n\n")
        yield from (stanza for stanza in whole if _KERNEL_STANZA.match(stanza))
    if _KERNEL_STANZA.match(rest):
        yield rest.rstrip(b"\n")


def file_name(package: Package) -> str:
    """As apt names what it downloads."""
    return f"{package.name}_{quote(package.version, safe='+~')}_{package.architecture}.deb".replace("%3A", "%3a")


def damage(file: Path, package: Package) -> str:
    """What is wrong with a downloaded file; empty when it is the package."""
    what = f"{package.name} {package.version}"
    if not file.is_file():
        return f"{what} did not come"
    if file.stat().st_size != package.size_bytes:
        return f"{what}: {file.stat().st_size} bytes instead of {package.size_bytes}"
    digest = file_sha256(file)
    return "" if digest == package.sha256 else f"{what}: sha256 is {digest} instead of {package.sha256}"
