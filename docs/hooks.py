# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""For mkdocs: README, CONTRIBUTING and CHANGELOG are pages as well, and links to files that are none stay readable."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "CHANGELOG.md": "CHANGELOG.md"}
_SHIM = "https://unpkg.com/iframe-worker/shim"  # what the theme's plugin for pages from the disk loads from elsewhere
_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#)([^)#\s]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the folder above."""
    for source, target in PAGES.items():
        files.append(File.generated(config, target, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: object) -> str:
    """Each relative link leads to a page, or becomes its words. Raises FileNotFoundError for one that leads nowhere."""
    generated = page.file.src_uri in PAGES.values()

    def placed(link: re.Match[str]) -> str:
        words, target, anchor = link[1], link[2], link[3] or ""
        path = ((ROOT if generated else ROOT / "docs") / target).resolve()
        if not path.exists():
            raise FileNotFoundError(f"{page.file.src_uri}: {link[0]} leads nowhere")
        name = path.relative_to(ROOT).as_posix()
        name = PAGES.get(name) or name.removeprefix("docs/")
        return f"[{words}]({name}{anchor})" if name.endswith(".md") and files.get_file_from_path(name) else words

    if generated:
        markdown = markdown.replace('="docs/', '="')  # of pictures
    return _LINK.sub(placed, markdown)


def on_post_page(output: str, page: Page, **_: object) -> str:
    """The search runs without anything from elsewhere."""
    return output.replace(_SHIM, get_relative_url("worker.js", page.url))


def on_post_template(output: str, **_: object) -> str:
    """The same, of pages that are no documents."""
    return output.replace(_SHIM, "worker.js")
