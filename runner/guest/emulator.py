"""What became of the emulator, as the host's process table tells it."""

from __future__ import annotations

from pathlib import Path

STOPPED_HINT = "who sends it SIGSTOP? It was ended"
KILLED_HINT = "was it killed, by `kill -9` or by this host's out-of-memory killer? `dmesg` of the host tells"
_STOPPED = frozenset({"T", "t"})  # proc(5): by a signal, by a debugger


def is_stopped(supervisor: int) -> bool:
    """Is one of the processes below `supervisor`, qemu among them, stopped?"""
    processes = dict(filter(None, map(_stat, Path("/proc").glob("[0-9]*/stat"))))
    return any(state in _STOPPED and _is_below(pid, supervisor, processes) for pid, (state, _) in processes.items())


def _is_below(pid: int, ancestor: int, processes: dict[int, tuple[str, int]]) -> bool:
    while pid in processes and pid != ancestor:
        pid = processes[pid][1]
    return pid == ancestor


def _stat(path: Path) -> tuple[int, tuple[str, int]] | None:
    """Its id, and its state and its parent's id; None when it has ended meanwhile."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return int(path.parent.name), (state, int(parent))
