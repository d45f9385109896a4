# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Attaches programs: to devices, and to whatever else libbpf attaches a program to by itself."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cached_property
from socket import if_nametoindex

from .guest import Namespace, ip
from .hooks import Hooks
from .libbpf import Libbpf

_ANY, _PEER = "attach0", "attach-peer"  # for programs that no device is named for; the other ends
_CGROUP = "/sys/fs/cgroup/attach"
_TO_ANOTHER = (  # sections of what is attached to a map or a program, or to a device of its own kind
    *("xdp/devmap", "xdp/cpumap", "xdp.frags/devmap", "xdp.frags/cpumap", "netkit/", "freplace"),
    *("iter/bpf_map_elem", "iter/bpf_sk_storage_map", "iter.s/bpf_map_elem", "iter.s/bpf_sk_storage_map"),
)


class Attacher:
    """Attaches a loaded program or map for a moment, and says what came of it."""

    def __init__(self, libbpf: Libbpf) -> None:
        self._libbpf, self._c = libbpf, libbpf.c
        self._devices: dict[str, Hooks] = {}  # by name

    @cached_property
    def namespace(self) -> Namespace:
        """A network namespace for devices of ours alone. Raises NoAnswer where the kernel has none."""
        ip("netns add attach")
        return Namespace("attach")

    def device(self, name: str) -> int:
        """The index of a veth in that namespace. Raises NoAnswer."""
        if name not in self._devices:
            with self.namespace:
                ip(f"link add {name} type veth peer name {_PEER}{len(self._devices)}\nlink set {name} up\n")
                self._devices[name] = Hooks(self._libbpf, if_nametoindex(name))
        return self._devices[name].index

    @cached_property
    def _netns(self) -> int:
        with self.namespace:
            return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @cached_property
    def _cgroup(self) -> int:
        """Raises OSError where there is no cgroup2."""
        os.makedirs(_CGROUP, exist_ok=True)
        return os.open(_CGROUP, os.O_RDONLY | os.O_CLOEXEC)

    def program(self, program: ctypes.c_void_p, kind: str, device: str = "") -> dict[str, object]:
        """The errno, or 0, and libbpf's words; without an errno: it is attached to nothing by itself.

        `kind` is its type in libbpf's words; `device` is what it is bound to.
        """
        section = self._c.bpf_program__section_name(program).decode("utf-8", "replace").removeprefix("?")
        if section.startswith(_TO_ANOTHER):
            return {}
        self._libbpf.take_words()
        refused = self._refused(program, kind, section, device or _ANY)
        words = self._libbpf.take_words()
        if refused == errno.EOPNOTSUPP and not words:
            return {}
        return {"errno": refused, "words": words}

    def _refused(self, program: ctypes.c_void_p, kind: str, section: str, device: str) -> int:
        if kind in ("sched_cls", "xdp"):
            how = "native" if kind == "xdp" else "tcx" if section.startswith("tcx") else "clsact"
            self.device(device)
            hooks = self._devices[device]
            with self.namespace:
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
