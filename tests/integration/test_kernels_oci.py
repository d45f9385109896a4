# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels in images: what is taken out of one, and a real skopeo with a registry on 127.0.0.1."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from pathlib import Path

import pytest

from runner.errors import InfraError, UserError
from runner.kernels import Means, config, ensure_kernel, layers, lock_kernels, source_of
from runner.kernels import registry as registry_module
from runner.kernels.archive import Archive
from runner.kernels.layers import Layers
from runner.kernels.needs import read_build
from runner.kernels.oci import OciSource
from runner.model import Pin, Wanted
from runner.process import require
from tests.integration.web_fixture import Fault, Web
from tests.samples import soon
from tests.unit.oci_fixture import Registry, files_layer, layer, link, member, on_disk

CONFIG = b"# Linux/x86 6.6.58 Kernel Configuration\nCONFIG_X86_64=y\nCONFIG_BPF_SYSCALL=y\n"
BANNER = b"\0Linux version 6.6.58 (builder@host) #1 SMP\n\0"
# like cilium's: one image, everything built in, its .config as well
IMAGE = b"head" + gzip.compress(BANNER + b"IKCFG_ST" + gzip.compress(CONFIG) + b"IKCFG_ED" + bytes(1 << 20)) + b"tail"
CI_KERNEL = {"boot/vmlinuz": IMAGE}
PACKED = {
    "boot/vmlinuz-6.12.9-x": b"a kernel",
    "boot/config-6.12.9-x": CONFIG.replace(b"6.6.58", b"6.12.9"),
    "lib/modules/6.12.9-x/modules.builtin": b"kernel/a.ko\n",
    "lib/modules/6.12.9-x/kernel/net/b.ko": b"",
}

live = pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")


def taken(folder: Path, *archives: bytes) -> tuple[str, bytes, str, list[str]]:
    """(release, image, config, modules)."""
    parts = layers.taken("oci:x", Layers(on_disk(folder, *archives)), folder / "parts")
    return parts.release, parts.image.read_bytes(), parts.options(), sorted(parts.modules)


def test_an_image_like_ciliums_tells_everything_itself(tmp_path: Path) -> None:
    release, image, config, modules = taken(tmp_path, files_layer(CI_KERNEL))
    assert (release, image, config, modules) == ("6.6.58", IMAGE, CONFIG.decode(), [])
    (tmp_path / "config").write_text(config)
    assert "EXT4_FS" in read_build(tmp_path / "config", "x86_64").lacks  # so its guest has no disk as its root


def test_modules_outside_of_kernel_are_found_as_well(tmp_path: Path) -> None:
    files = {**CI_KERNEL, "usr/lib/modules/6.6.58/extra/bpf_testmod.ko": b""}
    assert taken(tmp_path, layer(*(member(*one) for one in files.items()), link("lib", "usr/lib")))[3] == [
        "bpf_testmod"
    ]


def test_an_image_with_all_of_a_kernel(tmp_path: Path) -> None:
    with_link = layer(*(member(*one) for one in PACKED.items()), link("boot/vmlinuz", "vmlinuz-6.12.9-x"))
    release, image, config, modules = taken(tmp_path, with_link)
    assert (release, image, modules) == ("6.12.9-x", b"a kernel", ["b"])
    assert "6.12.9 Kernel Configuration" in config


@pytest.mark.parametrize("root", ["", "data/kernels/6.12/", "data/kernels/6.12.9-x/"])  # the last two as LVH has them
@pytest.mark.parametrize("boot", [True, False])
def test_a_kernel_may_lie_in_any_folder(tmp_path: Path, root: str, *, boot: bool) -> None:
    base = "usr/lib/modules/6.12.9-x"
    files = {root + path.replace("lib/modules/6.12.9-x", base): content for path, content in PACKED.items()}
    if not boot:  # as Fedora's packages have it
        files[f"{root}{base}/vmlinuz"] = files.pop(f"{root}boot/vmlinuz-6.12.9-x")
        files[f"{root}{base}/config"] = files.pop(f"{root}boot/config-6.12.9-x")
    release, image, config, modules = taken(tmp_path, files_layer(files))
    assert (release, image, modules) == ("6.12.9-x", b"a kernel", ["b"])
    assert "6.12.9 Kernel Configuration" in config


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"bin/sh": b""}, "no boot/vmlinuz"),
        ({"boot/vmlinuz-6.1": b"", "boot/vmlinuz-6.2": b""}, "vmlinuz-6.1, boot/vmlinuz-6.2"),
        ({"a/boot/vmlinuz-6.1": b"", "b/boot/vmlinuz-6.1": b""}, "a/boot/vmlinuz-6.1, b/boot/vmlinuz-6.1"),
        ({"boot/vmlinuz": b"no kernel"}, "does not tell its release"),
    ],
)
def test_what_is_no_kernel(tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    with pytest.raises(UserError, match=says):
        taken(tmp_path, files_layer(files))


def test_what_an_image_does_not_tell_is_not_known() -> None:
    for content in (b"", b"HdrS", b"\x1f\x8b\x08" * 100, bytes(0x202) + b"HdrS" + b"\xff" * 40, IMAGE[:300]):
        assert config.release_of(content) == ""
        assert config.config_of(content) == ""


def test_the_entry_of_a_matrix() -> None:
    (wanted,) = OciSource(oci="ghcr.io/cilium/ci-kernels:6.6").wanted("arm64")
    assert (wanted.name, wanted.source) == ("ci-kernels-6.6", "oci:ghcr.io/cilium/ci-kernels:6.6")
    assert OciSource(oci="localhost:5000/k@sha256:" + "a" * 64).called == "k-aaaaaaaaaaaa"
    both = OciSource(oci="quay.io/lvh-images/kernel-images:6.12-20260928.013030@sha256:" + "a" * 64)
    assert (both.called, both.image) == ("kernel-images-6.12-20260928.013030", "quay.io/lvh-images/kernel-images")
    for wrong in ("ubuntu:22.04", "ghcr.io/x", "ghcr.io/x/y", "--help", "ghcr.io/x:6.6 --all", "ghcr.io/../x:1"):
        with pytest.raises(ValueError, match="is not an image"):
            OciSource(oci=wrong)
        with pytest.raises(UserError, match="not a kernel source"):
            source_of(f"oci:{wrong}")


def test_without_skopeo_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InfraError, match="skopeo is not installed") as caught:
        pinned("ghcr.io/cilium/ci-kernels:6.6", tmp_path)
    assert "apt-get install" in caught.value.hint


