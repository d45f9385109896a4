"""The smallest guests: machine code that counts for a while, writes a line to the serial port and ends the machine.

They need no kernel, so whether one speaks says only whether this host can run guests of that architecture, at a speed
that is of use. The counting matters: there are hosts whose KVM starts a guest and then interprets its kernel mode, at a
few million instructions per second. A BIOS gets through on those, a kernel does not.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

from runner.errors import InfraError
from runner.guest.interface import Accel
from runner.model.architecture import Architecture
from runner.model.deadline import Deadline
from runner.process import run

SAYS = "guest speaks"

# Each counts 2^27 turns of one or two instructions: 0.3 s under TCG, a minute or so where each is
# interpreted.

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


_RISCV64_CODE = struct.pack(  # at 0x80000000, in machine mode, in place of a firmware
    "<16I",
    0x080002B7,  # lui t0, 0x8000: 1 << 27
    0xFFF28293,  # count: addi t0, t0, -1
    0xFE029EE3,  # bnez t0, count
    0x00000317,  # auipc t1, 0
    0x03430313,  # addi t1, t1, 52: the text behind this code
    0x100003B7,  # lui t2, 0x10000: the 16550 of qemu's virt machine
    0x00034503,  # next: lbu a0, 0(t1)
    0x00050863,  # beqz a0, done
    0x00A38023,  # sb a0, 0(t2)
    0x00130313,  # addi t1, t1, 1
    0xFF1FF06F,  # j next
    0x00100E37,  # done: lui t3, 0x100: sifive_test
    0x00005EB7,  # lui t4, 0x5
    0x555E8E93,  # addi t4, t4, 0x555: the end, well
    0x01DE2023,  # sw t4, 0(t3)
    0x0000006F,  # halt: j halt
)

_S390X_CODE = bytes.fromhex(  # at 0x2000
    "a53e0800"  # llilh %r3, 0x0800: 1 << 27
    "a7370000"  # count: brctg %r3, count
    "c020000003fc"  # larl %r2, 0x2800: the block for the service call
    "c01f00760005"  # llilf %r1, 0x00760005: write event data
    "b2200012"  # servc %r1, %r2
    "c04000000474"  # larl %r4, 0x2900
    "b2b24000"  # lpswe 0(%r4)
)
_S390X_END = bytes.fromhex("0002000180000000 0000000000000fff")  # a wait from which nothing wakes: qemu shuts down

_PPC64_CODE = struct.pack(  # at 0x100, big endian, in place of a firmware
    ">15I",
    0x3D200800,  # lis r9, 0x800: 1 << 27
    0x7D2903A6,  # mtctr r9
    0x42000000,  # count: bdnz count
    0x38600058,  # li r3, 0x58: H_PUT_TERM_CHAR
    0x3C807100,  # lis r4, 0x7100: the console
    0x38A0000D,  # li r5, 13 characters
    0x39200200,  # li r9, 0x200: of the text there
    0xE8C90000,  # ld r6, 0(r9)
    0xE8E90008,  # ld r7, 8(r9)
    0x44000022,  # sc 1
    0x3C600000,  # lis r3, 0
    0x6063F000,  # ori r3, r3, 0xf000: H_RTAS
    0x38800210,  # li r4, 0x210: its arguments there
    0x44000022,  # sc 1
    0x48000000,  # halt: b halt
)
_PPC64_POWER_OFF = struct.pack(">6I", 0x2003, 2, 1, 0, 0, 0)


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


def _riscv64_image() -> bytes:
    """Raw code."""
    return _RISCV64_CODE + SAYS.encode() + b"\n\0"


def _s390x_image() -> bytes:
    """A short PSW with the address to begin at; code; what it has to say; how it ends."""
    text = SAYS.encode() + b"\n"
    ascii_console = struct.pack(">HBBH", 6 + len(text), 0x1A, 0, 0) + text
    block = struct.pack(">H6x", 8 + len(ascii_console)) + ascii_console
    parts = {0: struct.pack(">II", 0x00080000, 0x80002000), 0x2000: _S390X_CODE, 0x2800: block, 0x2900: _S390X_END}
    return _at(parts)


def _ppc64_image() -> bytes:
    """Raw code, what it has to say, and the arguments of the call that ends it."""
    return _at({0x100: _PPC64_CODE, 0x200: SAYS.encode() + b"\n", 0x210: _PPC64_POWER_OFF})


def _at(parts: dict[int, bytes]) -> bytes:
    image = bytearray(max(start + len(part) for start, part in parts.items()))
    for start, part in parts.items():
        image[start : start + len(part)] = part
    return bytes(image)


# For each architecture its program, and the qemu options that start it.
_TINY: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    "x86_64": (
        _boot_sector,
        (
            *("-device", "isa-debug-exit,iobase=0x501,iosize=1"),
            *("-drive", "file={program},format=raw,if=virtio,readonly=on"),
        ),
    ),
    "arm64": (_arm64_image, ("-kernel", "{program}")),
    "riscv64": (_riscv64_image, ("-bios", "{program}")),
    "s390x": (_s390x_image, ("-kernel", "{program}")),
    "ppc64le": (_ppc64_image, ("-bios", "{program}")),
}


def can_run(arch: Architecture, accel: Accel, *, deadline: Deadline) -> tuple[bool, str]:
    """Does a tiny guest speak before `deadline`? If not, the second value says why, in one line.

    Raises InfraError when qemu is not installed.
    """
    image, options = _TINY[arch.name]
    with tempfile.TemporaryDirectory(prefix="tiny-guest-") as folder:
        program = Path(folder) / "program"
        program.write_bytes(image())
        argv = [arch.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-accel", accel]
        argv += ["-machine", arch.machine, "-cpu", "host" if accel == "kvm" else arch.cpu]  # vng takes `host` with KVM
        argv += [option.format(program=program) for option in options]
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
