"""The smallest guests: machine code that counts for a while, writes a line to the serial port and ends the machine.

They need no kernel, so whether one speaks says only whether this host can run guests of that architecture, at a speed
that is of use. The counting matters: there are hosts whose KVM starts a guest and then interprets its kernel mode, at a
few million instructions per second. A BIOS gets through on those, a kernel does not.
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

# Each counts 2^27 turns of two instructions: 0.3 s under TCG, about a minute where each instruction is interpreted.

_X86_64_CODE = bytes.fromhex(  # at 0x7c00, in real mode; goes to 64-bit mode with paging, where kernels live
    "fa fc"  # cli; cld
    "31c0 8ed8 8ec0"  # xor ax, ax; mov ds, ax; mov es, ax
    "bf0010 b90018 f3ab"  # mov di, 0x1000; mov cx, 0x1800; rep stosw: three empty page tables
    "c706 0010 0320"  # mov word [0x1000], 0x2003: the first points to the second,
    "c706 0020 0330"  # mov word [0x2000], 0x3003: which points to the third,
    "c706 0030 8300"  # mov word [0x3000], 0x0083: which maps the first 2 MiB to themselves
    "660f0116877c"  # lgdtd [gdtr]
    "66b800100000 0f22d8"  # mov eax, 0x1000; mov cr3, eax
    "66b820000000 0f22e0"  # mov eax, 0x20; mov cr4, eax: PAE
    "66b9800000c0 0f32 80cc01 0f30"  # mov ecx, 0xc0000080; rdmsr; or ah, 1; wrmsr: long mode in EFER
    "66b801000080 0f22c0"  # mov eax, 0x80000001; mov cr0, eax: protection and paging
    "ea557c0800"  # jmp 8:long
    "b900000008"  # long: mov ecx, 1 << 27
    "ffc9 75fc"  # count: dec ecx; jnz count
    "be8d7c0000"  # mov esi, text
    "ac"  # next: lodsb
    "84c0 7407"  # test al, al; jz done
    "66baf803 ee"  # mov dx, 0x3f8; out dx, al: the first serial port
    "ebf4"  # jmp next
    "66ba0105 ee"  # done: mov dx, 0x501; out dx, al: isa-debug-exit ends qemu
    "f4 ebfd"  # halt: hlt; jmp halt
    "0000000000000000 00000000009a2000"  # gdt: nothing; a 64-bit code segment
    "0f00 777c0000"  # gdtr: 15, gdt
)

_ARM64_CODE = struct.pack(
    "<14I",
    0xD2A10003,  # mov x3, #1 << 27
    0xF1000463,  # count: subs x3, x3, #1
    0x54FFFFE1,  # b.ne count
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
            return False, f"a tiny guest under {accel} did not speak within {deadline.what}"
    if SAYS in done.stdout:
        return True, ""
    words = (done.stderr.strip() or "no message").splitlines()
    return False, f"{arch.qemu} -accel {accel} ended with status {done.returncode}: {words[0]}"