# --- with a real skopeo ----------------------------------------------------------------------------------------------


@pytest.fixture
def registry(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    require("skopeo")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(registry_module, "RETRIES", "0")
    return Registry(web, home)


def pinned(reference: str, cache: Path, arch: str = "x86_64") -> Pin:
    wanted = Wanted(name="it", source=f"oci:{reference}", arch=arch)
    (kernel,) = lock_kernels(wanted, Means(Archive(cache), cache, soon()))
    return kernel


@live
def test_an_image_is_pinned_by_digest_and_comes_as_it_was(tmp_path: Path, registry: Registry) -> None:
    layers = [files_layer({"boot/vmlinuz-6.1": b"old"}), files_layer({**PACKED, "boot/.wh.vmlinuz-6.1": b""})]
    name = registry.push("kernels/x", "6.12", {"arm64": [files_layer({})], "amd64": layers})
    kernel = pinned(name, tmp_path)
    assert (kernel.version, kernel.release) == ("6.12.9", "6.12.9-x")
    registry.push("kernels/x", "6.12", {"amd64": [files_layer({"boot/vmlinuz-6.13": b"newer"})]})  # the tag moves on
    assert source_of(kernel.source).lost(kernel, Means(Archive(tmp_path), tmp_path, soon())) == ""
    found = ensure_kernel(kernel, tmp_path, deadline=soon())
    registry.web.files = {"v2/": b"{}"}
    assert source_of(kernel.source).lost(kernel, Means(Archive(tmp_path), tmp_path, soon())).endswith("any more")
    assert Path(found.image).read_bytes() == b"a kernel"
    assert (Path(found.root) / "lib/modules/6.12.9-x/modules.dep").exists()
    assert not list((tmp_path / "scratch").iterdir())


@live
def test_of_a_tag_and_a_digest_the_digest_counts(tmp_path: Path, registry: Registry) -> None:
    lvh = {f"data/kernels/6.12/{path}": content for path, content in PACKED.items()}
    name = registry.push("kernels/x", "6.12", {"amd64": [files_layer(lvh)]})
    digest = hashlib.sha256(registry.web.files["v2/kernels/x/manifests/6.12"]).hexdigest()
    registry.push("kernels/x", "6.12", {"amd64": [files_layer({"boot/vmlinuz-6.13": b"newer"})]})  # the tag moves on
    kernel = pinned(f"{name}@sha256:{digest}", tmp_path)
    assert kernel.release == "6.12.9-x"
    assert Path(ensure_kernel(kernel, tmp_path, deadline=soon()).image).read_bytes() == b"a kernel"


@live
def test_an_image_that_is_not_for_this_architecture_or_not_there(tmp_path: Path, registry: Registry) -> None:
    name = registry.push("kernels/x", "6.12", {"arm64": [files_layer(PACKED)]})
    with pytest.raises(UserError, match="no image for x86_64") as caught:
        pinned(name, tmp_path)
    assert "it has arm64" in caught.value.hint
    for nothing in (f"{registry.host}/kernels/nonesuch:1", f"{registry.host}/kernels/x@sha256:{'0' * 64}"):
        with pytest.raises(UserError, match="is not there"):
            pinned(nothing, tmp_path)
    with pytest.raises(InfraError, match="skopeo inspect"):
        pinned("127.0.0.1:9/kernels/x:1", tmp_path)


@live
def test_a_layer_that_was_changed_never_gets_into_the_cache(tmp_path: Path, registry: Registry) -> None:
    kernel = pinned(registry.push("kernels/x", "6.12", {"amd64": [files_layer(PACKED)]}), tmp_path)
    blobs = [path for path, content in registry.web.files.items() if "/blobs/" in path and content[:2] == b"\x1f\x8b"]
    for path in blobs:
        other = gzip.compress(files_layer({**PACKED, "boot/vmlinuz-6.12.9-x": b"evil!!!!"}), mtime=0)
        registry.web.fail(path, *[Fault(content=other)] * 9)
    with pytest.raises(InfraError, match=r"skopeo copy"):
        ensure_kernel(kernel, tmp_path, deadline=soon())
    assert not [path for path in (tmp_path / "kernels").rglob("*") if path.suffix != ".lock"]


@live
def test_an_image_that_names_files_outside_of_itself_is_refused(tmp_path: Path, registry: Registry) -> None:
    name = registry.push("kernels/x", "6.12", {"amd64": [files_layer({**PACKED, "../../evil": b"x"})]})
    with pytest.raises(InfraError, match="leads out of the image"):
        pinned(name, tmp_path)
    assert not list(tmp_path.rglob("evil"))
