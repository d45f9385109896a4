# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A real kernel that comes from servers: of mainline builds, of Ubuntu's archive, of Debian's snapshot archive, of rpm
packages, of container images.

None of them can be assumed to be reachable, so all are on 127.0.0.1. What they serve is real: the snapshot archive's
signed lists are those of this host's own mirror, by redirects, and the kernel is Debian's. For mainline and Ubuntu it
is packed in two packages, with modules as Ubuntu compresses them; the rpm packages and the image have the same files.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstandard

from runner.caches import cache_root
from runner.kernels import Means, ensure_kernel, lock_kernels
from runner.kernels.archive import Archive, find_mirrors
from runner.kernels.config import decompressed
from runner.kernels.needs import MODULES
from runner.kernels.snapshot import suites_at
from runner.kernels.unpack import available, closure
from runner.matrix.lock import read_lock
from runner.model import Pin, Wanted
from runner.model.deadline import Deadline
from runner.process import run
from tests.data.make_archive import new_key, publish
from tests.integration.rpm_fixture import build_rpm, index, signing
from tests.integration.web_fixture import Web, serving
from tests.samples import ROOT
from tests.unit.oci_fixture import Registry, files_layer

LIMIT_S = 600
DAY = "20251101T083000Z"


def soon() -> Deadline:
    return Deadline.after(LIMIT_S, "the test's limit")


@pytest.fixture
def web() -> Iterator[Web]:
    with serving(Web()) as site:
        yield site


@pytest.fixture
def pin() -> Pin:
    kernels = read_lock(ROOT / "matrix.lock").kernels
    return next(one for one in kernels if one.source == "debian:trixie/6.12" and one.arch == "x86_64")


@pytest.fixture
def deb(tmp_path: Path, pin: Pin) -> Path:
    """The kernel's package, which holds the modules as well."""
    folder = tmp_path / "deb"
    folder.mkdir()
    (file,) = Archive(cache_root()).download(pin.packages, pin.arch, folder, deadline=soon()).values()
    return file


def repacked(deb: Path, release: str, folder: Path) -> Iterator[Path]:
    """The two packages of a mainline build."""
    root = folder / "root"
    run(["dpkg-deb", "--extract", deb, root], deadline=soon())
    there = next(path for path in (root / "usr/lib/modules" / release, root / "lib/modules" / release) if path.exists())
    parts = {"image-unsigned": folder / "image", "modules": folder / "modules"}
    base = parts["modules"] / "lib/modules" / release
    for file in closure(available((there / "kernel").rglob("*.ko*")), MODULES):
        target = base / file.relative_to(there).with_name(f"{file.name.partition('.')[0]}.ko.zst")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(zstandard.compress(decompressed(file.read_bytes()), 1))
    for name in ("builtin", "builtin.modinfo", "order"):
        shutil.copy(there / f"modules.{name}", base)
    for part, name in (("image-unsigned", "vmlinuz"), ("modules", "config")):
        (parts[part] / "boot").mkdir(parents=True)
        shutil.copy(root / f"boot/{name}-{release}", parts[part] / "boot")
    for part, tree in parts.items():
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text(
            f"Package: linux-{part}-{release}\nVersion: 1-1\nArchitecture: amd64\n"
            + (f"Depends: linux-modules-{release}\n" if part != "modules" else "")
            + "Maintainer: nobody <nobody@example.org>\nDescription: for tests\n"
        )
        tree.chmod(0o755)
        run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, folder], deadline=soon())
        yield folder / f"linux-{part}-{release}_1-1_amd64.deb"


def serve_mainline(web: Web, deb: Path, pin: Pin, folder: Path) -> None:
    folder.mkdir()
    debs = list(repacked(deb, pin.release, folder))
    sums = "".join(f"{sha256(one.read_bytes()).hexdigest()}  {one.name}\n" for one in debs)
    web.files[f"mainline/v{pin.version}/amd64/CHECKSUMS"] = f"# Checksums-Sha256:\n{sums}".encode()
    web.folders[f"mainline/v{pin.version}/amd64/"] = folder


def serve_apt(web: Web, packed: Path, home: Path) -> str:
    """The text that means the packages of a mainline build, in an archive laid out as Ubuntu's."""
    root = packed / "archive"
    (root / "pool").mkdir(parents=True)
    debs = [Path(shutil.copy(deb, root / "pool")) for deb in sorted(packed.glob("*.deb"))]
    new_key(home, root / "keyring.gpg")
    publish(root, "noble", debs, home)
    web.folders["archive/"] = root
    where = f"suites=noble&keyring={root}/keyring.gpg&package=linux-image-*-amd64"
    return f"apt:{web.address}/archive?{where}&versions=>=6"


