# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a guest starts from whose root is the image's disk: made once for each kernel and image, and kept.

    kernel       unpacked, for x86_64 (with CONFIG_PVH: qemu then starts it without firmware) and arm64
    vmlinuz-RELEASE  nothing but the kernel's release, for vng: it looks for that in images, which takes up to a second
    initrd       busybox, and the modules that the disks and the network need
    modules.ext2 all modules, as the kernel's release has them

Modules are kept without their signatures: under emulation each check costs as much as 60 million instructions, which
is more than everything else that loading a module does. The kernel then has the taint flag E, as of any module that
its user built. Where signatures can be demanded they stay.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from virtme.cpiowriter import CpioWriter

from runner.caches import need_space
from runner.images.container import DiskStore
from runner.kernels.config import kernels_in, read_config
from runner.kernels.needs import FIRST, SIGNED
from runner.model import BootFiles, Image, Kernel
from runner.model.deadline import Deadline
from runner.process import run
from runner.store import key_of

_RECIPE = 4  # raise it when what is made here changes
_SIGNATURE = struct.Struct(">8xI")  # include/linux/module_signature.h: the size of the signature is its last field
# With these the kernel refuses modules without a signature, or looks at how each file was signed.
_DEMANDED = ("MODULE_SIG_FORCE", "LOCK_DOWN_KERNEL_FORCE_INTEGRITY", "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY")
_DEMANDING = re.compile(r"(^|\s)(lockdown|lsm|security|module\.sig_enforce|ima_\w+)\b")
_PVH = (18, b"Xen\0")  # XEN_ELFNOTE_PHYS32_ENTRY, include/xen/interface/elfnote.h
_ARM64 = (56, b"ARM\x64")  # Documentation/arch/arm64/booting.rst
_NOTE, _PROGRAM = 4, struct.Struct("<IIQQQQQQ")  # PT_NOTE; Elf64_Phdr
_PATH = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
_LINKS = {"fd": "/proc/self/fd", **{name: f"/proc/self/fd/{n}" for n, name in enumerate(("stdin", "stdout", "stderr"))}}
_ABOUT = "vmlinuz-"
_DISK_KIB = 2048  # of a disk with no files


def ensure_boot_files(kernel: Kernel, image: Image, cache: Path, *, cmdline: str, deadline: Deadline) -> BootFiles:
    """What guests of `kernel` start from, verified; made first when the cache has none.

    `cmdline` are words that are added to the kernel's command line. Raises InfraError.
    """
    about = f"{_ABOUT}{kernel.pin.release}"
    signed = "y" in read_config(Path(kernel.config), _DEMANDED).values() or bool(_DEMANDING.search(cmdline))

    def make(tree: Path) -> None:
        modules = Path(kernel.root) / "lib/modules" / kernel.pin.release
        need_space(tree.parent, 160 << 20, f"what guests of {kernel.pin.release} start from")
        if unpacked := _unpacked(kernel):
            (tree / "kernel").write_bytes(unpacked)
        (tree / about).write_bytes(bytes(_ARM64[0]) + _ARM64[1] + f"\nLinux version {kernel.pin.release}\n".encode())
        copy = tree.parent / "modules"
        shutil.copytree(modules, copy) if modules.is_dir() else copy.mkdir()
        for file in () if signed else copy.rglob("*.ko"):
            file.chmod(0o644)
            file.write_bytes(_unsigned(file.read_bytes()))
        _write_initrd(tree / "initrd", Path(image.busybox), copy, kernel.pin.release)
        _write_disk(tree / "modules.ext2", copy, deadline)

    busybox = hashlib.sha256(Path(image.busybox).read_bytes()).hexdigest()  # images with other packages have it too
    key = key_of(recipe=_RECIPE, kernel=kernel.sha256, busybox=busybox, signed=signed)
    entry = boot_files(cache).ensure_kept(key, make, deadline=deadline)
    tree, unpacked = PurePosixPath(entry.tree), PurePosixPath("kernel")
    return BootFiles(
        about=tree / about,
        kernel=tree / unpacked if unpacked in entry.files else kernel.image,
        initrd=tree / "initrd",
        modules=tree / "modules.ext2",
    )


def boot_files(cache: Path) -> DiskStore:
    """By the kernel's release."""

    def release(tree: Path) -> str:
        return next((path.name for path in tree.glob(f"{_ABOUT}*")), "").removeprefix(_ABOUT)

    return DiskStore(cache, "bootfiles", release)


