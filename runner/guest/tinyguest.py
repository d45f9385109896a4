"""The smallest guests: a few machine instructions that write a line to the serial port and end the machine.

They need no kernel and no disk, so whether one speaks says only whether this host can run a guest of that architecture.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

from runner.architecture import Architecture
from runner.deadline import Deadline
from runner.errors import InfraError
from runner.guest.interface import Accel
from runner.process import run

SAYS = "guest speaks"

_X86_64_CODE = bytes.fromhex(
    "fa"  # cli
    "fc"  # cld
    "31c0 8ed8"  # xor ax, ax; mov ds, ax
    "be1c7c"  # mov si, 0x7c1c: the text behind this code, as the BIOS loads the sector to 0x7c00
    "ac"  # next: lodsb
    "84c0 7406"  # test al, al; jz done
    "baf803 ee"  # mov dx, 0x3f8; out dx, al: the first serial port
    "ebf5"  # jmp next
    "ba0105 ee"  # done: mov dx, 0x501; out dx, al: isa-debug-exit ends qemu
    "f4 ebfd"  # halt: hlt; jmp halt
    "90"  # nop
)

_ARM64_CODE = struct.pack(
    "<11I",
    0x10000161,  # adr x1, the text behind this code
    0xD2A12002,  # mov x2, #0x09000000: the PL011 of qemu's virt machine
    0x38401420,  # next: ldrb w0, [x1], #1
    0x34000060,  # cbz w0, done
    0xB9000040,  # str w0, [x2]
    0x17FFFFFD,  # b next
    0x52800100,  # done: mov w0, #8
    0x72B08000,  # movk w0, #0x8400, lsl #16: 0x84000008 is PSCI's SYSTEM_OFF
    0xD4000002,  # hvc #0
    0xD503207F,  # halt: wfi
    0x17FFFFFF,  # b halt
)


def _boot_sector() -> bytes:
    """A disk whose first 512 bytes a PC's BIOS loads and starts."""
    sector = (_X86_64_CODE + SAYS.encode() + b"\n\0").ljust(510, b"\0") + b"\x55\xaa"
    return sector.ljust(1 << 20, b"\0")  # SeaBIOS starts nothing from a virtio disk of a single sector


def _arm64_image() -> bytes:
    """A kernel with the header of Documentation/arch/arm64/booting.rst: code0 jumps over its 64 bytes."""
    code = _ARM64_CODE + SAYS.encode() + b"\n\0"
    jump = 0x14000010  # b .+64
    header = struct.pack("<IIQQQQQQ4sI", jump, 0, 0, 64 + len(code), 0, 0, 0, 0, b"ARM\x64", 0)
    return header + code


def can_run(arch: Architecture, accel: Accel, *, deadline: Deadline) -> tuple[bool, str]:
    """Does a tiny guest speak before `deadline`? If not, the second value says why, in one line.

    Raises InfraError when qemu is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="tiny-guest-") as folder:
        program = Path(folder) / "program"
        argv = [arch.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-accel", accel]
        argv += ["-cpu", "host" if accel == "kvm" else "max"]  # vng takes `host` with KVM
        match arch.name:
            case "x86_64":
                program.write_bytes(_boot_sector())
                argv += ["-machine", "q35", "-device", "isa-debug-exit,iobase=0x501,iosize=1"]
                argv += ["-drive", f"file={program},format=raw,if=virtio,readonly=on"]
            case "arm64":
                program.write_bytes(_arm64_image())
                argv += ["-machine", "virt", "-kernel", str(program)]
            case other:
                return False, f"there is no tiny guest for {other}"
        try:
            done = run(argv, deadline=deadline, check=False)
        except InfraError:
            if not deadline.expired:
                raise
            return False, f"a tiny guest under {accel} was silent for {deadline.what}"
    if SAYS in done.stdout:
        return True, ""
    words = (done.stderr.strip() or "no message").splitlines()
    return False, f"{arch.qemu} -accel {accel} ended with status {done.returncode}: {words[0]}"
