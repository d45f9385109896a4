# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Makes tests/data/archive, a tiny signed Debian archive: `python -m tests.data.make_archive`. Needs gpg and dpkg-deb.

The result is committed, and its private key was thrown away, so the tests need neither.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from runner.process import run
from tests.samples import soon

HERE = Path(__file__).with_name("archive")
LIMIT_S = 120
RELEASE_DATE = "Sat, 01 Nov 2025 00:00:00 UTC"


def kernel(release: str, version: str, parts: dict[str, list[str]]) -> list[dict[str, str]]:
    """The packages of a kernel: the name of each part and what it depends on."""
    return [
        {
            "Package": f"linux-{part}-{release}",
            "Version": version,
            "Architecture": "amd64",
            "Depends": ", ".join(f"linux-{name}-{release} (= {version})" for name in needs),
        }
        for part, needs in parts.items()
    ]


def ubuntu(
    release: str, version: str, parts: str = "image image-unsigned modules modules-extra"
) -> list[dict[str, str]]:
    """The packages of a kernel of Ubuntu's, as its own lists have them."""
    images = " | ".join(f"linux-{part}-{release}" for part in ("image", "image-unsigned"))
    depends = {
        "image": f"kmod, linux-base (>= 4.5ubuntu1~16.04.1), linux-modules-{release}",
        "image-unsigned": f"kmod, linux-base (>= 4.5ubuntu1~16.04.1), linux-modules-{release}",
        "modules-extra": f"{images}, wireless-regdb",
        "modules": "",
    }
    return [
        {"Package": f"linux-{part}-{release}", "Version": version, "Architecture": "amd64", "Depends": depends[part]}
        for part in parts.split()
    ]


SPLIT = {"image": ["base", "binary", "modules"], "base": [], "binary": ["base"], "modules": ["base"]}
PACKAGES = {
    "trixie": [
        *kernel("6.12.9+deb13-amd64", "6.12.9-1", {"image": []}),
        *kernel("6.12.10+deb13-amd64", "6.12.10-1", {"image": []}),
        *kernel("6.12.10+deb13-cloud-amd64", "6.12.10-1", {"image": []}),
        *kernel("7.1.2+deb13-amd64", "7.1.2-1", SPLIT),
        *kernel("7.2.1+deb13-amd64", "7.2.1-1", {"image": SPLIT["image"], "base": [], "binary": ["base"]}),
        *kernel("7.3-rc1-amd64", "7.3~rc1-1", SPLIT),
        {
            "Package": "linux-image-6.12-amd64",
            "Version": "6.12.10-1",
            "Architecture": "amd64",
            "Depends": "linux-image-6.12.10+deb13-amd64 (= 6.12.10-1)",
        },
        {"Package": "tool", "Version": "1:1.0-1", "Architecture": "amd64", "Depends": "tool-data (>= 1.0)"},
        {"Package": "tool-data", "Version": "1.0-1", "Architecture": "all", "Depends": ""},
    ],
    "forky": [{"Package": "tool", "Version": "2.0-1", "Architecture": "amd64", "Depends": ""}],
    "noble": ubuntu("6.8.0-31-generic", "6.8.0-31.31"),
    "noble-updates": [
        *ubuntu("6.8.0-50-generic", "6.8.0-50.51"),
        *ubuntu("6.8.0-51-generic", "6.8.0-51.52", "image-unsigned modules-extra"),  # what it needs has left
        *ubuntu("6.8.0-1021-aws", "6.8.0-1021.23"),
        *ubuntu("6.11.0-17-generic", "6.11.0-17.17~24.04.2", "image-unsigned modules"),
    ],
}


