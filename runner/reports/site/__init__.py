# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A run as a static site: one folder, no server, no request to anywhere, opens from the disk.

    index.html, <arch>-<type>.html   the grid kfunc x kernel, of all architectures (all-<type>.html) and of each
    kfunc/<subject>.html             one kfunc, or what else was asked about, over all kernels
    findings.html                    what is broken or has no answer
    runs.html, run/<run>.html        what changed, and the cells with their times
    bisections.html, bisection/<bisection>.html     where an answer changed, when it was bisected
    data/                            evidence, loaded when a square is opened; see evidence.py
    static/                          style, scripts, licences

Addresses stay from build to build. All texts of guests go through jinja2's escaping, or as JSON through Alpine's
x-text; a content security policy in each page lets nothing run that is not a file of the site.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path

from runner.errors import InfraError, UserError
from runner.reports.site.evidence import Sayings, scripts
from runner.reports.site.pages import Pages
from runner.results.availability import availability
from runner.results.bisections import Bisection
from runner.results.model import JudgedRun

STATIC = ("style.css", "site.js", "alpine.js", "LICENSES.md")

_MARKER = b'<meta name="generator" content="kfunc-runner'


def site(
    judged: JudgedRun, runs: Iterable[JudgedRun], said: Sayings, bisections: Sequence[Bisection] = ()
) -> Iterator[tuple[str, str]]:
    """(path, content) of every file. The grids show `judged`; each of `runs`, the earliest first, gets a page.

    `said`: what is claimed in words and who says so, by the probe without its type.
    """
    grid = availability(judged, every=True)
    yield from Pages(judged, runs, grid, bisections).files()
    yield from scripts(grid, judged, said)
    static = resources.files("runner.reports") / "static"
    for name in STATIC:
        yield f"static/{name}", (static / name).read_text(encoding="utf-8")


def write_site(folder: Path, files: Iterable[tuple[str, str]]) -> int:
    """Write every file, whole or not at all. Returns their number. Raises UserError when the folder holds something
    else, InfraError when the disk fails.
    """
    index = folder / "index.html"
    try:
        if folder.exists() and any(folder.iterdir()) and not (index.exists() and _MARKER in index.read_bytes()):
            raise UserError(f"{folder} holds something else than a site", hint="name a new folder")
        count = 0
        for path, text in files:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.with_name(f".{target.name}.new")
            draft.write_text(text, encoding="utf-8", errors="replace", newline="\n")
            draft.replace(target)
            count += 1
    except OSError as error:
        raise InfraError(f"cannot write {error.filename or folder}: {error.strerror}") from error
    return count
