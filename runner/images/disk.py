# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Makes a guest's root disk with mmdebstrap, from exactly the packages that the lock names.

The packages are fetched and checked first, and put into a repository of their own: mmdebstrap sees no other archive.
`trusted=yes` there is honest, for every file's digest was held against the lock.

The image's Python is run on this host to compile bytecode for it. Bytecode depends on the Python version, not on the
architecture, and compiling under emulation is slow. So the lock of an image holds the interpreter's packages for every
architecture, and the host's are unpacked and run in place, through their own dynamic loader: nothing is installed, and
this host's Python and libraries do not matter.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from runner.caches import not_cached
from runner.errors import InfraError
from runner.kernels.archive import Archive
from runner.model import ImagePin, Package
from runner.model.architecture import Architecture, architecture, by_uname
from runner.model.deadline import Deadline
from runner.process import run
from runner.store import Store, key_of

ROOTS = ("python3-minimal", "libpython3-stdlib")
_PART = re.compile(r"python3\.\d+-minimal|libpython3\.\d+-(minimal|stdlib)|libc6|libgcc-s1|libexpat1|zlib1g")
_PYTHON = 1  # raise it when what an entry of the interpreter holds changes
_HERE = Path(__file__).parent
SCRIPT = _HERE / "compile_tree.py"
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


# what update-alternatives would link, for it does not run either
_LINK = """cd "$1" && while read -r link file; do
    [ -e "$link" ] || [ ! -e "$file" ] || { mkdir -p "${link%/*}" && ln -sr "$file" "$link"; }
done"""
_PLAIN = re.compile(r"/[A-Za-z0-9._+/@-]+")  # of a path: no shell would replace a part of it
_NO_USERS = (
    "users other than root need `newuidmap` (package uidmap) and a line in /etc/subuid and in /etc/subgid: "
    "NAME:100000:65536"
)
_UNREAD = ("doc/*", "info/*", "lintian/*", "locale/*", "man/*")


def recipe(pin: ImagePin) -> dict[str, str]:
    """All that the image depends on besides the packages."""
    scripts = ("guest-start.sh", "shrink.sh", "compile_tree.py")
    return (
        {name: (_HERE / name).read_text() for name in scripts}
        | _ETC
        | ({"link": _LINK} if pin.added else {})
        | {"epoch": _EPOCH, "setup": _MERGE_USR, "recipe": "1"}
    )


def build_image(
    pin: ImagePin, debs: Mapping[Package, Path], interpreter: Interpreter, tree: Path, *, deadline: Deadline
) -> None:
    """Fill the empty folder `tree` with disk.ext2 and busybox/busybox. Raises InfraError with mmdebstrap's words."""
    # without root, mmdebstrap works as another user, who cannot enter a private cache
    place = tree.parent if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="kfunc-image-", dir=place) as name:
        work = Path(name)
        repository, overlay = work / "repository", work / "overlay"
        repository.mkdir()
        for deb in debs.values():
            shutil.copyfile(deb, repository / deb.name)
        write_index(repository, debs)
        _fill_overlay(overlay, debs, interpreter, deadline)
        hook = shutil.copy(_HERE / "shrink.sh", work)
        links = alternatives_of(debs) if pin.added else {}
        (work / "links").write_text("".join(f"{link} {file}\n" for link, file in links.items()))
        named = {*pin.added, *programs_of(pin, debs)}
        named |= {link for link, file in links.items() if file in named}
        (work / "named").write_text("".join(f"{line}\n" for line in sorted(named)))
        _open_to_all(work)
        Path(hook).chmod(0o755)
        disk = tree / "disk.ext2"
        try:
            run(
                [
                    "mmdebstrap",
                    "--variant=extract",
                    f"--architectures={architecture(pin.arch).debian}",
                    f"--include={','.join(sorted(package.name for package in debs))}",
                    *(f"--dpkgopt=path-exclude=/usr/share/{name}" for name in (_UNREAD if pin.added else ("*",))),
                    f"--setup-hook={_MERGE_USR}",
                    f"--extract-hook=sync-in {overlay} /",
                    *((f"--extract-hook={_LINK} < {work}/links",) if pin.added else ()),
                    f"--extract-hook={hook}",
                    "--format=ext2",
                    pin.suite,
                    disk,
                    f"deb [trusted=yes] copy://{repository} ./",
                ],
                deadline=deadline,
                env={"SOURCE_DATE_EPOCH": _EPOCH, "TMPDIR": str(work)},
            )
        except InfraError as error:
            if "chroot mode" not in error.what:
                raise
            raise InfraError(error.what, hint=_NO_USERS) from error
        busybox = next(package for package in debs if package.name == "busybox-static")
        run(["dpkg-deb", "--extract", debs[busybox], work / "busybox"], deadline=deadline)
        (tree / "busybox").mkdir()
        found = next((work / "busybox").rglob("bin/busybox"), None)
        if found is None:
            raise InfraError("the package busybox-static holds no busybox")
        shutil.copy(found, tree / "busybox/busybox")


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