def content(package: dict[str, str], root: Path) -> None:
    """What a package of that name holds, as far as unpacking looks."""
    name = package["Package"]
    part, _, release = re.sub(r"^linux-|(?<=-)unsigned-", "", name).replace("-extra", "").partition("-")
    folder = root / "usr/lib/modules" / release
    module = folder / f"kernel/net/{'extra' if '-extra-' in name else 'x'}.ko.zst"
    lists = [folder / f"modules.{kind}" for kind in ("builtin", "builtin.modinfo", "order")]
    files = {
        "base": [folder / "config", *lists],
        "binary": [folder / "vmlinuz"],
        "modules": [folder / "kernel/empty"],
        "image": [
            root / f"boot/vmlinuz-{release}",
            root / f"boot/config-{release}",
            folder / "kernel/empty",
            *lists,
        ],
    }
    if release.endswith(("-generic", "-aws")):
        files = {
            "image": [root / f"boot/vmlinuz-{release}"],
            "modules": [module] if "-extra-" in name else [root / f"boot/config-{release}", *lists, module],
        }
    wanted = files.get(part, [root / "usr/bin" / name])
    if "linux-base-" in package["Depends"] and part == "image":
        wanted = []
    for file in wanted:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("" if file.name.startswith("modules.") else f"{name} {package['Version']}\n")


def build_deb(package: dict[str, str], pool: Path) -> Path:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        content(package, root)
        (root / "DEBIAN").mkdir()
        fields = {**package, "Maintainer": "nobody <nobody@example.org>", "Description": "for tests"}
        text = "".join(f"{key}: {value}\n" for key, value in fields.items() if value)
        (root / "DEBIAN/control").write_text(text)
        root.chmod(0o755)
        run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", root, pool], deadline=soon(LIMIT_S))
    version = package["Version"].partition(":")[2] or package["Version"]
    return pool / f"{package['Package']}_{version}_{package['Architecture']}.deb"


def publish(root: Path, suite: str, debs: list[Path], home: Path, *, until: str = "") -> None:
    """Write the lists of a suite with these packages, which are in pool/, signed with the key in `home`."""
    dist = root / "dists" / suite
    binary = dist / "main/binary-amd64"
    binary.mkdir(parents=True, exist_ok=True)
    stanzas = []
    for deb in debs:
        fields = run(["dpkg-deb", "--field", deb], deadline=soon(LIMIT_S)).stdout
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        stanzas.append(f"{fields}Filename: pool/{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n")
    plain = "\n".join(stanzas).encode()
    (binary / "Packages.gz").write_bytes(gzip.compress(plain, mtime=0))
    lines = "".join(
        f" {hashlib.sha256(data).hexdigest()} {len(data)} main/binary-amd64/{name}\n"
        for name, data in (("Packages.gz", (binary / "Packages.gz").read_bytes()), ("Packages", plain))
    )
    head = f"Origin: Tests\nSuite: {suite}\nCodename: {suite}\nArchitectures: amd64\nComponents: main\n"
    release = dist / "Release"
    release.write_text(f"{head}Date: {RELEASE_DATE}\n{until}SHA256:\n{lines}")
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    run([*gpg, "--clearsign", "--output", str(dist / "InRelease"), str(release)], deadline=soon(LIMIT_S))
    release.unlink()


def new_key(home: Path, keyring: Path) -> None:
    """A key in `home`, and its public part."""
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    key = ["--passphrase", "", "--quick-generate-key", "tests <tests@example.org>", "ed25519", "sign", "never"]
    run([*gpg, *key], deadline=soon(LIMIT_S))
    run([*gpg, "--output", str(keyring), "--export"], deadline=soon(LIMIT_S))


def main() -> None:
    shutil.rmtree(HERE, ignore_errors=True)
    pool = HERE / "pool"
    pool.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        os.environ["SOURCE_DATE_EPOCH"] = "1761955200"
        new_key(Path(name), HERE / "keyring.gpg")
        for suite, packages in PACKAGES.items():
            debs = [build_deb(package, pool) for package in packages]
            until = f"Valid-Until: {RELEASE_DATE}\n" if suite == "forky" else ""
            publish(HERE, suite, debs, Path(name), until=until)


if __name__ == "__main__":
    main()
