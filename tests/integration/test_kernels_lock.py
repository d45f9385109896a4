# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""matrix.lock: what stays, what is replaced, what is an error."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from runner import images
from runner.errors import InfraError, UserError
from runner.kernels import Means, ensure_kernel, have_kernel
from runner.kernels.archive import Archive
from runner.matrix import lock as lock_module
from runner.matrix.lock import Mode, lock_text, read_lock, settle, write_lock
from runner.model import ImagePin, Lock, Package, Pin, Wanted, WantedImage
from runner.model.deadline import Deadline
from tests.samples import ROOT, soon
from tests.unit import kernel_samples

ARCH = "x86_64"
OLD = Wanted(name="old", source="debian:trixie/6.12", arch=ARCH)
NEW = Wanted(name="new", source="debian:trixie/7", arch=ARCH)
IMAGE = WantedImage(suite="trixie")


@pytest.fixture(autouse=True)
def small_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of one package: the archive of the tests has no more."""

    def lock_image(wanted: WantedImage, arch: str, archive: Archive, **limits: object) -> ImagePin:
        packages = archive.closure(["tool"], wanted.suite, arch, deadline=soon())
        return ImagePin(suite=wanted.suite, added=wanted.added, arch=arch, packages=packages)

    monkeypatch.setattr(lock_module, "lock_image", lock_image)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def settled(
    archive: Archive,
    cache: Path,
    lock: Lock,
    *wanted: Wanted,
    mode: Mode = "keep",
    offline: bool = False,
    image: WantedImage = IMAGE,
) -> tuple[Lock, tuple[str, ...]]:
    return settle(wanted, image, lock, Means(archive, cache, soon()), mode=mode, offline=offline)


def older(lock: Lock, mirror: Path, *, in_archive: bool, source: str = OLD.source) -> Lock:
    """The lock with its 6.12 pinned to 6.12.9, which the archive still has, or has never had."""
    (pin,) = (kernel for kernel in lock.kernels if kernel.source == source and kernel.version.startswith("6.12"))
    file = mirror / "pool/linux-image-6.12.9+deb13-amd64_6.12.9-1_amd64.deb"
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if in_archive else "0" * 64
    package = pin.packages[0].model_copy(
        update={
            "name": "linux-image-6.12.9+deb13-amd64",
            "version": "6.12.9-1",
            "sha256": digest,
            "size_bytes": file.stat().st_size,
        }
    )
    update = {"version": "6.12.9", "release": "6.12.9+deb13-amd64", "packages": (package,)}
    others = tuple(kernel for kernel in lock.kernels if kernel is not pin)
    return lock.model_copy(update={"kernels": (*others, pin.model_copy(update=update))})


def versions(lock: Lock) -> list[str]:
    return sorted(kernel.version for kernel in lock.kernels)


def test_what_is_missing_is_pinned_without_a_warning(archive: Archive, cache: Path) -> None:
    lock, warnings = settled(archive, cache, Lock(), OLD, NEW)
    assert versions(lock) == ["6.12.10", "7.1.2"]
    assert [(image.suite, image.arch) for image in lock.images] == [("trixie", ARCH)]
    assert warnings == ()


def test_an_image_with_more_packages_is_pinned_beside_the_other(archive: Archive, cache: Path) -> None:
    lock, _ = settled(archive, cache, Lock(), OLD)
    more = WantedImage(suite="trixie", added=("one", "two"))
    both, warnings = settled(archive, cache, lock, OLD, image=more)
    assert [image.added for image in both.images] == [(), ("one", "two")]
    assert warnings == ()
    assert settled(archive, cache, both, OLD, mode="locked", image=more) == (both, ())
    assert Lock.model_validate_json(lock_text(both)) == both


def test_a_package_that_no_archive_has_is_the_users_mistake(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "PACKAGES", ("tool",))
    with pytest.raises(UserError, match="trixie has no package nonesuch for x86_64"):
        images.lock_image(WantedImage(suite="trixie", added=("nonesuch",)), ARCH, archive, deadline=soon())


def test_a_pin_stays_while_the_archive_has_it(archive: Archive, cache: Path, mirror: Path) -> None:
    lock, _ = settled(archive, cache, Lock(), OLD)
    lock = older(lock, mirror, in_archive=True)
    assert settled(archive, cache, lock, OLD) == (lock, ())
    assert settled(archive, cache, lock, OLD, mode="locked") == (lock, ())


def test_a_pin_that_left_the_archive_is_replaced_with_a_warning_that_names_both(
    archive: Archive, cache: Path, mirror: Path
) -> None:
    fresh, _ = settled(archive, cache, Lock(), OLD)
    lock, warnings = settled(archive, cache, older(fresh, mirror, in_archive=False), OLD)
    assert lock == fresh
    (warning,) = warnings
    assert "6.12.9+deb13-amd64" in warning
    assert "6.12.10+deb13-amd64" in warning


def test_pins_of_an_archive_that_cannot_be_asked_stay_unless_it_can_be_asked_of_none(
    archive: Archive, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, _ = settled(archive, cache, Lock(), OLD, NEW)
    lacks = archive.lacks

    def out_of_step(packages: Iterable[Package], arch: str, **limits: Deadline) -> tuple[Package, ...]:
        if any(name in package.name for package in packages for name in broken):
            raise InfraError("the lists do not fit each other")
        return lacks(packages, arch, **limits)

    monkeypatch.setattr(Archive, "lacks", lambda self, *given, **limits: out_of_step(*given, **limits))
    kept = {pin.source: pin.packages[0].name for pin in lock.kernels}
    broken = [kept[OLD.source]]
    after, warnings = settled(archive, cache, lock, OLD, NEW)
    assert after == lock
    assert [it for it in warnings if "the pins stay" in it and OLD.source in it] == list(warnings)
    with pytest.raises(InfraError, match="do not fit each other"):
        settled(archive, cache, lock, OLD, NEW, mode="locked")
    broken[:] = kept.values()
    with pytest.raises(InfraError, match="do not fit each other"):
        settled(archive, cache, lock, OLD, NEW)
    broken[:] = ["tool"]
    with pytest.raises(InfraError, match="do not fit each other"):
        settled(archive, cache, lock, OLD, NEW)


def test_locked_refuses_to_replace_and_to_add(archive: Archive, cache: Path, mirror: Path) -> None:
    fresh, _ = settled(archive, cache, Lock(), OLD)
    with pytest.raises(InfraError, match=r"6\.12\.9-1 left the archive") as caught:
        settled(archive, cache, older(fresh, mirror, in_archive=False), OLD, mode="locked")
    assert "runner kernels lock" in caught.value.hint
    with pytest.raises(InfraError, match="not in the lock"):
        settled(archive, cache, fresh, OLD, NEW, mode="locked")


def test_renewing_pins_the_newest_and_drops_what_nobody_wants(archive: Archive, cache: Path, mirror: Path) -> None:
    both, _ = settled(archive, cache, Lock(), OLD, NEW)
    lock, warnings = settled(archive, cache, older(both, mirror, in_archive=True), OLD, mode="renew")
    assert versions(lock) == ["6.12.10"]
    assert warnings == ()


def test_what_nobody_wants_now_stays_otherwise(archive: Archive, cache: Path) -> None:
    both, _ = settled(archive, cache, Lock(), OLD, NEW)
    assert settled(archive, cache, both, NEW) == (both, ())


def test_a_cached_pin_needs_no_network(
    archive: Archive, cache: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, _ = settled(archive, cache, Lock(), OLD)
    ensure_kernel(lock.kernels[0], cache, deadline=soon())
    monkeypatch.setattr(lock_module, "have_image", lambda *_: True)
    shutil.rmtree(mirror)
    shutil.rmtree(cache / "apt")
    assert settled(archive, cache, lock, OLD) == (lock, ())
    with pytest.raises(InfraError):
        settled(archive, cache, lock, OLD, NEW)


def test_offline_keeps_the_pins_and_refuses_new_ones(archive: Archive, cache: Path, mirror: Path) -> None:
    lock, _ = settled(archive, cache, Lock(), OLD)
    shutil.rmtree(mirror)
    assert settled(archive, cache, lock, OLD, offline=True) == (lock, ())
    with pytest.raises(InfraError, match="not in the lock"):
        settled(archive, cache, lock, NEW, offline=True)


def pinned(archive: Archive, cache: Path, wanted: Wanted) -> Pin:
    lock, _ = settled(archive, cache, Lock(), wanted)
    return lock.kernels[0]


@pytest.mark.parametrize("wanted", [OLD, NEW])
def test_a_kernel_is_fetched_unpacked_and_kept(archive: Archive, cache: Path, mirror: Path, wanted: Wanted) -> None:
    locked = pinned(archive, cache, wanted)
    assert not have_kernel(locked, cache)
    kernel = ensure_kernel(locked, cache, deadline=soon())
    assert have_kernel(locked, cache)
    assert Path(kernel.image).name == f"vmlinuz-{locked.release}"
    assert locked.release in Path(kernel.image).read_text()
    assert locked.release in Path(kernel.config).read_text()
    assert (Path(kernel.root) / "lib/modules" / locked.release / "modules.dep").is_file()
    shutil.rmtree(mirror)
    assert ensure_kernel(locked, cache, deadline=soon(), offline=True) == kernel


def test_offline_says_how_to_get_a_kernel(archive: Archive, cache: Path) -> None:
    with pytest.raises(InfraError, match="not in the cache") as caught:
        ensure_kernel(pinned(archive, cache, OLD), cache, deadline=soon(), offline=True)
    assert "runner kernels fetch" in caught.value.hint


def test_the_file_is_the_same_for_the_same_lock(archive: Archive, cache: Path, tmp_path: Path) -> None:
    lock, _ = settled(archive, cache, Lock(), OLD, NEW)
    backwards = Lock(kernels=lock.kernels[::-1], images=lock.images)
    assert lock_text(lock) == lock_text(backwards)
    assert lock_text(lock).endswith("}\n")
    path = tmp_path / "matrix.lock"
    assert read_lock(path) == Lock()
    write_lock(path, backwards)
    assert lock_text(read_lock(path)) == lock_text(lock)
    write_lock(path, Lock())
    assert read_lock(path) == Lock()
    assert not list(tmp_path.glob(".matrix.lock*"))


def conflict(text: str) -> str:
    return f"<<<<<<< ours\n{text}"


def strange_key(text: str) -> str:
    return text.replace('"kernels"', '"kernel"', 1)


def shell_in_a_release(text: str) -> str:
    return text.replace("+deb13", ";reboot;")


@pytest.mark.parametrize("harm", [conflict, strange_key, shell_in_a_release, lambda text: text[:-20]])
def test_a_lock_that_cannot_be_read_is_the_users_and_names_the_file(
    archive: Archive, cache: Path, tmp_path: Path, harm: Callable[[str], str]
) -> None:
    lock, _ = settled(archive, cache, Lock(), OLD)
    path = tmp_path / "matrix.lock"
    path.write_text(harm(lock_text(lock)))
    with pytest.raises(UserError, match=r"matrix\.lock: ") as caught:
        read_lock(path)
    assert "runner kernels lock" in caught.value.hint


def test_the_lock_of_this_project_is_in_its_own_form() -> None:
    path = ROOT / "matrix.lock"
    lock = read_lock(path)
    assert path.read_text() == lock_text(lock)
    architectures = [{package.architecture for package in image.packages} for image in lock.images]
    assert architectures == [{"amd64", "arm64", "all"}] * len(lock.images) != []


RANGE = Wanted(name="trixie", source="debian:trixie/>=6.12", arch=ARCH, which="newest-of-series")


def test_a_range_is_pinned_to_each_of_its_kernels_and_stays(archive: Archive, cache: Path) -> None:
    lock, warnings = settled(archive, cache, Lock(), RANGE, OLD)
    assert versions(lock) == ["6.12.10", "6.12.10", "7.1.2", "7.3-rc1"]
    assert settled(archive, cache, lock, RANGE, OLD) == (lock, warnings)
    assert settled(archive, cache, lock, RANGE, mode="locked")[0] == lock
    assert Lock.model_validate_json(lock_text(lock)).kernels == read_back(lock)


def read_back(lock: Lock) -> tuple[Pin, ...]:
    return tuple(sorted(lock.kernels, key=lambda pin: (pin.source, pin.arch, pin.upstream)))


def test_what_a_range_lost_is_replaced_and_the_rest_stays(archive: Archive, cache: Path, mirror: Path) -> None:
    fresh, _ = settled(archive, cache, Lock(), RANGE)
    kept = tuple(pin for pin in fresh.kernels if pin.version != "7.1.2")  # as if 7.1 had come later
    lost = older(Lock(kernels=kept, images=fresh.images), mirror, in_archive=False, source=RANGE.source)
    lock, warnings = settled(archive, cache, lost, RANGE)
    assert versions(lock) == ["6.12.10", "7.3-rc1"]
    (warning,) = warnings
    assert "6.12.9-1 left the archive; replaced by 6.12.10+deb13-amd64" in warning
    assert settled(archive, cache, lost, RANGE, mode="renew")[0] == fresh


def test_a_kernel_of_this_machine_is_pinned_anew_when_it_was_built_again(
    archive: Archive, cache: Path, tmp_path: Path
) -> None:
    folder = kernel_samples.installed(tmp_path / "k")
    mine = Wanted(name="mine", source=f"path:{folder}", arch=ARCH)
    lock, _ = settled(archive, cache, Lock(), mine)
    ensure_kernel(lock.kernels[0], cache, deadline=soon())
    assert settled(archive, cache, lock, mine, offline=True) == (lock, ())
    (folder / f"boot/vmlinuz-{kernel_samples.RELEASE}").write_text("another image\n")
    assert settled(archive, cache, lock, mine, mode="locked") == (lock, ())  # what was pinned is in the cache
    new, (warning,) = settled(archive, cache, lock, mine, offline=True)
    assert new != lock
    assert "image changed since it was pinned; replaced by" in warning
    shutil.rmtree(folder)
    assert settled(archive, cache, lock, mine) == (lock, ())  # gone, but as good as it was


def test_an_older_lock_and_the_new_form_are_read_alike() -> None:
    package = {"name": "linux", "version": "1", "architecture": "amd64", "suite": "sid"}
    old: dict[str, object] = {"source": "debian:sid/7", "arch": ARCH, "version": "7.0", "release": "7.0-amd64"}
    old |= {"packages": [package | {"sha256": "0" * 64, "size_bytes": 1}]}
    pin = Pin.model_validate(old)
    assert pin.model_dump(mode="json") == old
    file = {"name": "image", "sha256": "1" * 64, "size_bytes": 7}
    new = old | {"files": [file], "variant": "rt"}
    assert Pin.model_validate(new).model_dump(mode="json") == new
