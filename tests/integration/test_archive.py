# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The archive through apt: signatures, exact versions, damaged and missing downloads."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.errors import InfraError
from runner.kernels import archive as archive_module
from runner.kernels.aptroot import Repository, damage
from runner.kernels.archive import Archive, Mirrors, find_mirrors
from runner.model import Package
from runner.model.deadline import Deadline
from tests.integration.web_fixture import Web
from tests.samples import soon

PAIR = ("trixie", "x86_64")


def tools(archive: Archive) -> tuple[Package, ...]:
    return archive.closure(["tool"], *PAIR, deadline=soon())


def test_kernels_are_listed_with_what_they_depend_on(archive: Archive) -> None:
    listed = {entry.package.name: entry for entry in archive.kernel_packages(*PAIR, deadline=soon())}
    image = listed["linux-image-7.1.2+deb13-amd64"]
    assert image.depends == tuple(
        (f"linux-{part}-7.1.2+deb13-amd64", "7.1.2-1") for part in ("base", "binary", "modules")
    )
    assert image.package.suite == "trixie"
    assert "tool" not in listed


def test_a_closure_is_complete_and_pinned(archive: Archive) -> None:
    tool, data = tools(archive)
    assert (tool.name, tool.version, tool.architecture) == ("tool", "1:1.0-1", "amd64")
    assert (data.name, data.version, data.architecture) == ("tool-data", "1.0-1", "all")
    assert archive.lacks([tool, data], "x86_64", deadline=soon()) == ()


def test_an_unknown_package_in_a_closure_is_an_error(archive: Archive) -> None:
    with pytest.raises(InfraError, match="nonesuch"):
        archive.closure(["nonesuch"], *PAIR, deadline=soon())


def test_a_download_is_the_very_file(archive: Archive, mirror: Path, tmp_path: Path) -> None:
    files = archive.download(tools(archive), "x86_64", tmp_path, deadline=soon())
    assert {path.name for path in files.values()} == {"tool_1%3a1.0-1_amd64.deb", "tool-data_1.0-1_all.deb"}
    assert {damage(path, package) for package, path in files.items()} == {""}
    assert files[tools(archive)[0]].read_bytes() == (mirror / "pool/tool_1.0-1_amd64.deb").read_bytes()


def cut(deb: Path) -> None:
    deb.write_bytes(deb.read_bytes()[:100])


def flip(deb: Path) -> None:
    content = bytearray(deb.read_bytes())
    content[-1] ^= 1
    deb.write_bytes(content)


def lose(deb: Path) -> None:
    deb.unlink()


@pytest.mark.parametrize("harm", [cut, flip, lose])
def test_a_damaged_download_is_never_left_behind(
    archive: Archive, mirror: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], None]
) -> None:
    packages = tools(archive)
    harm(mirror / "pool/tool_1.0-1_amd64.deb")
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(InfraError, match=r"twice.*tool 1:1\.0-1"), caplog.at_level(logging.WARNING):
        archive.download(packages, "x86_64", into, deadline=soon())
    assert "fetching again: tool 1:1.0-1" in caplog.text
    assert [path.name for path in into.iterdir()] == ["tool-data_1.0-1_all.deb"]


