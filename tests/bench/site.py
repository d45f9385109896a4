# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The site with 400 kfuncs on 24 kernels, from the disk, in Chromium: its first paint, a keystroke in the search."""

from __future__ import annotations

import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from statistics import median

from playwright.sync_api import sync_playwright

from runner.reports.site import site, write_site
from tests.bench.measure import Figure
from tests.unit.census_samples import census_run

_ROUNDS = 5
TEXTS = ("c", "ct", "ct_", "ct_op", "ct_op_0", "ct_op", "ct_", "ct", "c", "", "b", "")
# from the event to the frame after the one that painted what it changed
_KEYSTROKE = """async (text) => {
  const box = document.querySelector("input[type=search]");
  const begun = performance.now();
  box.value = text;
  box.dispatchEvent(new Event("input", {bubbles: true}));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  return performance.now() - begun;
}"""
_PAINTED = """async () => {
  for (;;) {
    const [paint] = performance.getEntriesByName("first-contentful-paint");
    if (paint) return paint.startTime;
    await new Promise((done) => setTimeout(done, 10));
  }
}"""


@cache
def _measured() -> tuple[float, tuple[float, ...]]:
    """The first paint, and each keystroke at its best: what else the machine does is not the site's."""
    chromium = shutil.which("chromium")
    if not chromium:
        sys.exit("the site is measured in chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        judged = census_run()
        write_site(Path(folder) / "site", site(judged, [judged], {}))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.goto(f"file://{folder}/site/index.html")
        painted = float(page.evaluate(_PAINTED))
        page.evaluate(_KEYSTROKE, "warm up")
        rounds = [[float(page.evaluate(_KEYSTROKE, text)) for text in TEXTS] for _ in range(_ROUNDS)]
        browser.close()
    return painted, tuple(min(each) for each in zip(*rounds, strict=True))


def first_paint_ms() -> Figure:
    painted, _ = _measured()
    return Figure(painted, "ms", "400 kfuncs x 24 kernels, first contentful paint, from the disk", at_most=1000)


def filter_ms() -> Figure:
    """The slowest keystroke."""
    _, keys = _measured()
    how = f"slowest of {len(keys)} keystrokes until painted, best of {_ROUNDS} each; median {median(keys):.0f} ms"
    return Figure(max(keys), "ms", how, at_most=100)