def _unpacked(kernel: Kernel) -> bytes:
    """The kernel in its image where qemu starts that sooner, or at all; empty where there is none, or nothing else."""
    ways: dict[str, Callable[[bytes], bool]] = {"x86_64": _starts_itself, "arm64": _is_image}
    if (way := ways.get(kernel.pin.arch)) is None:
        return b""
    image = Path(kernel.image).read_bytes()
    found = next(filter(way, kernels_in(image)), image)
    return b"" if found is image else found


def _is_image(kernel: bytes) -> bool:
    """Is it what a boot loader enters, neither compressed nor inside of an EFI program?"""
    at, magic = _ARM64
    return kernel[at : at + len(magic)] == magic


def _starts_itself(elf: bytes) -> bool:
    """Does it tell where a virtual machine enters it (Documentation/arch/x86/boot.rst, PVH)?"""
    if not elf.startswith(b"\x7fELF\2\1"):
        return False
    with suppress(struct.error):  # it is cut short
        start, size, count = *struct.unpack_from("<Q", elf, 32), *struct.unpack_from("<HH", elf, 54)
        for number in range(count):
            kind, _, at, _, _, length, _, _ = _PROGRAM.unpack_from(elf, start + number * size)
            if kind == _NOTE and _PVH in _notes(elf[at : at + length]):
                return True
    return False


def _notes(segment: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and name of each note, elf(5)."""
    at = 0
    while at + 12 <= len(segment):
        name, content, kind = struct.unpack_from("<III", segment, at)
        yield kind, segment[at + 12 : at + 12 + name]
        at += 12 + (name + 3 & ~3) + (content + 3 & ~3)


def _unsigned(module: bytes) -> bytes:
    """The module without the signature that is appended to it."""
    if not module.endswith(SIGNED):
        return module
    end = len(module) - len(SIGNED) - _SIGNATURE.size
    (size,) = _SIGNATURE.unpack_from(module, end)
    return module[: end - size]


def _first_modules(folder: Path) -> tuple[list[str], dict[str, list[str]]]:
    """The names of what is loaded before the root is mounted, as far as it is there; and the files that are needed for
    it, each with those that it depends on, as modules.dep has them.
    """
    listed = folder / "modules.dep"
    lines = listed.read_text().splitlines() if listed.is_file() else []
    needed = {path: rest.split() for path, _, rest in (line.partition(":") for line in lines)}
    paths = {Path(path).stem.replace("-", "_"): path for path in needed}
    names = [name for name in FIRST if name in paths]
    files = {path for name in names for path in (paths[name], *needed[paths[name]])}
    return names, {path: needed[path] for path in sorted(files)}


def _write_initrd(path: Path, busybox: Path, modules: Path, release: str) -> None:
    """Without its /init, which each guest has for itself: the kernel reads several archives in a row."""
    names, needed = _first_modules(modules)
    home = f"lib/modules/{release}"
    folders = {parent for file in needed for parent in PurePosixPath(home, file).parents}
    with path.open("wb") as file:
        archive = CpioWriter(file)
        for name in ("bin", "dev", "proc", "sys", "disk", "written", "root", "links", "lib", "lib/modules", home):
            archive.mkdir(name.encode(), 0o755)
        for folder in sorted(folders - set(PurePosixPath(home).parents) - {PurePosixPath(home)}):
            archive.mkdir(str(folder).encode(), 0o755)
        archive.mkchardev(b"dev/console", (5, 1), mode=0o600)
        archive.mkchardev(b"dev/null", (1, 3), mode=0o666)
        for name, target in _LINKS.items():
            archive.symlink(target.encode(), f"links/{name}".encode())
        with busybox.open("rb") as body:
            archive.write_file(name=b"bin/busybox", body=body, mode=0o755)
        for module in needed:
            with (modules / module).open("rb") as body:
                archive.write_file(name=f"{home}/{module}".encode(), body=body, mode=0o644)
        dependencies = "".join(f"{module}: {' '.join(others)}\n" for module, others in needed.items())
        archive.write_file(name=f"{home}/modules.dep".encode(), body=dependencies.encode(), mode=0o644)
        archive.write_file(name=b"modules", body=f"{' '.join(names)}\n".encode(), mode=0o644)
        archive.write_trailer()


def _write_disk(path: Path, content: Path, deadline: Deadline) -> None:
    """A disk with the files below `content`. Raises InfraError."""
    files = [file.stat().st_size // 1024 + 8 for file in content.rglob("*")]
    size = f"{sum(files) * 11 // 10 + _DISK_KIB}k"
    run(["mke2fs", "-q", "-t", "ext2", "-m", "0", "-d", content, path, size], deadline=deadline, env=_PATH)
