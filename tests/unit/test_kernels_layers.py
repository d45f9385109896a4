# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""An image's layers as one tree: what is hidden, what is linked, what is refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from runner.errors import InfraError
from runner.kernels.layers import Layers
from tests.unit.oci_fixture import files_layer, layer, link, member, on_disk


def tree(folder: Path, *layers: bytes) -> Layers:
    return Layers(on_disk(folder, *layers))


def content(layers: Layers, path: str, folder: Path) -> bytes:
    layers.extract(path, folder / "out", limit_bytes=1000)
    return (folder / "out").read_bytes()


def test_later_layers_win(tmp_path: Path) -> None:
    found = tree(tmp_path, files_layer({"./boot/a": b"1", "boot/b": b"1"}), files_layer({"boot/a": b"2"}))
    assert found.names("boot") == ("a", "b")
    assert found.names("") == ("boot",)
    assert content(found, "boot/a", tmp_path) == b"2"


def test_a_whiteout_removes_a_file_or_a_folder(tmp_path: Path) -> None:
    below = files_layer({"boot/a": b"1", "boot/b": b"1", "lib/modules/6.6/x": b"1", "lib/y": b"1"})
    found = tree(tmp_path, below, files_layer({"boot/.wh.a": b"", "lib/.wh.modules": b""}))
    assert found.names("boot") == ("b",)
    assert not found.has("boot/a")
    assert found.names("lib") == ("y",)
    assert found.below("lib/modules") == ()


def test_an_opaque_folder_keeps_what_its_own_layer_brings(tmp_path: Path) -> None:
    above = layer(member("boot/new"), member("boot/.wh..wh..opq"), member("boot/newer"))
    found = tree(tmp_path, files_layer({"boot/a": b"1", "bootleg": b"1"}), above)
    assert found.names("boot") == ("new", "newer")
    assert found.has("bootleg")


def test_a_file_in_the_place_of_a_folder_and_the_other_way_round(tmp_path: Path) -> None:
    found = tree(tmp_path, files_layer({"a/b": b"1", "c": b"1"}), files_layer({"a": b"2", "c/d": b"2"}))
    assert found.has("a")
    assert not found.has("a/b")
    assert content(found, "c/d", tmp_path) == b"2"


def test_links_stay_in_the_image(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        layer(
            member("usr/lib/modules/6.6/kernel/x.ko", b"x"),
            link("lib", "usr/lib"),
            link("boot/vmlinuz", "/boot/vmlinuz-6.6"),
            member("boot/vmlinuz-6.6", b"k"),
            member("boot/hard", kind=tarfile.LNKTYPE, to="boot/vmlinuz-6.6"),
            link("boot/out", "../../../../etc/passwd"),
            link("boot/loop", "loop"),
        ),
    )
    assert found.names("lib/modules") == ("6.6",)
    assert found.below("lib/modules/6.6") == ("usr/lib/modules/6.6/kernel/x.ko",)
    assert content(found, "boot/vmlinuz", tmp_path) == b"k"
    assert content(found, "boot/hard", tmp_path) == b"k"
    for nothing in ("boot/out", "boot/loop", "boot", "nonesuch"):
        assert not found.has(nothing)
        with pytest.raises(InfraError, match="no regular file"):
            found.extract(nothing, tmp_path / "out", limit_bytes=1000)


