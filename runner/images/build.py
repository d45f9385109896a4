# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Makes a guest's root disk with mmdebstrap, from exactly the packages that the lock names.

The packages are fetched and checked first, and put into a repository of their own: mmdebstrap sees no other archive.
`trusted=yes` there is honest, for every file's digest was held against the lock.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from runner.errors import InfraError
from runner.images.interpreter import Interpreter, parts
from runner.model import ImagePin, Package
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.process import run

_HERE = Path(__file__).parent
_EPOCH = "1704067200"  # the time of every file in the image: the same packages make the same bytes
# bookworm leaves this to a maintainer script, and none is run
_MERGE_USR = 'cd "$1" && for d in bin lib lib64 sbin; do mkdir -p "usr/$d"; ln -s "usr/$d" "$d"; done'
_ETC = {
    "passwd": "root:x:0:0:root:/root:/usr/bin/ash\n",
    "shadow": "root:*:1::::::\n",
    "group": "root:x:0:\ntty:x:5:\n",
    "shells": "/usr/bin/ash\n/usr/bin/sh\n/usr/bin/bash\n",  # dropbear refuses a user whose shell is not in here
    "hosts": "127.0.0.1 localhost\n",
    "fstab": "",
    "ld.so.conf": "/usr/local/lib\n",
}


_UNREAD = ("doc/*", "info/*", "lintian/*", "locale/*", "man/*")


def recipe() -> dict[str, str]:
    """All that the image depends on besides the packages."""
    scripts = ("guest-start.sh", "shrink.sh", "compile_tree.py")
    return (
        {name: (_HERE / name).read_text() for name in scripts}
        | _ETC
        | {"epoch": _EPOCH, "setup": _MERGE_USR, "recipe": "1"}
    )


def build_image(
    pin: ImagePin, debs: Mapping[Package, Path], interpreter: Interpreter, tree: Path, *, deadline: Deadline
) -> None:
    """Fill the empty folder `tree` with disk.ext2 and busybox/busybox. Raises InfraError with mmdebstrap's words."""
    with _workplace(tree.parent) as work:
        repository, overlay = work / "repository", work / "overlay"
        repository.mkdir()
        for deb in debs.values():
            shutil.copyfile(deb, repository / deb.name)
        write_index(repository, debs)
        _fill_overlay(overlay, debs, interpreter, deadline)
        hook = shutil.copy(_HERE / "shrink.sh", work)
        (work / "named").write_text("".join(f"{line}\n" for line in (*pin.added, *programs_of(pin, debs))))
        _open_to_all(work)
        Path(hook).chmod(0o755)
        disk = tree / "disk.ext2"
        with _told_why():
            run(
                [
                    "mmdebstrap",
                    "--variant=extract",
                    f"--architectures={architecture(pin.arch).debian}",
                    f"--include={','.join(sorted(package.name for package in debs))}",
                    *(f"--dpkgopt=path-exclude=/usr/share/{name}" for name in (_UNREAD if pin.added else ("*",))),
                    f"--setup-hook={_MERGE_USR}",
                    f"--extract-hook=sync-in {overlay} /",
                    f"--extract-hook={hook}",
                    "--format=ext2",
                    pin.suite,
                    disk,
                    f"deb [trusted=yes] copy://{repository} ./",
                ],
                deadline=deadline,
                env={"SOURCE_DATE_EPOCH": _EPOCH, "TMPDIR": str(work)},
            )
        busybox = next(package for package in debs if package.name == "busybox-static")
        run(["dpkg-deb", "--extract", debs[busybox], work / "busybox"], deadline=deadline)
        (tree / "busybox").mkdir()
        shutil.copy(_first((work / "busybox").rglob("bin/busybox")), tree / "busybox/busybox")


@contextmanager
def _told_why() -> Iterator[None]:
    """Inside, mmdebstrap's words for a user who may not be other users have a hint."""
    try:
        yield
    except InfraError as error:
        if "chroot mode" not in error.what:
            raise
        hint = "users other than root need `newuidmap` (package uidmap) and a line in /etc/subuid and in /etc/subgid: "
        raise InfraError(error.what, hint=f"{hint}NAME:100000:65536") from error


@contextmanager
def _workplace(beside: Path) -> Iterator[Path]:
    """A folder for mmdebstrap. Without root it works as another user, who cannot enter a private cache."""
    with tempfile.TemporaryDirectory(prefix="kfunc-image-", dir=beside if os.geteuid() == 0 else None) as name:
        yield Path(name)


def write_index(repository: Path, debs: Mapping[Package, Path]) -> None:
    """The list `Packages` of a flat repository."""
    from debian.deb822 import Deb822  # noqa: PLC0415  late: every command that boots imports this module, few build
    from debian.debfile import DebFile  # noqa: PLC0415

    with (repository / "Packages").open("wb") as stream:
        for package, path in debs.items():
            with path.open("rb") as deb:
                stanza = Deb822(DebFile(fileobj=deb).debcontrol())
            stanza["Filename"] = f"./{path.name}"
            stanza["Size"] = str(package.size_bytes)
            stanza["SHA256"] = package.sha256
            stanza.dump(stream)
            stream.write(b"\n")


def programs_of(pin: ImagePin, debs: Mapping[Package, Path]) -> Iterator[str]:
    """The paths of programs in the packages that were added by name, without a leading slash."""
    from debian.debfile import DebFile  # noqa: PLC0415  late, as above

    for package, path in debs.items():
        if package.name not in pin.added:
            continue
        with path.open("rb") as deb:
            for name in DebFile(fileobj=deb).data:
                folder, _, program = name.removeprefix("./").removeprefix("usr/").rpartition("/")
                if folder in {"bin", "sbin"} and program:
                    yield f"usr/{folder}/{program}"


def _fill_overlay(overlay: Path, debs: Mapping[Package, Path], interpreter: Interpreter, deadline: Deadline) -> None:
    """The files that no package brings."""
    etc, sbin = overlay / "etc", overlay / "usr/sbin"
    for folder in (etc, sbin, overlay / "root"):
        folder.mkdir(parents=True)
    for name, text in _ETC.items():
        (etc / name).write_text(text)
    shutil.copyfile(_HERE / "guest-start.sh", sbin / "guest-start")
    (sbin / "guest-start").chmod(0o755)
    python = overlay.parent / "python"
    for package in {*parts(debs), *(it for it in debs if it.name.startswith("python3-"))}:
        run(["dpkg-deb", "--extract", debs[package], python], deadline=deadline)
    for standard in (python / "usr/lib").glob("python3*"):
        relative = standard.relative_to(python)
        interpreter.compile(standard, overlay / relative, prefix=f"/{relative}", layout="cache", deadline=deadline)


def _open_to_all(folder: Path) -> None:
    """Modes that do not depend on the user's umask: the image must not, and mmdebstrap's user must read."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _first(paths: Iterable[Path]) -> Path:
    for path in paths:
        return path
    raise InfraError("the package busybox-static holds no busybox")
