# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""libbpf and the bpf system call, through ctypes. Nothing here knows of kfuncs."""

from __future__ import annotations

import ctypes
import errno
import os
from ctypes import c_bool, c_char_p, c_int, c_long, c_size_t, c_uint32, c_void_p

from .structs import RETURN, BtfInfo, LoadOpts, MapOpts, StreamRead, TestRunOpts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHORT_LOG_BYTES = 32 << 10
LOG_BYTES = 4 << 20  # the verifier's own words; before v6.4 a log that does not fit is -ENOSPC

# An Ethernet frame with IPv4 and TCP, 64 bytes. Shorter ones are refused by some kernels.
PACKET = bytes.fromhex(
    "020000000001 020000000002 0800"
    "4500 0032 0001 0000 40 06 66c3 0a000001 0a000002"
    "0400 0050 00000001 00000000 5002 2000 0000 0000"
).ljust(64, b"\0")


# What functions return that is no int.
_RETURN = {
    c_void_p: (
        "bpf_object__open_file", "bpf_object__find_map_by_name", "bpf_object__btf", "bpf_map__initial_value",
        "bpf_program__insns", "btf__new_empty", "btf__parse_split", "btf__raw_data", "btf__type_by_id",
        "btf_dump__new", "bpf_object__next_map", "bpf_object__next_program", "bpf_program__attach",
        "bpf_program__attach_cgroup", "bpf_program__attach_netns", "bpf_map__attach_struct_ops",
    ),
    c_char_p: (
        "bpf_map__name", "bpf_program__name", "bpf_program__section_name", "libbpf_version_string",
        "libbpf_bpf_prog_type_str", "libbpf_bpf_map_type_str", "libbpf_bpf_attach_type_str",
    ),
    c_bool: ("bpf_map__is_internal", "bpf_map__autocreate", "bpf_program__autoload"),
    c_size_t: ("bpf_program__insn_cnt",),
}  # fmt: skip


PREPARE_LOAD = ctypes.CFUNCTYPE(c_int, c_void_p, ctypes.POINTER(LoadOpts), c_long)
# A va_list is, wherever this runs, a pointer or passed as one; only libc looks into it.
_PRINT = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)


# bpf(2) itself, for what the guest's libbpf does not know yet.
_BPF_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
_PROG_STREAM_READ_BY_FD = 37
STDOUT, STDERR = 1, 2  # streams of a program
_STREAM_BYTES = 1 << 16


class LibbpfError(Exception):
    """libbpf could not do what was asked, with its own words."""


