# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The image's own repository, and bytecode that runs."""

from __future__ import annotations

import importlib.util
import marshal
import subprocess
import sys
from pathlib import Path

import pytest
from debian import deb822

from runner.errors import InfraError
from runner.images import disk, ensure_bytecode
from runner.images.disk import Interpreter, write_index
from runner.kernels.archive import Archive
from runner.model import ImagePin, Package
from tests.samples import soon
from tests.unit.test_images import locked

__all__ = ["locked"]  # a fixture


def test_the_list_of_the_images_own_repository_names_each_file_and_digest(archive: Archive, tmp_path: Path) -> None:
    packages = archive.closure(["tool"], "trixie", "x86_64", deadline=soon())
    debs = archive.download(packages, "x86_64", tmp_path, deadline=soon())
    write_index(tmp_path, debs)
    stanzas = list(deb822.Packages.iter_paragraphs((tmp_path / "Packages").read_text(), use_apt_pkg=False))
    assert [(stanza["Package"], stanza["Version"], stanza["SHA256"]) for stanza in stanzas] == [
        (package.name, package.version, package.sha256) for package in packages
    ]
    assert [(tmp_path / it["Filename"]).stat().st_size for it in stanzas] == [int(it["Size"]) for it in stanzas]


@pytest.fixture
def own_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile with the Python that runs the tests."""

    def compile_here(
        self: Interpreter, source: Path, target: Path, *, prefix: str, layout: str, **limits: object
    ) -> None:
        command = [sys.executable, str(disk.SCRIPT), str(source), str(target), prefix, layout]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise InfraError(done.stderr)

    monkeypatch.setattr(Interpreter, "of", lambda *_, **__: Interpreter(Path(), ""))
    monkeypatch.setattr(Interpreter, "compile", compile_here)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "src/thing"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "__main__.py").write_text("from thing.words import WORD\nprint(WORD)\n")
    (folder / "words.py").write_text("WORD = 'answer'\n")
    return folder


@pytest.mark.usefixtures("own_python")
def test_bytecode_runs_without_its_sources(locked: ImagePin, package: Path, tmp_path: Path) -> None:
    entry = ensure_bytecode(package, locked, tmp_path / "cache", deadline=soon())
    assert sorted(map(str, entry.files)) == ["thing/__init__.pyc", "thing/__main__.pyc", "thing/words.pyc"]
    done = subprocess.run([sys.executable, "-m", "thing"], cwd=entry.tree, check=True, capture_output=True, text=True)
    assert done.stdout == "answer\n"


@pytest.mark.usefixtures("own_python")
def test_bytecode_is_made_again_when_a_source_changes_and_only_then(
    locked: ImagePin, package: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    first = ensure_bytecode(package, locked, cache, deadline=soon())
    assert ensure_bytecode(package, locked, cache, deadline=soon(), offline=True) == first
    (package / "words.py").write_text("WORD = 'other'\n")
    assert ensure_bytecode(package, locked, cache, deadline=soon()).tree != first.tree


@pytest.mark.usefixtures("own_python")
def test_a_syntax_error_is_told_with_its_place(locked: ImagePin, package: Path, tmp_path: Path) -> None:
    (package / "words.py").write_text("WORD =\n")
    with pytest.raises(InfraError, match=r"words\.py.*line 1"):
        ensure_bytecode(package, locked, tmp_path / "cache", deadline=soon())


def test_of_a_package_what_no_python_takes_is_left_out(package: Path, tmp_path: Path) -> None:
    (package / "sample.py").write_text("print 'old'\n")
    command = [sys.executable, str(disk.SCRIPT), str(package), str(tmp_path / "target"), "/x", "cache"]
    subprocess.run(command, check=True)
    names = {path.name.partition(".")[0] for path in (tmp_path / "target").rglob("*.pyc")}
    assert names == {"__init__", "__main__", "words"}


def test_the_programs_of_packages_that_were_added_are_known(tmp_path: Path, archive: Archive) -> None:
    packages = archive.closure(["tool"], "trixie", "x86_64", deadline=soon())
    debs = archive.download(packages, "x86_64", tmp_path, deadline=soon())
    pin = ImagePin(suite="trixie", added=("tool",), arch="x86_64", packages=packages)
    assert list(disk.programs_of(pin, debs)) == ["usr/bin/tool"]
    assert not list(disk.programs_of(pin.model_copy(update={"added": ()}), debs))


def test_what_alternatives_would_link_is_known(tmp_path: Path) -> None:
    script = """#!/bin/sh
if [ "$1" = configure ]; then
    update-alternatives --install /usr/sbin/table table /usr/sbin/table-old 10 \\
        --slave /usr/sbin/table-save table-save /usr/sbin/table-old-save
    update-alternatives --install /usr/sbin/table table /usr/sbin/table-new 20
    update-alternatives --install /bin/nc nc /bin/nc.openbsd 50
    update-alternatives --install /usr/bin/other other $where 1
    update-alternatives --remove gone /usr/bin/gone
fi
"""
    deb = made_deb(tmp_path, "tables", script)
    package = Package(
        name="tables", version="1", architecture="all", suite="trixie", sha256="0" * 64, size_bytes=deb.stat().st_size
    )
    assert disk.alternatives_of({package: deb}) == {
        "usr/bin/nc": "usr/bin/nc.openbsd",
        "usr/sbin/table": "usr/sbin/table-new",
        "usr/sbin/table-save": "usr/sbin/table-old-save",
    }


def made_deb(folder: Path, name: str, postinst: str) -> Path:
    control = folder / name / "DEBIAN"
    control.mkdir(parents=True)
    (control / "control").write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.example>\nDescription: x\n"
    )
    (control / "postinst").write_text(postinst)
    (control / "postinst").chmod(0o755)
    subprocess.run(["/usr/bin/env", "dpkg-deb", "--build", control.parent, folder], check=True, capture_output=True)
    return folder / f"{name}_1_all.deb"


def test_bytecode_beside_a_source_is_never_compared_with_it(package: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    command = [sys.executable, str(disk.SCRIPT), str(package), str(target), "/usr/lib/thing", "cache"]
    subprocess.run(command, check=True)
    compiled = target / importlib.util.cache_from_source("words.py")
    content = compiled.read_bytes()
    assert int.from_bytes(content[4:8], "little") == 0b01, "PEP 552: by hash, unchecked"
    assert marshal.loads(content[16:]).co_filename == "/usr/lib/thing/words.py"  # noqa: S302  our own
