# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Repositories of rpm packages, made with rpmbuild and createrepo_c, signed with a key made for the test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.process import run
from tests.samples import soon

TOOLS = ("rpmbuild", "rpmsign", "createrepo_c", "gpg")
MISSING = [tool for tool in TOOLS if not shutil.which(tool)]


@dataclass(frozen=True)
class Signer:
    """A key in a keyring of its own."""

    home: Path

    @property
    def gpg(self) -> list[str]:
        return ["--homedir", str(self.home), "--batch", "--quiet"]

    @property
    def key(self) -> Path:
        return self.home / "key.asc"

    def sign(self, *packages: Path) -> None:
        defined = {"_gpg_name": "tests", "_gpg_path": str(self.home), "__gpg": shutil.which("gpg") or "gpg"}
        words = [word for name, value in defined.items() for word in ("--define", f"{name} {value}")]
        run(["rpmsign", *words, "--addsign", *packages], deadline=soon())

    def detached(self, file: Path) -> Path:
        target = file.with_name(f"{file.name}.asc")
        target.unlink(missing_ok=True)
        run(["gpg", *self.gpg, "--armor", "--detach-sign", "--output", str(target), str(file)], deadline=soon())
        return target


@contextmanager
def signing() -> Iterator[Signer]:
    """A new key. Its folder has a short path: gpg's agent has a socket in there."""
    with tempfile.TemporaryDirectory(prefix="gpg-") as name:
        signer = Signer(Path(name))
        key = ["--passphrase", "", "--quick-generate-key", "tests", "rsa3072", "sign", "never"]
        run(["gpg", *signer.gpg, *key], deadline=soon())
        signer.key.write_text(run(["gpg", *signer.gpg, "--armor", "--export"], deadline=soon()).stdout)
        yield signer


def build_rpm(nvra: str, content: Path, folder: Path, provides: Mapping[str, str]) -> Path:
    """The package NAME-VERSION-RELEASE.ARCH with the files below `content`, in `folder`."""
    nvr, _, arch = nvra.rpartition(".")
    name, version, release = nvr.rsplit("-", 2)
    said = "".join(f"Provides: {what} = {value}\n" for what, value in provides.items())
    spec = folder / f".{nvra}.spec"
    spec.write_text(
        f"Name: {name}\nVersion: {version}\nRelease: {release}\nSummary: for tests\nLicense: none\nAutoReqProv: no\n"
        f"{said}%description\nfor tests\n%install\ncp -a {content}/. %{{buildroot}}/\n%files\n/*\n"
    )
    macros = {
        "_topdir": str(folder / ".build"),
        "_rpmdir": str(folder),
        "_build_name_fmt": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
        "_binary_payload": "w1.gzdio",
        "__os_install_post": "%{nil}",
        "debug_package": "%{nil}",
    }
    words = [word for macro, value in macros.items() for word in ("--define", f"{macro} {value}")]
    run(["rpmbuild", "-bb", "--quiet", *words, "--target", arch, spec], deadline=soon())
    return folder / f"{nvra}.rpm"


def index(folder: Path) -> None:
    run(["createrepo_c", "--quiet", "--no-database", folder], deadline=soon())
