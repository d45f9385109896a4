# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is started for a guest: vng's command line, and what vng starts as qemu."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath

from virtme.cpiowriter import CpioWriter

from runner.errors import InfraError
from runner.guest.interface import BootOrder
from runner.model import BootFiles, Share
from runner.model.deadline import Deadline
from runner.process import require, run

# vng joins its values into a shell line, most of them unquoted, and qemu splits options at commas.
_SAFE = re.compile(r"[A-Za-z0-9._/=:+-]+")

GUEST_ADDRESS = "10.0.2.15"  # where qemu's user network expects its first guest
KEYS_IN_GUEST = "/run/key"
GDB_SOCKET = "gdb"  # beside the folder of the keys
_START = "/usr/sbin/guest-start"
# in a folder of the host the files are those of who started the guest, and dropbear wants root's home to be root's
_OWN_HOME = "mount -t tmpfs -o mode=700 home /root && ln -s /run/ssh /root/.ssh"
SHARE = "shared"  # there too: what is shown to the guest; its tag, and its place in /run
ROOT = "root"  # there too: the guest's root, where that is no disk
CONFIG = "config"  # in the folder of the keys: the kernel's
NETWORK = "network"  # there too, and empty: the guest may use its network
AGENT_HOME = "runner"  # in /run of a guest
CONTAINER_SERIAL = "container"  # of the disk with a container image: the agent finds it by that
INITRD = "initrd"  # there too, where it is one
_INIT = Path(__file__).with_name("init.sh")
_SOCKET_PATH_MAX = 107  # of a UNIX socket, unix(7)
_SHARED: Mapping[Share, tuple[str, ...]] = {
    "9p": ("--force-9p",),  # the search for virtiofsd costs 3 s per shared folder where only qemu's old one is there
    "virtiofs": ("--disable-microvm", "--no-root-posix-acl"),  # not another machine, nor what not every kernel has
}
# `-v` is what sends the kernel's console to us, and it asks for everything, which costs a second on an emulated
# serial port. Warnings and worse are what a post-mortem needs.
_LOGLEVEL = 5
# Under emulation a kernel spends a third to half of its boot on testing its own ciphers, RSA before all.
_UNTESTED_CIPHERS = "cryptomgr.notests"

# A kernel cuts a command line that is too long for it without a word, from its end, where vng names the init process:
# the guest then panics for another reason. qemu takes the last one that it is given.
_QEMU = """\
#!/bin/sh
for word; do
    {check}
    [ "$before" = -append ] && line=$word
    before=$word
done
if [ ${{#line}} -ge {limit} ]; then
    echo "the kernel's command line has ${{#line}} bytes, and {arch} takes {most}" >&2
    exit 1
fi
{keep}exec {qemu} "$@"
"""
# what qemu has in the guest's folder when the guest may be saved: two sockets, its memory; its command line is kept
QMP_SOCKET, AGENT_SOCKET, RAM_FILE, ARGV_FILE = "qmp", "agent", "ram", "argv"
_AGENT_PORT = "runner.agent"
_REFUSAL = re.compile(r"the kernel's command line has \d+ bytes, and \S+ takes \d+|virtiofsd did not start.*")
# vng falls back to 9p where virtiofsd does not start
_CHECKS: Mapping[Share, str] = {
    "9p": ":",
    "virtiofs": """\
case $word in
        virtio-9p*) echo "virtiofsd did not start, and the kernel has no 9p" >&2; exit 1 ;;
    esac""",
}
_VIRTIOFSD = ("/usr/libexec", "/usr/lib/virtiofsd")  # where distributions have it, outside of PATH


def vng_argv(order: BootOrder, *, vng: Path, qemu: Path, port: int, keys: Path, host_uname: str) -> list[str]:
    """The command that boots `order`, with ssh on 127.0.0.1:`port` and the folder `keys` shown to the guest.

    `host_uname` is the host's `uname -m`. Raises InfraError for a path that a shell could misread.
    """
    row = order.architecture
    restrict = "off" if order.size.network else "on"
    netdev = f"user,id=ssh,restrict={restrict},hostfwd=tcp:127.0.0.1:{port}-{GUEST_ADDRESS}:22"
    options = ["-netdev", netdev, "-device", f"{row.net_device},netdev=ssh"]
    if order.accel == "tcg":  # for some vng names none, and qemu's own default depends on its version
        options += ["-cpu", row.cpu]
    words = (_UNTESTED_CIPHERS, *row.kernel_args, *order.cmdline.split())
    if order.gdb:
        words = (*words, "nokaslr")  # so that symbols are where vmlinux has them
        options += _gdb_options(keys.with_name(GDB_SOCKET))
    if order.warm:
        options += _saved_options(order, keys.parent)
    argv = [
        os.fspath(vng),
        "--run", _safe(order.files.about if order.files else order.kernel.image),
        "--qemu", _safe(qemu),
        *(_disk(order, order.files, keys, words, options) if order.files else _folder(order, keys, words)),
        "--cpus", str(order.size.cpus),
        "--memory", f"{order.size.memory_mib}M",
        "--user", "root",
        *_SHARED[order.share],
        "--disable-monitor",
        "--verbose",
        f"--qemu-opts={shlex.join(options)}",
    ]  # fmt: skip
    if row.uname != host_uname:  # vng refuses the name of its own architecture
        argv += ["--arch", row.vng]
    if order.accel == "tcg":  # vng takes KVM whenever the device opens, which does not mean that it works
        argv.append("--disable-kvm")
    return argv


