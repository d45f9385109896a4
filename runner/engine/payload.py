"""What is pushed into a guest: the agent's bytecode and the BPF objects of its byte order, as one tar."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path


def payload(agent: Path, objects: Mapping[str, bytes]) -> bytes:
    """`agent` is a folder of bytecode; `objects` are BPF objects by file name. The same content is the same tar."""
    files = {f"agent/{path.name}": path.read_bytes() for path in sorted(agent.glob("*.pyc"))}
    return _tar({**files, **dict(sorted(objects.items()))}.items())


def _tar(files: Iterable[tuple[str, bytes]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()
