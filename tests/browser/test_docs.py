# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The docs as a site, opened from the disk: its search finds, and nothing comes from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.test_site import CHROMIUM, browser
from tests.samples import ROOT

__all__ = ["browser"]
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs chromium: apt-get install chromium")
_LOADED = re.compile(r'<(?:script|link|img)[^>]*(?:src|href)="?(https?:[^">\s]+)')


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    mkdocs = Path(sys.executable).with_name("mkdocs")
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    subprocess.run([mkdocs, "build", "--strict", "--quiet", "--site-dir", folder], cwd=ROOT, env=env, check=True)
    return folder


def test_the_search_works_from_the_disk(docs: Path, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((docs / "setup.html").as_uri())
    page.focus("input.md-search__input")
    page.keyboard.type("podman", delay=30)
    page.wait_for_selector(".md-search-result__item a", state="attached")
    found = page.locator(".md-search-result__item a").evaluate_all("(links) => links.map((link) => link.href)")
    page.close()
    assert any("setup.html" in link for link in found), found
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert complaints == []


def test_no_page_loads_anything_from_elsewhere(docs: Path) -> None:
    loaded = {(page.name, url) for page in docs.rglob("*.html") for url in _LOADED.findall(page.read_text())}
    assert loaded == set()
