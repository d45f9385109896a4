# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""matrix.lock: which exact packages a matrix stands for, and how it is kept up to date."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import ValidationError

from runner import userfile
from runner.errors import InfraError, UserError, first_of
from runner.images import have_image, image_packages, lock_image
from runner.kernels import Means, have_kernel, lock_kernels, source_of
from runner.kernels.registry import ContainerImage
from runner.model import ImagePin, Lock, Package, Pin, Wanted, WantedImage
from runner.store import write_atomically
from runner.text import counted

log = logging.getLogger(__name__)

_RENEW = "`runner kernels lock` pins what the archive has now"

# keep: what is pinned stays as long as it can be had; locked: it must; renew: pin everything anew
Mode = Literal["keep", "locked", "renew"]


def read_lock(path: Path) -> Lock:
    """The lock; empty when there is no such file. Raises UserError when it cannot be read."""
    if not path.exists():
        return Lock()
    try:
        return Lock.model_validate_json(userfile.read(path))
    except ValidationError as error:
        raise UserError(f"{path}: {first_of(error)}", hint="delete it; `runner kernels lock` writes it anew") from None


def write_lock(path: Path, lock: Lock) -> None:
    """Write it so that the same lock is always the same bytes. Raises InfraError when that is not possible."""
    try:
        write_atomically(path, lock_text(lock).encode())
    except OSError as error:
        raise InfraError(f"cannot write {path}: {error.strerror}") from error


def lock_text(lock: Lock) -> str:
    """The file's content: sorted, one value a line, so that a version control system shows what changed."""
    kernels = sorted(lock.kernels, key=lambda kernel: (kernel.source, kernel.arch, kernel.upstream, kernel.release))
    images = sorted(lock.images, key=lambda image: (image.suite, image.arch, image.added, image.oci))
    return Lock(kernels=tuple(kernels), images=tuple(images)).model_dump_json(indent=1) + "\n"


def settle(
    wanted: Iterable[Wanted],
    image: WantedImage,
    lock: Lock,
    means: Means,
    *,
    mode: Mode,
    offline: bool,
    places: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Lock, tuple[str, ...]]:
    """A lock in which everything wanted is pinned to what can be had, and warnings that name what was replaced.

    Reaches for the archive only when something is neither pinned nor in the cache. Entries that are not wanted stay,
    unless everything is renewed. Where the archive cannot be asked, pins stay, unless it can be asked about none.
    Raises UserError (no such kernel), InfraError (offline, no network, mode `locked`). `places` tell FILE:LINE of a
    kernel's source.
    """
    rules = _Rules(means, mode, offline)
    kernels: dict[tuple[str, str], tuple[Pin, ...]] = {}
    for pin in lock.kernels:
        kernels[pin.source, pin.arch] = (*kernels.get((pin.source, pin.arch), ()), pin)
    images = {(pin.named, pin.arch): pin for pin in lock.images}
    new_kernels: dict[tuple[str, str], tuple[Pin, ...]] = {}
    for kernel in wanted:
        place = (kernel.source, kernel.arch)
        if place not in new_kernels:
            try:
                new_kernels[place] = rules.kernels(kernel, kernels.get(place, ()))
            except UserError as error:
                where = f"{places[kernel.source]}: " if kernel.source in places else ""
                raise type(error)(f"{where}{error.what}", hint=error.hint) from None
    alone = image.model_copy(update={"oci": ""})
    new_images = {
        (image.named, arch): rules.image(image, arch, images.get((image.named, arch), images.get((alone.named, arch))))
        for arch in sorted({arch for _, arch in new_kernels})
    }
    for unsure, of in ((rules.unsure_kernels, new_kernels), (rules.unsure_images, new_images)):
        if len(unsure) == len(of) > 0:
            raise unsure[0]
    if mode != "renew":
        new_kernels, new_images = kernels | new_kernels, images | new_images
    pins = tuple(pin for group in new_kernels.values() for pin in group)
    return Lock(kernels=pins, images=tuple(new_images.values())), tuple(rules.warnings)


