# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`python -m tests.picture RUN COMMAND`: draw what COMMAND printed at the end of a stored run, for README.

Writes docs/load-light.svg and docs/load-dark.svg. Nothing in them is written by hand, and they load no fonts.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI, TerminalTheme
from rich.text import Text

from runner.project import DEFAULT_MATRIX, Project
from runner.reports.summary import run_report
from tests.samples import ROOT

LIGHT = TerminalTheme(
    (255, 255, 255),
    (36, 41, 47),
    [
        (36, 41, 47),
        (207, 34, 46),
        (17, 99, 41),
        (125, 78, 0),
        (9, 105, 218),
        (130, 80, 223),
        (27, 124, 131),
        (87, 96, 106),
    ],
)
WIDTH = 106  # columns: the longest line
FORMAT = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def main(run: str, command: str) -> None:
    """Raises UserError when there is no such run."""
    project = Project.at(DEFAULT_MATRIX)
    judged = project.newest(run)
    for name, theme in (("light", LIGHT), ("dark", DIMMED_MONOKAI)):
        console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False)
        console.print(Text(f"$ {command}", "bold"))
        console.print(run_report(judged, is_last=False))
        drawn = console.export_svg(title="", theme=theme, code_format=FORMAT, unique_id=f"load-{name}")
        Path(ROOT / f"docs/load-{name}.svg").write_text("\n".join(map(str.rstrip, drawn.splitlines())) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