def serve_rpm(web: Web, packed: Path, pin: Pin) -> str:
    """The text that means the same files in rpm packages, laid out as Fedora's."""
    repository, core, base = packed / "repository", packed / "core", f"lib/modules/{pin.release}"
    repository.mkdir()
    shutil.copytree(packed / "modules" / base, core / base, ignore=shutil.ignore_patterns("*.ko.zst"))
    shutil.copy(packed / f"image/boot/vmlinuz-{pin.release}", core / base / "vmlinuz")
    shutil.copy(packed / f"modules/boot/config-{pin.release}", core / base / "config")
    contents = {"kernel-core": core / "lib", "kernel-modules": packed / f"modules/{base}/kernel"}
    with signing() as signer:
        for name, content in contents.items():
            tree = packed / name / str(content.relative_to(core if name == "kernel-core" else packed / "modules"))
            shutil.copytree(content, tree)
            provides = {"kernel-uname-r": pin.release} if name == "kernel-core" else {}
            signer.sign(build_rpm(f"{name}-{pin.version}-1.x86_64", packed / name, repository, provides))
        key = Path(shutil.copy(signer.key, packed / "rpm.asc"))
    index(repository)
    web.folders["fedora/x86_64/"] = repository
    return f"rpm:{web.address}/fedora/$basearch?key={key}&series={pin.version}-1"


def serve_snapshot(web: Web, deb: Path, pin: Pin) -> None:
    (package,) = pin.packages
    archive = "debian-security" if package.suite.endswith("-security") else "debian"
    suite = suites_at(archive, package.version)[0]
    mirror = find_mirrors(deadline=soon()).of(package.suite)
    web.elsewhere[f"snapshot/archive/{archive}/{DAY}/dists/{suite}/"] = f"{mirror}/dists/{package.suite}/"
    web.anywhere[deb.name] = deb
    seen = {"hash": "0" * 40, "architecture": "amd64"}
    place = {"archive_name": archive, "first_seen": DAY}
    replies: dict[str, dict[str, object]] = {
        "package/linux/": {"result": [{"version": package.version}]},
        f"package/linux/{package.version}/binpackages": {"result": [{"name": f"linux-headers-{pin.release}"}]},
        f"binary/{package.name}/{package.version}/binfiles?fileinfo=1": {
            "result": [seen],
            "fileinfo": {"0" * 40: [place]},
        },
    }
    web.files |= {f"snapshot/mr/{path}": json.dumps(answer).encode() for path, answer in replies.items()}


def serve_image(web: Web, unpacked: Path, home: Path) -> str:
    """The name that pulls it."""
    parts = (unpacked / "image", unpacked / "modules")
    files = {
        str(path.relative_to(part)): path.read_bytes()
        for part in parts
        for path in part.rglob("*")
        if path.is_file() and "DEBIAN" not in path.parts
    }
    return Registry(web, home).push("kernels", "6.12", {"amd64": [files_layer(files)]})


def test_a_kernel_is_the_same_bytes_wherever_it_comes_from(
    web: Web, pin: Pin, deb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it need not boot more than once: the other guests' tests boot the archive's."""
    archives = ensure_kernel(pin, cache_root(), deadline=soon())
    serve_mainline(web, deb, pin, tmp_path / "mainline")
    serve_snapshot(web, deb, pin)
    monkeypatch.setenv("RUNNER_MAINLINE", f"{web.address}/mainline")
    monkeypatch.setenv("RUNNER_MAINLINE_KEYRING", "unchecked")  # the integration tests have signatures
    monkeypatch.setenv("RUNNER_SNAPSHOT", f"{web.address}/snapshot")
    monkeypatch.setenv("HOME", str(tmp_path))  # has skopeo's settings
    packed = tmp_path / "mainline"
    texts = [f"oci:{serve_image(web, packed, tmp_path)}", serve_rpm(web, packed, pin)]
    with TemporaryDirectory() as home:  # a short path: gpg's agent has a socket in there
        texts.append(serve_apt(web, packed, Path(home)))
    cache = tmp_path / "cache"
    cache.mkdir()
    for text in (f"mainline:{pin.version}", f"snapshot:{pin.version}", f"path:{archives.root}", *texts):
        wanted = Wanted(name="it", source=text, arch=pin.arch)
        (served,) = lock_kernels(wanted, Means(Archive(cache), cache, soon()))
        assert (served.version, served.release) == (pin.version, pin.release)
        assert ensure_kernel(served, cache, deadline=soon()).sha256 == archives.sha256, text
    assert len(list((cache / "kernels").glob("*/manifest.json"))) == 6
