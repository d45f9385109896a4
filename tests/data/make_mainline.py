# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Makes tests/data/mainline, a tiny server of mainline kernels: `python -m tests.data.make_mainline`.

The result is committed, and its private key was thrown away, so the tests need neither gpg nor dpkg-deb's builder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from runner.process import run
from tests.samples import soon

HERE = Path(__file__).with_name("mainline")
LIMIT_S = 120
# folder -> the builds in it: release, time of the build, parts
SERVER: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {
    "v6.6/amd64": [
        ("6.6.0-060600-generic", "202310292232", ("image-unsigned", "modules")),
        ("6.6.0-060600-generic", "202311020101", ("image-unsigned",)),  # built again, and only in part
    ],
    "v6.6.12/amd64": [("6.6.12-060612-generic", "202401151235", ("image-unsigned", "modules"))],
    "v6.6.13/amd64": [],  # this build failed
    "v6.7-rc1/amd64": [("6.7.0-060700rc1-generic", "202311130000", ("image-unsigned", "modules"))],
    "v6.1/arm64": [("6.1.0-060100-generic", "202303090726", ("image-unsigned", "modules"))],
}


def build_deb(part: str, release: str, build: str, folder: Path) -> Path:
    version, arch = f"{release.removesuffix('-generic')}.{build}", folder.name
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        modules = root / "lib/modules" / release
        files = {
            "image-unsigned": {root / f"boot/vmlinuz-{release}": f"a kernel {version}\n"},
            "modules": {
                root / f"boot/config-{release}": f"# Linux/x86 {release.partition('-')[0]} Kernel Configuration\n",
                modules / "kernel/empty": "",
                **{modules / f"modules.{kind}": "" for kind in ("builtin", "builtin.modinfo", "order")},
            },
        }
        for path, text in files[part].items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (root / "DEBIAN").mkdir()
        (root / "DEBIAN/control").write_text(
            f"Package: linux-{part}-{release}\nVersion: {version}\nArchitecture: {arch}\n"
            "Maintainer: nobody <nobody@example.org>\nDescription: for tests\n"
        )
        root.chmod(0o755)
        run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", root, folder], deadline=soon(LIMIT_S))
    return folder / f"linux-{part}-{release}_{version}_{arch}.deb"


def fill(folder: Path, builds: list[tuple[str, str, tuple[str, ...]]], gpg: list[str]) -> None:
    folder.mkdir(parents=True)
    debs = [build_deb(part, release, build, folder) for release, build, parts in builds for part in parts]
    lines = ["# Checksums-Sha1:", *(f"{hashlib.sha1(deb.read_bytes()).hexdigest()}  {deb.name}" for deb in debs)]  # noqa: S324
    lines += ["# Checksums-Sha256:", *(f"{hashlib.sha256(deb.read_bytes()).hexdigest()}  {deb.name}" for deb in debs)]
    sums = folder / "CHECKSUMS"
    sums.write_text("".join(f"{line}\n" for line in lines))
    run([*gpg, "--detach-sign", "--output", str(folder / "CHECKSUMS.gpg"), str(sums)], deadline=soon(LIMIT_S))


def main() -> None:
    shutil.rmtree(HERE, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        os.environ["SOURCE_DATE_EPOCH"] = "1761955200"
        gpg = ["gpg", "--homedir", name, "--batch", "--quiet"]
        key = ["--passphrase", "", "--quick-generate-key", "tests <tests@example.org>", "ed25519", "sign", "never"]
        run([*gpg, *key], deadline=soon(LIMIT_S))
        for path, builds in SERVER.items():
            fill(HERE / path, builds, gpg)
        run([*gpg, "--armor", "--output", str(HERE / "key.asc"), "--export"], deadline=soon(LIMIT_S))


if __name__ == "__main__":
    main()
