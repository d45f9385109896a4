# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A network device's hooks: one program at a time is attached to one of them."""

from __future__ import annotations

import ctypes
import os

from .libbpf import Libbpf

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
        self.index = index
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
        return TcHook(sz=ctypes.sizeof(TcHook), ifindex=self.index, attach_point=_INGRESS)

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
        link = int(self._libbpf.c.bpf_link_create(fd, self.index, _TCX_INGRESS, None))
        self._link = max(link, -1)
        return link

    def _xdp(self, kind: str, fd: int) -> int:
        return int(self._libbpf.c.bpf_xdp_attach(self.index, fd, ctypes.c_uint32(_XDP_MODES[kind]), None))

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
            self._libbpf.c.bpf_xdp_detach(self.index, ctypes.c_uint32(_XDP_MODES[kind]), None)
