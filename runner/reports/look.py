"""A closer look at one program, and the console around it, for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Group, RenderableType

from runner.model import CellResult, Look
from runner.reports.hanging import whole
from runner.reports.instructions import listing
from runner.reports.trimmed import section
from runner.text import counted, lines

_READY = "Not backgrounding"  # the ssh server's last words before the first question: what follows came while asking
_KERNEL = re.compile(r"\[ *\d+\.\d{6}\] ")  # the ssh server and qemu write there as well
_MAX_CONSOLE_LINES = 60


def look_sections(look: Look) -> list[RenderableType]:
    """The verifier's whole log, the kernel's instructions, what the kernel said meanwhile."""
    if look.failed:
        return [_section("A closer look", [f"was not possible: {look.failed}"])]
    parts = [_section("Verifier, every state", lines(look.log.rstrip()))]
    if look.translated:
        code = bytes.fromhex(look.translated)
        jit = f"{look.jited_bytes} bytes of machine code" if look.jited_bytes else "interpreted"
        title = f"Translated: {len(code) // 8} instructions, {jit}"
        parts.append(_section(title, list(listing(code, look.byte_order, look.calls))))
    said = [line for text in look.kernel for line in lines(text)]
    parts.append(_section("The kernel said meanwhile", said or ["nothing"]))
    return parts


def probing_console(result: CellResult) -> list[RenderableType]:
    """What the kernel wrote while it was asked, all probes together; nothing where it was silent or not loaded."""
    said = [line for line in lines(result.console.rpartition(_READY)[2]) if _KERNEL.match(line)]
    if _READY not in result.console or not said:
        return []
    shown = said[-_MAX_CONSOLE_LINES:]
    cut = [f"[... {counted(len(said) - len(shown), 'line')} ...]"] if len(said) > len(shown) else []
    return [_section("Console while all probes were asked", [*cut, *shown])]


def _section(title: str, content: Iterable[str]) -> RenderableType:
    return section(title, Group(*map(whole, content)))
