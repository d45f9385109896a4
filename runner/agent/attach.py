"""Attaches programs: to devices, and to whatever else libbpf attaches a program to by itself."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from functools import cached_property

from .guest import Namespace, ip
from .libbpf import Libbpf

_DEVICES = """\
netns add attach
link add attach0 netns attach type veth peer name attach1 netns attach
"""
_CGROUP = "/sys/fs/cgroup/attach"
_TO_ANOTHER = (  # sections of what is attached to a map or a program, or to a device of its own kind
    *("xdp/devmap", "xdp/cpumap", "xdp.frags/devmap", "xdp.frags/cpumap", "netkit/", "freplace"),
    *("iter/bpf_map_elem", "iter/bpf_sk_storage_map", "iter.s/bpf_map_elem", "iter.s/bpf_sk_storage_map"),
)
_INGRESS, _REPLACE, _TCX_INGRESS = 1, 1, 46  # BPF_TC_INGRESS, BPF_TC_F_REPLACE, BPF_TCX_INGRESS
_XDP_MODES = {"generic": 2, "native": 4}  # XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE


class TcHook(ctypes.Structure):
    """struct bpf_tc_hook"""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("ifindex", ctypes.c_int),
        ("attach_point", ctypes.c_int),
        ("parent", ctypes.c_uint32),
    )


class TcOpts(ctypes.Structure):
    """struct bpf_tc_opts"""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("prog_fd", ctypes.c_int),
        ("flags", ctypes.c_uint32),
        ("prog_id", ctypes.c_uint32),
        ("handle", ctypes.c_uint32),
        ("priority", ctypes.c_uint32),
    )


class Hooks:
    """Where programs are attached to one device; one at a time, replaced in place while the kind stays the same."""

    def __init__(self, libbpf: Libbpf, index: int) -> None:
        self._libbpf = libbpf
        self._index = index
        self._kind = ""
        self._link = -1
        self._has_clsact = False

    def attach(self, kind: str, fd: int) -> None:
        """Attach the program, in place of the one before. Raises LibbpfError."""
        if refused := self.refused(kind, fd):
            ctypes.set_errno(refused)
            raise self._libbpf.error(f"attaching by {kind}")

    def refused(self, kind: str, fd: int) -> int:
        """Attach it; returns the errno when that fails, or 0."""
        if self._kind != kind:
            self.detach()
        done = {"clsact": self._clsact, "tcx": self._tcx}.get(kind, self._xdp)(kind, fd)
        if done >= 0:
            self._kind = kind
        return -min(0, done)

    def _hook(self) -> TcHook:
        return TcHook(sz=ctypes.sizeof(TcHook), ifindex=self._index, attach_point=_INGRESS)

    def _clsact(self, _: str, fd: int) -> int:
        hook = self._hook()
        if not self._has_clsact:
            done = int(self._libbpf.c.bpf_tc_hook_create(ctypes.byref(hook)))
            if done < 0:
                return done
            self._has_clsact = True
        opts = TcOpts(sz=ctypes.sizeof(TcOpts), prog_fd=fd, flags=_REPLACE, handle=1, priority=1)
        return int(self._libbpf.c.bpf_tc_attach(ctypes.byref(hook), ctypes.byref(opts)))

    def _tcx(self, _: str, fd: int) -> int:
        if self._link >= 0:
            return int(self._libbpf.c.bpf_link_update(self._link, fd, None))
        link = int(self._libbpf.c.bpf_link_create(fd, self._index, _TCX_INGRESS, None))
        self._link = max(link, -1)
        return link

    def _xdp(self, kind: str, fd: int) -> int:
        return int(self._libbpf.c.bpf_xdp_attach(self._index, fd, ctypes.c_uint32(_XDP_MODES[kind]), None))

    def detach(self) -> None:
        """Undo the last `attach`, if there was one."""
        kind, self._kind = self._kind, ""
        if kind == "clsact":
            hook, opts = self._hook(), TcOpts(sz=ctypes.sizeof(TcOpts), handle=1, priority=1)
            self._libbpf.c.bpf_tc_detach(ctypes.byref(hook), ctypes.byref(opts))
        elif kind == "tcx":
            os.close(self._link)
            self._link = -1
        elif kind:
            self._libbpf.c.bpf_xdp_detach(self._index, ctypes.c_uint32(_XDP_MODES[kind]), None)


class Attacher:
    """Attaches a loaded program or map for a moment, and says what came of it."""

    def __init__(self, libbpf: Libbpf) -> None:
        self._libbpf, self._c = libbpf, libbpf.c

    @cached_property
    def _namespace(self) -> Namespace:
        """A network namespace with a pair of devices. Raises NoAnswer where the kernel has none."""
        ip(_DEVICES)
        namespace = Namespace("attach")
        with namespace:
            ip("link set attach0 up\nlink set attach1 up\n")
        return namespace

    @cached_property
    def _hooks(self) -> Hooks:
        with self._namespace:
            return Hooks(self._libbpf, socket.if_nametoindex("attach0"))

    @cached_property
    def _netns(self) -> int:
        with self._namespace:
            return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @cached_property
    def _cgroup(self) -> int:
        """Raises OSError where there is no cgroup2."""
        os.makedirs(_CGROUP, exist_ok=True)
        return os.open(_CGROUP, os.O_RDONLY | os.O_CLOEXEC)

    def program(self, program: ctypes.c_void_p, kind: str) -> dict[str, object]:
        """The errno, or 0, and libbpf's words; without an errno: it is attached to nothing by itself.

        `kind` is its type in libbpf's words.
        """
        section = self._c.bpf_program__section_name(program).decode("utf-8", "replace").removeprefix("?")
        if section.startswith(_TO_ANOTHER):
            return {}
        self._libbpf.take_words()
        refused = self._refused(program, kind, section)
        words = self._libbpf.take_words()
        if refused == errno.EOPNOTSUPP and not words:
            return {}
        return {"errno": refused, "words": words}

    def _refused(self, program: ctypes.c_void_p, kind: str, section: str) -> int:
        if kind in ("sched_cls", "xdp"):
            how = "native" if kind == "xdp" else "tcx" if section.startswith("tcx") else "clsact"
            hooks = self._hooks
            with self._namespace:
                refused = hooks.refused(how, self._c.bpf_program__fd(program))
                hooks.detach()
            return refused
        if kind.startswith("cgroup_") or kind == "sock_ops" or section.startswith("lsm_cgroup"):
            return self._linked(self._c.bpf_program__attach_cgroup(program, self._cgroup))
        if kind in ("sk_lookup", "flow_dissector"):
            return self._linked(self._c.bpf_program__attach_netns(program, self._netns))
        return self._linked(self._c.bpf_program__attach(program))

    def operations(self, handle: ctypes.c_void_p) -> dict[str, object]:
        """As `program`, for a map of struct_ops."""
        self._libbpf.take_words()
        refused = self._linked(self._c.bpf_map__attach_struct_ops(handle))
        return {"errno": refused, "words": self._libbpf.take_words()}

    def _linked(self, link: int | None) -> int:
        """The errno of a link that was not made, or 0. A link that was made is destroyed."""
        if not link:
            return ctypes.get_errno()
        self._c.bpf_link__destroy(ctypes.c_void_p(link))
        return 0
