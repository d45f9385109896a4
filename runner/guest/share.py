# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Files for a guest: what is pushed, and what is too much for ssh: a folder of this machine, which it cannot write to.

In a payload such a file is called `shared-NAME`, and its content is its path here.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from runner.errors import InfraError
from runner.model import SHARED, SharedFile

MOST_PUSHED = 256 << 20  # bytes of files that go over ssh instead
_FICLONE = 0x40049409  # ioctl_ficlone(2)


def stage(files: Mapping[str, SharedFile], folder: Path) -> None:
    """Lay `files` below the new `folder`: as hard links where that is possible, else as copies.

    Raises InfraError for a file that is not what it was when the run was planned, OSError.
    """
    folder.mkdir()
    known: dict[str, str] = {}
    for name, file in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.link:
            path.symlink_to(file.link)
            continue
        _lay(Path(file.source), path, file.mode)
        if file.source not in known:
            with path.open("rb") as stream:
                known[file.source] = hashlib.file_digest(stream, "sha256").hexdigest()
        if known[file.source] != file.sha256:
            raise _changed(file.source)


def _lay(source: Path, path: Path, mode: int) -> None:
    """A link has the mode of its file: another one needs a copy, as another file system does."""
    try:
        if source.is_symlink() or (source.stat().st_mode & 0o7777) != mode:
            raise OSError
        os.link(source, path)
    except FileNotFoundError:
        raise _changed(str(source)) from None
    except OSError:
        with source.open("rb") as read, path.open("xb") as write:
            try:
                fcntl.ioctl(write, _FICLONE, read.fileno())
            except OSError:
                shutil.copyfileobj(read, write, 1 << 20)
        path.chmod(mode)


def pushed(payload: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """The same with the files themselves, for guests that are shown no folder.

    Raises InfraError when they are too large, or not what they were when the run was planned.
    """
    shared = {name: Path(os.fsdecode(path)) for name, path in payload.items() if name.startswith(SHARED)}
    if not shared:
        return payload
    found = dict(without(payload))
    size = 0
    for name, path in shared.items():
        with suppress(OSError):
            size += path.stat().st_size
        if size > MOST_PUSHED:
            what = f"files of more than {MOST_PUSHED >> 20} MiB, with {path}, go only to guests of this machine with 9p"
            raise InfraError(what, hint="copy only what the command needs")
        own = name.removeprefix(SHARED)
        try:
            found[own] = path.read_bytes()
        except OSError:
            raise _changed(str(path)) from None
        if hashlib.sha256(found[own]).hexdigest() != own.partition(".")[0]:
            raise _changed(str(path))
    return found


def without(payload: Mapping[str, bytes]) -> dict[str, bytes]:
    """What is pushed into a guest that is shown the others."""
    return {name: content for name, content in payload.items() if not name.startswith(SHARED)}


def packed(files: Mapping[str, bytes], *, mode: int = 0o644) -> bytes:
    """A tar with these files, which are root's."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def _changed(path: str) -> InfraError:
    return InfraError(f"{path} changed since the run was planned", hint="start another run")
