"""A closer look at one program: the verifier's whole log, and the instructions that the kernel made of it.

Asked for by name only: writing that log and reading the kernel's symbols takes longer than all probes of a run.
"""

from __future__ import annotations

import ctypes
import os
from sys import byteorder

from . import bounded
from .libbpf import Libbpf, instruction

_LOG_LEVEL = 2  # every state of every instruction
LOG_CHARS = 256 << 10
MAX_INSTRUCTIONS = 1 << 14
_CALL = 0x85  # BPF_JMP | BPF_CALL
_TO_PROGRAM = 1  # BPF_PSEUDO_CALL: to another function of the program, no symbol
_BASE = "__bpf_call_base"  # a call's `imm` counts from here


class ProgInfo(ctypes.Structure):
    """The beginning of struct bpf_prog_info."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("tag", ctypes.c_uint8 * 8),
        ("jited_prog_len", ctypes.c_uint32),
        ("xlated_prog_len", ctypes.c_uint32),
        ("jited_prog_insns", ctypes.c_uint64),
        ("xlated_prog_insns", ctypes.c_uint64),
    )


def look(libbpf: Libbpf, load: object, symbols: str = "/proc/kallsyms") -> dict[str, object]:
    """What the kernel says of a program that `load(log_level)` gives to it: file descriptor or -1, errno, log."""
    fd, _, log = load(_LOG_LEVEL)  # type: ignore[operator]  # a function; naming its type costs an import
    if fd < 0:
        return {"log": bounded(log, LOG_CHARS)}
    try:
        code, jited = translated(libbpf, fd)
    finally:
        os.close(fd)
    return {
        "log": bounded(log, LOG_CHARS),
        "translated": code.hex(),
        "byte_order": byteorder,
        "jited_bytes": jited,
        "calls": {str(at): name for at, name in called(code, symbols).items()},
    }


def translated(libbpf: Libbpf, fd: int) -> tuple[bytes, int]:
    """A loaded program's instructions as the kernel has them, and the size of its machine code. LibbpfError."""
    size = _info(libbpf, fd, ProgInfo()).xlated_prog_len
    buffer = ctypes.create_string_buffer(min(size, 8 * MAX_INSTRUCTIONS))
    info = ProgInfo(xlated_prog_len=len(buffer), xlated_prog_insns=ctypes.addressof(buffer))
    jited = int(_info(libbpf, fd, info).jited_prog_len)  # fills the buffer, too
    return buffer.raw, jited


def _info(libbpf: Libbpf, fd: int, info: ProgInfo) -> ProgInfo:
    size = ctypes.c_uint32(ctypes.sizeof(info))
    if libbpf.c.bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(size)) < 0:
        raise libbpf.error("bpf_prog_info")
    return info


def called(code: bytes, symbols: str) -> dict[int, str]:
    """The name of what each call calls, by the number of its instruction, where the kernel's symbols have it."""
    offsets = dict(_calls(code))
    if not offsets:
        return {}
    base, names = 0, {}
    with open(symbols, encoding="ascii", errors="replace") as file:
        for line in file:
            address, _, name = line.split()[:3]
            names[int(address, 16)] = name
            if name == _BASE:
                base = int(address, 16)
    found = {at: names.get(base + offset & (1 << 64) - 1, "") for at, offset in offsets.items() if base}
    return {at: name for at, name in found.items() if name}


def _calls(code: bytes) -> list[tuple[int, int]]:
    """Of each call that leaves the program: the number of the instruction, and how far from the base it goes."""
    to_program = instruction(_CALL, 0, _TO_PROGRAM, 0, 0)[1]
    return [
        (at // 8, int.from_bytes(code[at + 4 : at + 8], byteorder, signed=True))
        for at in range(0, len(code), 8)
        if code[at] == _CALL and code[at + 1] != to_program
    ]


class KernelLog:
    """What the kernel says from here on, of any level, whatever reaches the console."""

    def __init__(self, path: str = "/dev/kmsg") -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._fd, 0, os.SEEK_END)

    def lines(self) -> list[str]:
        """What it said, and the end of listening."""
        found = []
        try:
            while record := os.read(self._fd, 8192):
                text = record.decode("utf-8", "replace").partition(";")[2]
                found.append(text.partition("\n")[0])  # what follows are a device's properties
        except BlockingIOError:  # there is no more
            pass
        except OSError as error:
            found.append(f"[the kernel's log could not be read on: {error.strerror}]")
        finally:
            os.close(self._fd)
        return found
