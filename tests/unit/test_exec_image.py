# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What `runner exec` holds against the image before it boots anything."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runner.cli.exec import Exec
from runner.errors import UserError
from runner.images.disk import host_architecture
from runner.model import Cell, ImagePin, Package, PinnedFile
from runner.project import Project
from tests import samples
from tests.unit.matrix_samples import loaded, small


def test_a_program_is_held_against_the_guests_libc_and_not_against_a_container_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy("/bin/true", tmp_path / "prog")
    project, asked = Project(loaded(tmp_path, small())), Exec(run=["./prog"])
    row = host_architecture()
    libc = Package(
        name="libc6", version="2.1-1", architecture=row.debian, suite="sid", sha256="0" * 64, size_bytes=1
    )  # fmt: skip
    plain = ImagePin(suite="sid", arch=row.name, packages=(libc,))
    image = PinnedFile(name="image", sha256="0" * 64, size_bytes=1)
    container = ImagePin(suite="sid", arch=row.name, packages=(libc,), oci="/x", files=(image,))

    def cell(pin: ImagePin) -> Cell:
        return samples.cell(samples.pin("6.12.1", row.name)).model_copy(update={"image": pin})

    with pytest.raises(UserError, match=r"needs glibc 2\.\d+, and the guest's image has 2\.1"):
        asked.check_program(project, [cell(plain)])
    asked.check_program(project, [cell(container)])


@pytest.mark.parametrize(
    ("word", "reference"),
    [
        ("oci:ghcr.io/me/tests:1", "ghcr.io/me/tests:1"),
        ("oci:/srv/image:v1", "/srv/image:v1"),
        ("oci:./image:v1", "{here}/image:v1"),
        ("oci:../image", "{above}/image"),
    ],
)
def test_an_image_is_named_by_its_registry_or_its_path(
    word: str, reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = Exec(image=word, package=["make"]).sized(Project(loaded(tmp_path, small()))).matrix.file.image
    assert image.oci == reference.format(here=tmp_path, above=tmp_path.parent)
    assert image.wanted.added == ("make",)
