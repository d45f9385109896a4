"""virtme-ng's programs, which lie beside the Python that runs this one."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def virtme_tool(name: str) -> Path:
    """`vng`, `virtme-configkernel`."""
    return Path(sys.executable).with_name(name)


def virtme_environment(home: Path) -> dict[str, str]:
    """vng looks for its other programs in PATH, and for settings in HOME: with these it does the same for everybody."""
    folder = Path(sys.executable).parent
    return {"PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}", "HOME": os.fspath(home)}
