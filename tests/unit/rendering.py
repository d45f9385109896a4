# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What rich draws, as text."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType


def render(what: RenderableType, width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(what, crop=False)
    text = out.getvalue()
    assert "\x1b" not in text
    assert not any(line.endswith(" ") for line in text.splitlines())
    return text