def alternatives_of(debs: Mapping[Package, Path]) -> Mapping[str, str]:
    """What `update-alternatives --install` in the packages' own scripts links: link -> the file of highest priority.

    Both without a leading slash. The scripts do not run: words that a shell would replace are left out.
    """
    from debian.debfile import DebFile  # noqa: PLC0415  late, as above

    found: dict[str, tuple[int, str]] = {}
    for path in debs.values():
        with path.open("rb") as deb:
            script = DebFile(fileobj=deb).control.scripts().get("postinst", b"")
        for line in script.decode(errors="replace").replace("\\\n", " ").splitlines():
            for link, file, priority in _installed(line.split()):
                if link not in found or priority > found[link][0]:
                    found[link] = (priority, file)
    return {link: file for link, (_, file) in sorted(found.items())}


def _installed(words: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    """Each link of one line, its file and its priority: `--install LINK NAME FILE PRIORITY --slave LINK NAME FILE`."""
    if "update-alternatives" not in words or "--install" not in words:
        return
    at = words.index("--install")
    link, _, file, priority, *_ = (*words[at + 1 :], *4 * ("",))
    slaves = ((words[it + 1], words[it + 3]) for it, word in enumerate(words[:-3]) if word == "--slave")
    for one, target in ((link, file), *slaves):
        if _PLAIN.fullmatch(one) and _PLAIN.fullmatch(target) and priority.isdecimal():
            yield _merged(one), _merged(target), int(priority)


def _merged(path: str) -> str:
    """Where /bin and its like are links into /usr; without a leading slash."""
    return re.sub(r"^/(?=s?bin/|lib)", "usr/", path).lstrip("/")


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


# --- the image's Python, run here -----------------------------------------------------------------------------------


def parts(packages: Iterable[Package]) -> tuple[Package, ...]:
    """Those packages that an interpreter consists of."""
    return tuple(package for package in packages if _PART.fullmatch(package.name))


def host_architecture() -> Architecture:
    """Raises InfraError on a host that is none of ours."""
    row = by_uname(platform.machine())
    if row is None or not row.host:
        raise InfraError(
            f"this host's architecture {platform.machine()} is not supported",
            hint="run it on hosts of x86_64 or arm64: --hosts hosts.yaml",
        )
    return row


def host_parts(pin: ImagePin) -> tuple[Package, ...]:
    """The packages of the interpreter that runs here. Raises InfraError when the lock has none for this host."""
    row = host_architecture()
    found = parts(package for package in pin.packages if package.architecture == row.debian)
    if not found:
        raise InfraError(
            f"the lock of the image for {pin.arch} has no Python for {row.name}",
            hint="`runner kernels lock` pins it anew",
        )
    return found


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python of an image. `tree` is as `_flatten` leaves it."""

    tree: Path
    loader: str  # of this host's architecture: a file in lib/

    @classmethod
    def of(cls, pin: ImagePin, cache: Path, *, deadline: Deadline, offline: bool = False) -> Self:
        """From the cache; fetched and unpacked first when it is not there. Raises InfraError."""
        packages, row = host_parts(pin), host_architecture()

        def make(tree: Path) -> None:
            if offline:
                raise not_cached("the Python that compiles for the guests")
            debs, root = tree.parent / "debs", tree.parent / "root"
            debs.mkdir()
            for deb in Archive(cache).download(packages, row.name, debs, deadline=deadline).values():
                run(["dpkg-deb", "--extract", deb, root], deadline=deadline)
            _flatten(root, tree, row)

        key = key_of(recipe=_PYTHON, packages=sorted(package.sha256 for package in packages))
        return cls(Store(cache / "pythons").ensure(key, make, deadline=deadline).tree, Path(row.loader).name)

    def compile(
        self, source: Path, target: Path, *, prefix: str, layout: Literal["cache", "beside"], deadline: Deadline
    ) -> None:
        """Compile what is below `source` into `target`. Raises InfraError, with Python's words, on a syntax error."""
        python = next((self.tree / "bin").glob("python3.*"))
        library = self.tree / "lib"
        # -s -S: nothing of this host's Python; -B: write no bytecode of its own into the cache
        argv: list[str | Path] = [library / self.loader, "--library-path", library, python, "-s", "-S", "-B", SCRIPT]
        run([*argv, source, target, prefix, layout], deadline=deadline, env={"PYTHONHOME": str(self.tree)})


def _flatten(root: Path, tree: Path, row: Architecture) -> None:
    """bin/python3.X, lib/python3.X/ and the libraries in lib/; links become files, for an entry holds nothing else."""
    (tree / "bin").mkdir()
    for python in (root / "usr/bin").glob("python3.*"):
        shutil.copy(python, tree / "bin")
    for standard in (root / "usr/lib").glob("python3.*"):
        shutil.copytree(standard, tree / "lib" / standard.name, ignore_dangling_symlinks=True)
    for folder in (root / "lib" / row.multiarch, root / "usr/lib" / row.multiarch):  # libc6 before and after 2024
        for library in folder.glob("*.so*"):
            shutil.copy(library, tree / "lib")
    if not any((tree / "bin").iterdir()):
        raise InfraError("the interpreter's packages hold no Python", hint="runner/images/disk.py names its parts")