@dataclass(frozen=True, slots=True)
class _Rules:
    """What may happen to a pin."""

    means: Means
    mode: Mode
    offline: bool
    warnings: list[str] = field(default_factory=list)
    unsure_kernels: list[InfraError] = field(default_factory=list)  # one for each source and architecture
    unsure_images: list[InfraError] = field(default_factory=list)

    def kernels(self, wanted: Wanted, old: tuple[Pin, ...]) -> tuple[Pin, ...]:
        """The pins of one source on one architecture: the old ones, but for those that cannot be had any more."""
        what, source = f"kernel {wanted.source} for {wanted.arch}", source_of(wanted.source)
        lost: dict[Pin, str] = {}
        try:
            for pin in old if self.mode != "renew" else ():
                cached, look = have_kernel(pin, self.means.cache), partial(source.lost, pin, self.means)
                if why := self._lost(what, look, cached=cached, local=source.local):
                    lost[pin] = why
        except InfraError as error:
            self._stay(what, error, self.unsure_kernels)
            return old
        if old and not lost and self.mode != "renew":
            return old
        self._may_pin(what, local=source.local)
        try:
            fresh = lock_kernels(wanted, self.means)
        except UserError:
            # nothing takes its place, but what was copied into the cache before is still as good
            if lost and all(have_kernel(pin, self.means.cache) for pin in lost):
                return old
            raise
        if not lost:
            self._note(what, _titles(old), _titles(fresh))
            return fresh
        kept = tuple(pin for pin in old if pin not in lost)
        new = tuple(pin for pin in fresh if not kept or _takes_a_place(pin, lost, kept))
        for pin, why in lost.items():
            self.warnings.append(f"{what}: {_title(pin)}: {why}; replaced by {_titles(new) or 'nothing'}")
        return (*kept, *new)

    def _lost(self, what: str, look: Callable[[], str], *, cached: bool, local: bool) -> str:
        """Why a pin cannot stay, as far as `look` tells; empty when it can. Raises InfraError in mode `locked`.

        Offline, a pin that is not in the cache stays too: the cell that needs it will say that it has no answer.
        """
        if (cached and (not local or self.mode == "locked")) or (self.offline and not local):
            return ""
        why = look()
        if why and self.mode == "locked":
            raise InfraError(f"{what}: {why}", hint=_RENEW)
        return why

    def image(self, wanted: WantedImage, arch: str, old: ImagePin | None) -> ImagePin:
        """The pin of an image. `old` may lack its container image: its packages are taken as they are pinned."""
        what = f"image {wanted} for {arch}"
        container = ContainerImage.named(wanted.oci) if wanted.oci else None
        try:
            stays = old is not None and self.mode != "renew" and not self._packages_lost(what, old)
        except InfraError as error:
            self._stay(what, error, self.unsure_images)
            stays = True
        if old and stays:
            why = self._container_lost(what, old, container) if container and old.oci else ""
            if container is None or (old.oci and not why):
                return old
            self._may_pin(what, local=container.is_local)
            file = container.pinned(arch, self.means.deadline)
            if why:
                self.warnings.append(f"{what}: {why}; replaced by sha256:{file.sha256}")
            return old.model_copy(update={"oci": wanted.oci, "files": (file,)})
        self._may_pin(what)
        new = lock_image(wanted, arch, self.means.archive, deadline=self.means.deadline)
        before, after = _changed(old, new)
        if before is not None and self.mode == "keep":
            self.warnings.append(f"{what}: {before} left the archive, replaced by {after}")
        else:
            self._note(what, before or "", after)
        return new

    def _stay(self, what: str, error: InfraError, unsure: list[InfraError]) -> None:
        """Keep pins that may be lost: a cell that needs what is gone will say so. Raises `error` in mode `locked`."""
        if self.mode == "locked":
            raise error
        self.warnings.append(f"{what}: the pins stay, perhaps out of date: {error.what}")
        unsure.append(error)

    def _packages_lost(self, what: str, pin: ImagePin) -> str:
        def look() -> str:
            lost = self.means.archive.lacks(image_packages(pin), pin.arch, deadline=self.means.deadline)
            return f"{_names(lost)} left the archive" if lost else ""

        return self._lost(what, look, cached=have_image(pin.system, self.means.cache), local=False)

    def _container_lost(self, what: str, pin: ImagePin, container: ContainerImage) -> str:
        def look() -> str:
            (file,), deadline = pin.files, self.means.deadline
            if (why := container.lost(file.sha256, deadline)) or not container.is_local:
                return why
            return "" if container.pinned(pin.arch, deadline) == file else "it changed since it was pinned"

        return self._lost(what, look, cached=have_image(pin, self.means.cache), local=container.is_local)

    def _may_pin(self, what: str, *, local: bool = False) -> None:
        """Raises InfraError when nothing may be pinned. What lies on this machine can be pinned without network."""
        if self.mode == "locked":
            raise InfraError(f"{what} is not in the lock", hint=_RENEW)
        if self.offline and not local:
            raise InfraError(f"{what} is not in the lock, and pinning it needs the network", hint=_RENEW)

    def _note(self, what: str, old: str, new: str) -> None:
        if not old:
            log.info("%s: pinned %s", what, new)
        elif old != new:
            log.info("%s: %s -> %s", what, old, new)


def _takes_a_place(pin: Pin, gone: Iterable[Pin], kept: Iterable[Pin]) -> bool:
    """In a range: is it of the series of one that is gone, and not there already?"""
    series = {(old.upstream.series, old.variant) for old in gone}
    return (pin.upstream.series, pin.variant) in series and pin.release not in {old.release for old in kept}


def _titles(kernels: Iterable[Pin]) -> str:
    return ", ".join(map(_title, kernels))


def _title(kernel: Pin) -> str:
    return f"{kernel.release} ({kernel.version})"


def _changed(old: ImagePin | None, new: ImagePin) -> tuple[str | None, str]:
    """The packages that differ, before and after; None before when there was nothing."""
    before = set(old.packages) if old else set()
    after = set(new.packages)
    if old is None:
        return None, counted(len(after), "package")
    return _names(before - after), _names(after - before)


def _names(packages: Iterable[Package]) -> str:
    return ", ".join(sorted({f"{package.name} {package.version}" for package in packages})) or "the same packages"


def replaced(kernel: Pin, before: Sequence[Pin], now: Sequence[Pin]) -> str:
    """` (was 6.12.117)` where a new pin took the place of another; empty where it did not."""

    def alike(pins: Sequence[Pin]) -> list[Pin]:
        place = (kernel.source, kernel.arch, kernel.variant)
        return [pin for pin in pins if (pin.source, pin.arch, pin.variant) == place]

    gone = [pin for pin in alike(before) if pin not in now]
    if len(alike(now)) > 1:  # a range: each series has its own place
        gone = [pin for pin in gone if pin.upstream.series == kernel.upstream.series]
    if kernel in before or not gone:
        return ""
    return f" (was {', '.join(_told_apart(pin, kernel) for pin in gone)})"


def _told_apart(old: Pin, new: Pin) -> str:
    if old.version != new.version:
        return old.version
    return old.release if old.release != new.release else "another build"