def test_a_download_that_was_damaged_once_is_fetched_again(
    archive: Archive, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tools(archive)
    deb = mirror / "pool/tool_1.0-1_amd64.deb"
    whole = deb.read_bytes()
    cut(deb)
    update = Archive.update

    def mend(self: Archive, pairs: Iterable[tuple[str, str]], *, deadline: Deadline, max_age_s: float = 600) -> None:
        if max_age_s == 0:
            deb.write_bytes(whole)
        update(self, pairs, deadline=deadline, max_age_s=max_age_s)

    monkeypatch.setattr(Archive, "update", mend)
    files = archive.download(packages, "x86_64", tmp_path, deadline=soon())
    assert files[packages[0]].read_bytes() == whole


def test_a_file_that_differs_from_the_lock_is_refused_although_the_archive_signed_it(
    archive: Archive, tmp_path: Path
) -> None:
    other = tools(archive)[0].model_copy(update={"sha256": "0" * 64})
    with pytest.raises(InfraError, match=f"{'0' * 64} was not found"):
        archive.download([other], "x86_64", tmp_path, deadline=soon())
    assert not list(tmp_path.glob("*.deb"))
    assert archive.lacks([other], "x86_64", deadline=soon()) == (other,)


def test_a_version_that_left_the_archive_says_how_to_renew(archive: Archive, tmp_path: Path) -> None:
    gone = tools(archive)[0].model_copy(update={"version": "1:0.9-1"})
    with pytest.raises(InfraError, match="no longer has it") as caught:
        archive.download([gone], "x86_64", tmp_path, deadline=soon())
    assert "runner kernels lock" in caught.value.hint
    assert archive.lacks([gone], "x86_64", deadline=soon()) == (gone,)


@pytest.mark.parametrize("said", [b"older", b"other"])
def test_what_left_the_lists_and_is_still_in_the_pool_is_fetched_by_the_pin(
    archive: Archive, mirror: Path, tmp_path: Path, web: Web, said: bytes
) -> None:
    web.folders["debian"] = mirror
    (mirror / "pool/tool_0.9-1_amd64.deb").write_bytes(said)
    served = archive.at(Repository(f"{web.address}/debian", ("main",), mirror / "keyring.gpg"))
    older = tools(archive)[0].model_copy(
        update={"version": "1:0.9-1", "sha256": sha256(b"older").hexdigest(), "size_bytes": 5}
    )
    assert served.lacks([older], "x86_64", deadline=soon()) == ()
    assert archive.lacks([older], "x86_64", deadline=soon()) == (older,), "that one is on no HTTP server"
    if said == b"older":
        (file,) = served.download([older], "x86_64", tmp_path, deadline=soon()).values()
        assert file.read_bytes() == said
    else:
        with pytest.raises(InfraError, match="sha256 is"):
            served.download([older], "x86_64", tmp_path, deadline=soon())
    with pytest.raises(InfraError, match="no longer has it"):
        served.download([older.model_copy(update={"size_bytes": 6})], "x86_64", tmp_path, deadline=soon())


def test_an_archive_that_debian_did_not_sign_is_refused(
    archive: Archive, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mirror / "other.gpg").write_bytes(b"")
    monkeypatch.setattr(archive_module, "KEYRING", mirror / "other.gpg")
    with pytest.raises(InfraError, match="lists of trixie"):
        archive.update([PAIR], deadline=soon())
    with pytest.raises(InfraError, match="lists of trixie"):
        archive.kernel_packages(*PAIR, deadline=soon())


def test_changed_lists_are_refused(archive: Archive, mirror: Path) -> None:
    packages = mirror / "dists/trixie/main/binary-amd64/Packages.gz"
    packages.write_bytes((mirror / "dists/forky/main/binary-amd64/Packages.gz").read_bytes())
    with pytest.raises(InfraError, match="lists of trixie"):
        archive.update([PAIR], deadline=soon())


def test_no_network_names_the_suite_and_the_way_out(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "find_mirrors", lambda **_: Mirrors(f"copy:{tmp_path}/nowhere"))
    with pytest.raises(InfraError, match="lists of trixie") as caught:
        archive.update([PAIR], deadline=soon())
    assert "RUNNER_MIRROR" in caught.value.hint


def test_fresh_lists_are_not_fetched_again(archive: Archive, mirror: Path) -> None:
    archive.update([PAIR], deadline=soon())
    (mirror / "dists/trixie/InRelease").unlink()
    archive.update([PAIR], deadline=soon())
    with pytest.raises(InfraError):
        archive.update([PAIR], deadline=soon(), max_age_s=0)


def test_lists_beyond_their_time_are_used_with_a_warning(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        archive.update([PAIR, ("forky", "x86_64")], deadline=soon())
        archive.update([("forky", "x86_64")], deadline=soon(), max_age_s=0)
    assert [record.getMessage().count("forky") for record in caplog.records] == [1]
    assert "Sat, 01 Nov 2025" in caplog.text


def test_a_full_disk_is_told_before_anything_is_fetched(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tools(archive)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(InfraError, match=r"needs .* MiB in"):
        archive.download(packages, "x86_64", tmp_path, deadline=soon())


def test_the_user_names_the_mirrors() -> None:
    environ = {"RUNNER_MIRROR": "http://one.example/debian/", "RUNNER_SECURITY_MIRROR": "http://two.example/sec"}
    found = find_mirrors(deadline=Deadline.after(20, "limit"), environ=environ)
    assert found.of("trixie") == "http://one.example/debian"
    assert found.of("trixie-security") == "http://two.example/sec"


def test_security_updates_are_looked_for_beside_the_only_mirror_that_apt_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, said in (("apt-get", "'http://one.example/debian/dists/trixie/InRelease' file 0 "), ("apt-config", "")):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{said}"\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = find_mirrors(deadline=soon(), environ={})
    assert found.of("trixie-security") == "http://one.example/debian-security"
