"""From packages to a kernel's tree, whoever fetches the packages."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from runner.caches import need_space
from runner.kernels import modules
from runner.kernels.unpack import unpack_kernel
from runner.model import Pin
from runner.model.architecture import architecture
from runner.model.deadline import Deadline

log = logging.getLogger(__name__)

_UNPACKED_FACTOR = 9  # bytes on disk while unpacking, for each byte of the packages: 7 measured with 6.1 on x86_64


def fill(pin: Pin, tree: Path, download: Callable[[Path], Iterable[Path]], *, deadline: Deadline) -> None:
    """Fill the empty folder `tree`. `download` puts the packages into a folder, checked, and names the files."""
    start = time.monotonic()
    need_space(tree.parent, _UNPACKED_FACTOR * pin.size_bytes, f"kernel {pin.release}")
    folder = tree.parent / "debs"
    folder.mkdir()
    files = tuple(download(folder))
    fetched = time.monotonic()
    unpack_kernel(files, pin.release, architecture(pin.arch).image, modules.WANTED, tree, deadline=deadline)
    log.info(
        "kernel %s: %d MiB fetched in %.1f s, unpacked in %.1f s",
        pin.release,
        pin.size_bytes >> 20,
        fetched - start,
        time.monotonic() - fetched,
    )