def _disk(order: BootOrder, files: BootFiles, keys: Path, words: Iterable[str], options: list[str]) -> list[str]:
    """vng's words for a root on a disk. Adds to the options of qemu, of which the last counts where vng has one too:
    the kernel, an initramfs of ours, and a command line for that.
    """
    row = order.architecture
    console = f"console={row.console} {row.early_console} panic=-1 loglevel={_LOGLEVEL}"
    options += ["-kernel", _safe(files.kernel), "-initrd", _safe(keys.with_name(INITRD))]
    options += ["-append", " ".join((*console.split(), *words))]
    options += ["-drive", f"if=none,id=modules,format=raw,readonly=on,file={_safe(files.modules)}"]
    options += ["-device", f"{row.disk_device},drive=modules,serial=modules"]
    if order.image.container:
        options += ["-drive", f"if=none,id=container,format=raw,readonly=on,file={_safe(order.image.container)}"]
        options += ["-device", f"{row.disk_device},drive=container,serial={CONTAINER_SERIAL}"]
    if order.shared:
        words = f"local,id={SHARE},path={_safe(keys.with_name(SHARE))},security_model=none,readonly=on,multidevs=remap"
        options += ["-fsdev", words, "-device", f"{row.share_device},fsdev={SHARE},mount_tag={SHARE}"]
    rw = []
    if not order.overlays:
        options.append("-snapshot")
        rw.append("--rw")
    # --exec also sets -no-reboot, and connects the console
    return ["--root-disk", _safe(order.image.disk), *rw, "--skip-modules", "--exec", "true"]


def _folder(order: BootOrder, keys: Path, words: Iterable[str]) -> list[str]:
    """vng's words for a root that is a folder: vng makes an initramfs where the kernel needs one, and runs its init."""
    return [
        "--root", _safe(keys.with_name(ROOT)),
        "--busybox", _safe(order.image.busybox),
        "--rodir", f"{KEYS_IN_GUEST}={_safe(keys)}",
        *(("--rodir", f"/run/{SHARE}={_safe(keys.with_name(SHARE))}") if order.shared else ()),
        "--append", f"loglevel={_LOGLEVEL}",
        *(f"--append={shlex.quote(word)}" for word in words),
        "--exec", f"{_OWN_HOME} && {_START}",  # --exec also sets panic=-1 and -no-reboot
    ]  # fmt: skip


def _gdb_options(path: Path) -> list[str]:
    """A socket in a folder of the user's own instead of a port: whoever reaches it owns the guest, and ports race."""
    _check_socket(path)
    return ["-chardev", f"socket,id=gdb,path={_safe(path)},server=on,wait=off", "-gdb", "chardev:gdb"]


def _saved_options(order: BootOrder, folder: Path) -> list[str]:
    """What lets a guest be saved: commands for its qemu, a port for its agent, its memory as a file to be mapped."""
    qmp, agent = folder / QMP_SOCKET, folder / AGENT_SOCKET
    _check_socket(agent)
    ram = f"size={order.size.memory_mib}M,mem-path={_safe(folder / RAM_FILE)},share=on"
    return [
        "-object", f"memory-backend-file,id=ram,{ram}",
        "-machine", "memory-backend=ram",
        "-qmp", f"unix:{_safe(qmp)},server=on,wait=off",
        "-chardev", f"socket,id=agent,path={_safe(agent)},server=on,wait=off",
        "-device", f"virtserialport,name={_AGENT_PORT},chardev=agent",
    ]  # fmt: skip


_DROPPED = frozenset({"-kernel", "-initrd", "-append", "-dtb"})  # its memory has them already


