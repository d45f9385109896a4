"""What vng starts as qemu: a script that looks at the kernel's command line before a kernel does.

vng makes most of that line itself. A kernel cuts what is too long for it without a word, from its end, where vng says
what the init process is: the guest then dies of something else.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from runner.model.architecture import Architecture
from runner.process import require

_SCRIPT = """\
#!/bin/sh
for word; do
    if [ "$before" = -append ] && [ ${{#word}} -ge {limit} ]; then
        echo "the kernel's command line has ${{#word}} bytes, and {arch} takes {most}" >&2
        exit 1
    fi
    before=$word
done
exec {qemu} "$@"
"""
_REFUSAL = re.compile(r"the kernel's command line has \d+ bytes, and \S+ takes \d+")


def write_qemu(arch: Architecture, folder: Path) -> Path:
    """The script, in `folder`. InfraError when qemu is not installed."""
    script = folder / arch.qemu
    text = _SCRIPT.format(
        limit=arch.cmdline_max, most=arch.cmdline_max - 1, arch=arch.name, qemu=shlex.quote(require(arch.qemu))
    )
    script.write_text(text)
    script.chmod(0o700)
    return script


def refusal(text: str) -> str:
    """What the script said when it started nothing; empty when it did not."""
    found = _REFUSAL.search(text)
    return found[0] if found else ""
