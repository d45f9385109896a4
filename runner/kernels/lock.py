"""matrix.lock: which exact packages a matrix stands for, and how it is kept up to date."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from runner.archive import Archive
from runner.deadline import Deadline
from runner.errors import InfraError, MatrixError
from runner.images import have_image, image_packages, lock_image
from runner.kernels import have_kernel, lock_kernel
from runner.model import Lock, LockedImage, LockedKernel, Package, Wanted
from runner.store import write_atomically

log = logging.getLogger(__name__)

_RENEW = "`runner kernels lock` pins what the archive has now"

# keep: what is pinned stays as long as it can be had; locked: it must; renew: pin everything anew
Mode = Literal["keep", "locked", "renew"]


def read_lock(path: Path) -> Lock:
    """The lock; empty when there is no such file. MatrixError when it cannot be read."""
    try:
        return Lock.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Lock()
    except OSError as error:
        raise MatrixError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise MatrixError(
            f"{path}: {f'{place}: ' if place else ''}{first['msg']}",
            hint="delete it; `runner kernels lock` writes it anew",
        ) from None


def write_lock(path: Path, lock: Lock) -> None:
    """Write it so that the same lock is always the same bytes. InfraError when that is not possible."""
    try:
        write_atomically(path, lock_text(lock).encode())
    except OSError as error:
        raise InfraError(f"cannot write {path}: {error.strerror}") from error


def lock_text(lock: Lock) -> str:
    """The file's content: sorted, one value a line, so that a version control system shows what changed."""
    kernels = sorted(lock.kernels, key=lambda kernel: (kernel.source, kernel.arch))
    images = sorted(lock.images, key=lambda image: (image.suite, image.arch))
    return Lock(kernels=tuple(kernels), images=tuple(images)).model_dump_json(indent=1) + "\n"


def settle(
    wanted: Iterable[Wanted],
    image_suite: str,
    lock: Lock,
    archive: Archive,
    cache: Path,
    *,
    mode: Mode,
    offline: bool,
    deadline: Deadline,
) -> tuple[Lock, tuple[str, ...]]:
    """A lock in which everything wanted is pinned to what can be had, and warnings that name what was replaced.

    Reaches for the archive only when something is neither pinned nor in the cache. Entries that are not wanted stay,
    unless everything is renewed. Raises MatrixError (no such kernel), InfraError (offline, no network, mode `locked`).
    """
    rules = _Rules(archive, mode, offline, deadline, [])
    kernels = {(pin.source, pin.arch): pin for pin in lock.kernels}
    images = {(pin.suite, pin.arch): pin for pin in lock.images}
    new_kernels: dict[tuple[str, str], LockedKernel] = {}
    for kernel in wanted:
        place = (kernel.source, kernel.arch)
        old = kernels.get(place)
        what = f"kernel {kernel.source} for {kernel.arch}"
        if old and rules.stays(what, old, cached=have_kernel(old, cache)):
            new_kernels[place] = old
        elif place not in new_kernels:
            new_kernels[place] = new = lock_kernel(kernel, archive, deadline=rules.may_pin(what))
            rules.note(what, _title(old) if old else None, _title(new))
    new_images: dict[tuple[str, str], LockedImage] = {}
    for arch in sorted({arch for _, arch in new_kernels}):
        place = (image_suite, arch)
        pinned = images.get(place)
        what = f"image {image_suite} for {arch}"
        if pinned and rules.stays(what, pinned, cached=have_image(pinned, cache)):
            new_images[place] = pinned
        else:
            new_images[place] = fresh = lock_image(image_suite, arch, archive, deadline=rules.may_pin(what))
            rules.note(what, *_changed(pinned, fresh))
    if mode != "renew":
        new_kernels, new_images = kernels | new_kernels, images | new_images
    return Lock(kernels=tuple(new_kernels.values()), images=tuple(new_images.values())), tuple(rules.warnings)


@dataclass(frozen=True, slots=True)
class _Rules:
    """What may happen to a pin."""

    archive: Archive
    mode: Mode
    offline: bool
    deadline: Deadline
    warnings: list[str]

    def stays(self, what: str, pin: LockedKernel | LockedImage, *, cached: bool) -> bool:
        """Offline, a pin that is not in the cache stays too: the cell that needs it will say that it has no answer."""
        if self.mode == "renew":
            return False
        if cached or self.offline:
            return True
        lost = self.archive.lacks(needed(pin), pin.arch, deadline=self.deadline)
        if lost and self.mode == "locked":
            raise InfraError(f"{what}: {_names(lost)} left the archive", hint=_RENEW)
        return not lost

    def may_pin(self, what: str) -> Deadline:
        """The deadline for pinning; InfraError when nothing may be pinned."""
        if self.mode == "locked":
            raise InfraError(f"{what} is not in the lock", hint=_RENEW)
        if self.offline:
            raise InfraError(f"{what} is not in the lock, and pinning it needs the network", hint=_RENEW)
        return self.deadline

    def note(self, what: str, old: str | None, new: str) -> None:
        """A replacement is a warning; a first pin is not, and neither is a pin that came out the same."""
        if old is None:
            log.info("%s: pinned %s", what, new)
        elif self.mode == "keep":
            self.warnings.append(f"{what}: {old} left the archive, replaced by {new}")
        elif old != new:
            log.info("%s: %s -> %s", what, old, new)


def needed(pin: LockedKernel | LockedImage) -> tuple[Package, ...]:
    """Those of the packages that this machine would download."""
    return pin.packages if isinstance(pin, LockedKernel) else tuple(image_packages(pin))


def _title(kernel: LockedKernel) -> str:
    return f"{kernel.release} ({kernel.version})"


def _changed(old: LockedImage | None, new: LockedImage) -> tuple[str | None, str]:
    """The packages that differ, before and after; None before when there was nothing."""
    before = set(old.packages) if old else set()
    after = set(new.packages)
    if old is None:
        return None, f"{len(after)} packages"
    return _names(before - after), _names(after - before)


def _names(packages: Iterable[Package]) -> str:
    return ", ".join(sorted({f"{package.name} {package.version}" for package in packages})) or "the same packages"