def replayed(argv: Sequence[str], *, before: str, folder: str, ram: str) -> list[str]:
    """The arguments for a qemu that continues a machine which was started by `argv`, qemu's own name left out.

    What was in the folder `before` is in `folder`; its folder `empty` is shown instead of all that was. Its memory is
    the file `ram`, of which it changes its own copy.
    """
    words, found = iter(argv), []
    for word in words:
        if word in _DROPPED:
            next(words, None)
            continue
        name, *options = word.split(",")
        if name == "memory-backend-file":
            options = [f"mem-path={ram}" if it.startswith("mem-path=") else it for it in options]
            options = ["share=off" if it == "share=on" else it for it in options]
        elif name == "local" and any(it.startswith("security_model=") for it in options):
            options = [f"path={folder}/empty" if it.startswith("path=") else it for it in options]
        elif name == "user":
            options = [it for it in options if not it.startswith("hostfwd=")]
        found.append(",".join((name, *options)).replace(before, folder))
    return [*found, "-incoming", "defer"]


def _check_socket(path: Path) -> None:
    if len(os.fsencode(path)) > _SOCKET_PATH_MAX:
        raise InfraError(f"{path} is too long for a socket", hint="set RUNNER_CACHE to a folder with a shorter path")


def _safe(path: PurePath) -> str:
    text = os.fspath(path)
    if not _SAFE.fullmatch(text):
        raise InfraError(
            f"{text!r} has characters that virtme-ng would hand to a shell",
            hint="set RUNNER_CACHE to a folder named with letters, digits and ._/=:+- only",
        )
    return text


def write_qemu(order: BootOrder, folder: Path) -> Path:
    """What vng starts as qemu: a script in `folder` that checks the kernel's command line first.

    Raises InfraError when qemu is not installed.
    """
    arch = order.architecture
    script = folder / arch.qemu
    text = _QEMU.format(
        limit=arch.cmdline_max,
        most=arch.cmdline_max - 1,
        arch=arch.name,
        qemu=shlex.quote(require(arch.qemu)),
        check=_CHECKS[order.share],
        keep=f"printf '%s\\0' \"$@\" > {shlex.quote(os.fspath(folder / ARGV_FILE))}\n" if order.warm else "",
    )
    script.write_text(text)
    script.chmod(0o700)
    return script


def write_initrd(files: BootFiles, keys: Path, agent: Mapping[str, bytes], path: Path) -> None:
    """What all guests of the kernel start from, then the first program, what is in the folder `keys`, and the agent."""
    shutil.copyfile(files.initrd, path)
    with path.open("ab") as file:
        archive = CpioWriter(file)
        with _INIT.open("rb") as body:
            archive.write_file(name=b"init", body=body, mode=0o755)
        for folder in (b"own", b"own/ssh", b"own/key"):
            archive.mkdir(folder, 0o755 if folder == b"own" else 0o700)
        for one in sorted(keys.iterdir()):
            with one.open("rb") as body:
                place = "key" if one.name in {CONFIG, NETWORK} else "ssh"
                archive.write_file(name=f"own/{place}/{one.name}".encode(), body=body, mode=0o600)
        for home in sorted({AGENT_HOME, *(str(PurePath(AGENT_HOME, name).parent) for name in agent)}):
            archive.mkdir(f"own/{home}".encode(), 0o700)
        for name, content in agent.items():
            archive.write_file(name=f"own/{AGENT_HOME}/{name}".encode(), body=content, mode=0o600)
        archive.write_trailer()


def refusal(text: str) -> str:
    """What the script said when it started nothing; empty when it did not."""
    found = _REFUSAL.search(text)
    return found[0] if found else ""


def virtme_tool(name: str) -> Path:
    """`vng`, `virtme-configkernel`: they lie beside the Python that runs this program."""
    return Path(sys.executable).with_name(name)


def virtme_environment(home: Path) -> dict[str, str]:
    """vng looks for its other programs in PATH, and for settings in HOME: with these it does the same for everybody."""
    folder = Path(sys.executable).parent
    path = os.pathsep.join((os.fspath(folder), os.environ.get("PATH", os.defpath), *_VIRTIOFSD))
    return {"PATH": path, "HOME": os.fspath(home)}


def need_virtiofsd(home: Path, *, deadline: Deadline) -> None:
    """Raises InfraError unless the one that vng starts for a guest in the folder `home` can share it read-only."""
    found = shutil.which("virtiofsd", path=virtme_environment(home)["PATH"])
    if not found or "--readonly" not in run([found, "--help"], deadline=deadline, check=False).stdout:
        what = f"{found} cannot share a folder read-only" if found else "virtiofsd is not installed"
        hint = "the kernel has no 9p, and needs one with --readonly, as virtiofsd 1.13; the one of qemu 7 has it not"
        raise InfraError(what, hint=hint)
    _check_socket(home / "virtme01234567")  # vng's name