def packed(layers: Layers) -> dict[str, tuple[bytes, str]]:
    """What an archive of all of it has: the type and the content, or where a link leads."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.GNU_FORMAT) as archive:
        layers.pack(archive, "root", limit_bytes=1000)
    whole.seek(0)
    with tarfile.open(fileobj=whole) as archive:
        return {
            it.name: (it.type, it.linkname or (file.read().decode() if (file := archive.extractfile(it)) else ""))
            for it in archive
        }


def test_all_of_it_becomes_one_archive_in_which_folders_come_first(tmp_path: Path) -> None:
    below = layer(
        member("usr/lib/a", b"a"),
        link("lib", "usr/lib"),
        link("up", "."),
        member("usr/lib/same", kind=tarfile.LNKTYPE, to="usr/lib/a"),
        member("dev/null", kind=tarfile.CHRTYPE),
        member("pipe", kind=tarfile.FIFOTYPE),
    )
    # the second layer writes through links of the first, and replaces what a hard link leads to
    above = layer(
        member("lib/b", b"b"),
        link("lib/to-a", "a"),
        member("up/top", b"top"),
        member("usr/lib/a", b"new"),
        member("lib/.wh.nothing"),
    )
    found = tree(tmp_path, below, above)
    assert packed(found) == {
        "root/lib": (tarfile.SYMTYPE, "usr/lib"),
        "root/top": (tarfile.REGTYPE, "top"),
        "root/up": (tarfile.SYMTYPE, "."),
        "root/usr": (tarfile.DIRTYPE, ""),
        "root/usr/lib": (tarfile.DIRTYPE, ""),
        "root/usr/lib/a": (tarfile.REGTYPE, "new"),
        "root/usr/lib/b": (tarfile.REGTYPE, "b"),
        "root/usr/lib/same": (tarfile.REGTYPE, "a"),
        "root/usr/lib/to-a": (tarfile.SYMTYPE, "a"),
    }
    assert content(found, "lib/to-a", tmp_path) == b"new"


def test_a_hard_link_is_packed_once(tmp_path: Path) -> None:
    one = layer(member("b", b"x" * 600), *(member(name, kind=tarfile.LNKTYPE, to="b") for name in "ac"))
    assert packed(tree(tmp_path, one)) == {
        "root/a": (tarfile.REGTYPE, "x" * 600),
        "root/b": (tarfile.LNKTYPE, "root/a"),
        "root/c": (tarfile.LNKTYPE, "root/a"),
    }


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([member("a", kind=tarfile.LNKTYPE, to="nonesuch")], "links 'a' to 'nonesuch', which is no file"),
        ([link("a", "b"), link("b", "a"), member("a/x", b"x")], "names 'a/x', whose folder is a loop of links"),
        ([member("d", kind=tarfile.DIRTYPE), member("h", kind=tarfile.LNKTYPE, to="d")], "which is no file"),
    ],
)
def test_links_to_nowhere_are_refused(tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], says: str) -> None:
    with pytest.raises(InfraError, match=says):
        tree(tmp_path, layer(*members))


def test_more_than_is_allowed_is_not_packed(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="more than"):
        packed(tree(tmp_path, files_layer({"a": b"x" * 600, "b": b"x" * 600})))


@pytest.mark.parametrize("name", ["../evil", "boot/../../evil", "/etc/passwd", "a/../b"])
def test_what_leads_out_of_the_image_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InfraError, match="leads out of the image"):
        tree(tmp_path, layer(member(name, b"x")))
    with pytest.raises(InfraError, match="leads out of the image"):
        tree(tmp_path, layer(member("fine", kind=tarfile.LNKTYPE, to=name)))


def test_devices_are_nothing(tmp_path: Path) -> None:
    found = tree(tmp_path, layer(member("boot/vmlinuz", kind=tarfile.CHRTYPE), member("boot/p", kind=tarfile.FIFOTYPE)))
    assert not found.has("boot/vmlinuz")
    assert found.below("boot") == ()


def test_a_damaged_layer_and_a_file_that_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="cannot be read"):
        tree(tmp_path, b"no archive at all")
    with pytest.raises(InfraError, match="cannot be read"):
        tree(tmp_path, files_layer({"boot/vmlinuz": b"x" * 5000})[:1500])
    found = tree(tmp_path, files_layer({"boot/vmlinuz": b"x" * 5000}))
    with pytest.raises(InfraError, match="more than 1000"):
        content(found, "boot/vmlinuz", tmp_path)