class Libbpf:
    """The library, loaded. `take_words()` returns what it said since the last time."""

    def __init__(self) -> None:
        self.c = ctypes.CDLL("libbpf.so.1", use_errno=True)
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.fdopen.restype = c_void_p
        self._vsnprintf = self.libc.vsnprintf
        self._vsnprintf.argtypes = (c_char_p, c_size_t, c_char_p, c_void_p)
        self._packet = ctypes.create_string_buffer(PACKET, len(PACKET))
        self._run = TestRunOpts(sz=ctypes.sizeof(TestRunOpts), data_in=ctypes.addressof(self._packet))
        self._run.data_size_in = len(PACKET)
        self._words: list[str] = []
        self.when_debugging: Callable[[bytes], None] | None = None  # gets the format of each line that is not kept
        self._print = _PRINT(self._on_print)
        self.libc.malloc.restype = c_void_p
        self._log = c_void_p(self.libc.malloc(c_size_t(LOG_BYTES)))  # touched only as far as it is written to
        for kind, names in _RETURN.items():
            for name in names:
                getattr(self.c, name).restype = kind
        self.c.btf__type_by_id.argtypes = (c_void_p, c_uint32)
        self.c.libbpf_set_print(self._print)

    def _on_print(self, level: int, text: bytes, values: int | None) -> int:
        if level < 2:  # not LIBBPF_DEBUG
            line = ctypes.create_string_buffer(1024)
            self._vsnprintf(line, len(line), text, values)
            self._words.append(line.value.decode("utf-8", "replace"))
        elif self.when_debugging:
            self.when_debugging(text)
        return 0

    def take_words(self) -> str:
        words = "".join(self._words)
        self._words.clear()
        return words

    def error(self, what: str) -> LibbpfError:
        """`what` failed: with errno and libbpf's words."""
        number = ctypes.get_errno()
        return LibbpfError(f"{what}: {errno_name(number)}: {self.take_words().strip()}"[:4000])

    def version(self) -> str:
        return str(self.c.libbpf_version_string().decode())

    def programs(self, handle: c_void_p) -> Iterator[tuple[str, c_void_p]]:
        """Those of an object that libbpf has opened, by name."""
        return _each(handle, self.c.bpf_object__next_program, self.c.bpf_program__name)

    def maps(self, handle: c_void_p) -> Iterator[tuple[str, c_void_p]]:
        return _each(handle, self.c.bpf_object__next_map, self.c.bpf_map__name)

    def prog_load(
        self, prog_type: int, insns: bytes, opts: LoadOpts, license_: str = "GPL", *, logged: bool = False
    ) -> tuple[int, int, str]:
        """Load a program: its file descriptor (or -1), the errno (0: it was taken), and the verifier's log if refused.

        The log costs a refused program a second load, unless it is `logged` at once: that makes a successful load
        several times slower.
        """
        fd, log = -1, ""
        if not logged:
            fd, log = self.load(prog_type, insns, opts, license_, level=0, attempts=5)
        if fd < 0:
            fd, log = self.load(prog_type, insns, opts, license_, level=1, attempts=5)
        return (fd, 0, "") if fd >= 0 else (-1, -fd, log)

    def verified(self, prog_type: int, insns: bytes, opts: LoadOpts) -> tuple[int, str]:
        """The errno with which the verifier refuses a small program, and its log, asked for at once; 0: it does not."""
        fd, log = self.load(prog_type, insns, opts, "GPL", level=1, size=SHORT_LOG_BYTES)
        if fd == -errno.ENOSPC:
            fd, log = self.load(prog_type, insns, opts, "GPL", level=1)
        if fd < 0:
            return -fd, log
        os.close(fd)
        return 0, ""

    def accepts(self, prog_type: int, insns: bytes, opts: LoadOpts) -> bool:
        """Does the verifier accept a program? Without a log, which is most of the time that a small program takes."""
        fd, _ = self.load(prog_type, insns, opts, "GPL", level=0)
        if fd >= 0:
            os.close(fd)
        return fd >= 0

    def load(
        self, prog_type: int, insns: bytes, opts: LoadOpts, license_: str,
        *, level: int, size: int = LOG_BYTES, attempts: int = 1,
    ) -> tuple[int, str]:  # fmt: skip
        """File descriptor or negative errno, and the log; with level 0 and no buffer libbpf asks the kernel once.

        With level 2 the log has every state, also of a program that was taken.
        """
        opts.sz, opts.attempts = ctypes.sizeof(LoadOpts), attempts
        if level:
            ctypes.memset(self._log, 0, 1)
            opts.log_level, opts.log_size, opts.log_buf = level, size, self._log
        count = c_size_t(len(insns) // 8)
        fd = self.c.bpf_prog_load(prog_type, b"probe", license_.encode(), insns, count, ctypes.byref(opts))
        opts.log_level, opts.log_size, opts.log_buf = 0, 0, None
        return fd, ctypes.string_at(self._log).decode("utf-8", "replace") if level else ""

    def unloadable(self, prog_type: int, opts: LoadOpts) -> str:
        """Why no program of this type can be loaded here, not even one that calls nothing; empty when one can."""
        refused, log = self.verified(prog_type, RETURN, opts)
        why = f"a program that calls nothing does not load: -{errno_name(refused)} {log.strip()[-500:]}".strip()
        return why if refused else ""

    def map_create(
        self, map_type: int, max_entries: int, flags: int, extra: int = 0, *, key: int = 0, value: int = 0
    ) -> int:
        """The file descriptor of a map; the sizes of its keys and values are in bytes. Raises LibbpfError."""
        opts = MapOpts(sz=ctypes.sizeof(MapOpts), map_flags=flags, map_extra=extra)
        fd = self.c.bpf_map_create(map_type, b"probe", key, value, max_entries, ctypes.byref(opts))
        if fd < 0:
            raise self.error("bpf_map_create")
        return int(fd)

    def test_run(self, fd: int, packet: bytes | None = None, repeat: int = 0, context: bytes = b"") -> tuple[int, int]:
        """Run a loaded program, on PACKET by default: errno and its return value. An empty packet or context is none.

        `repeat`: how often; 0 is once, and all that programs without a packet can do.
        """
        opts = self._run
        if packet is not None:
            opts = TestRunOpts(sz=ctypes.sizeof(TestRunOpts), data_size_in=len(packet))
            content = ctypes.create_string_buffer(packet, len(packet) or 1)
            opts.data_in = ctypes.addressof(content) if packet else None
            given = ctypes.create_string_buffer(context, len(context) or 1)
            opts.ctx_in, opts.ctx_size_in = (ctypes.addressof(given), len(context)) if context else (None, 0)
        opts.retval, opts.repeat = 0, repeat
        failed = self.c.bpf_prog_test_run_opts(fd, ctypes.byref(opts))
        return -failed, opts.retval

    def read_stream(self, fd: int, stream: int) -> str:
        """What the program has written to its STDOUT or STDERR since the last read. Raises LibbpfError."""
        buffer, whole = ctypes.create_string_buffer(_STREAM_BYTES), b""
        attr = StreamRead(ctypes.addressof(buffer), len(buffer), stream, fd)
        number = _BPF_SYSCALL[os.uname().machine]
        while size := self.libc.syscall(number, _PROG_STREAM_READ_BY_FD, ctypes.byref(attr), ctypes.sizeof(attr)):
            if size < 0:
                raise self.error("BPF_PROG_STREAM_READ_BY_FD")
            whole += buffer.raw[:size]
        return whole.decode("utf-8", "replace")

    def kernel_btf_fds(self) -> dict[str, int]:
        """The BTF of vmlinux and of each loaded module, as file descriptors that the caller owns."""
        found: dict[str, int] = {}
        btf_id = c_uint32(0)
        while self.c.bpf_btf_get_next_id(btf_id, ctypes.byref(btf_id)) == 0:
            fd = self.c.bpf_btf_get_fd_by_id(btf_id)
            if fd < 0:
                continue
            name = ctypes.create_string_buffer(64)
            info = BtfInfo(name=ctypes.addressof(name), name_len=len(name))
            size = c_uint32(ctypes.sizeof(info))
            if self.c.bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(size)) == 0 and info.kernel_btf:
                found[name.value.decode()] = fd
            else:
                os.close(fd)
        return found


def _each(
    handle: c_void_p, following: Callable[[c_void_p, c_void_p], int | None], name: Callable[[c_void_p], bytes]
) -> Iterator[tuple[str, c_void_p]]:
    found = c_void_p(None)
    while (found := c_void_p(following(handle, found))).value:
        yield name(found).decode("utf-8", "replace"), found


def errno_name(number: int) -> str:
    """`EINVAL`; the kernel's own 524 is ENOTSUPP."""
    return {524: "ENOTSUPP"}.get(number) or errno.errorcode.get(number, str(number))
