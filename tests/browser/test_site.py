# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The site in a real browser, from the disk: fast, usable with mouse and keyboard, and harmless.

Needs chromium (`apt-get install chromium`); without it these tests are skipped, and say so.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from runner.reports.site import site, write_site
from runner.results.model import JudgedRun
from tests.unit import results_samples as samples
from tests.unit.census_samples import census_run, name
from tests.unit.hostile_samples import hostile_run

CHROMIUM = shutil.which("chromium") or ""
QUIET = (
    "--no-sandbox",  # root runs containers' tests
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TYPE = """async (text) => {
  const box = document.querySelector("input[type=search]");
  box.value = text;
  box.dispatchEvent(new Event("input", {bubbles: true}));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
}"""

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Fails when the page complains, or asks for anything that is not a file."""
    page = browser.new_page(viewport={"width": 1600, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda it: None if it.url.startswith("file:") else complaints.append(it.url))
    yield page
    page.close()
    assert not complaints


def written(folder: Path, judged: JudgedRun) -> Path:
    write_site(folder, site(judged, [judged], {"works": ("It works.", "commit: abc")}))
    return folder


@pytest.fixture(scope="module")
def census(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("census") / "site", census_run())


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("mixed") / "site", samples.mixed_run())


def visible(page: Page) -> list[str]:
    return page.locator("table.grid tbody tr[data-slug]:not([hidden]) th").all_inner_texts()


# --- 400 kfuncs on 24 kernels ---------------------------------------------------------------------------------------


def test_large_grid_is_whole(page: Page, census: Path) -> None:
    page.goto(f"file://{census}/index.html")
    assert page.locator("table.grid td").count() == 400 * 24


def test_large_grid_is_filtered_as_one_types(page: Page, census: Path) -> None:
    page.goto(f"file://{census}/index.html")
    page.evaluate(TYPE, "warm up")
    for text, rows in (("c", 150), ("ct", 50), ("ct_op_0", 13), ("", 400), ("no such kfunc", 0), ("", 400)):
        page.evaluate(TYPE, text)
        assert len(visible(page)) == rows, text
    page.evaluate(TYPE, "CT 001")
    assert visible(page) == [name(1)]


# --- filter, links, dialog ------------------------------------------------------------------------------------------


def test_filter_by_state_and_difference_stays_in_the_address(page: Page, mixed: Path) -> None:
    page.goto(f"file://{mixed}/arm64-tc.html")
    page.get_by_label("absent").check()
    assert visible(page) == ["bpf_ct_set_nat_info"]
    page.get_by_label("absent").uncheck()
    page.get_by_label("registered").check()
    page.get_by_label("Search").fill("alloc")
    assert visible(page) == ["bpf_xdp_ct_alloc"]
    page.locator(".views .group", has_text="arm64").get_by_text("xdp").click()
    page.wait_for_url("**/arm64-xdp.html#*")
    assert visible(page) == ["bpf_skb_ct_alloc"], "the filter goes along to the other grid"
    page.reload()
    assert visible(page) == ["bpf_skb_ct_alloc"]


def test_square_opens_its_evidence_and_has_an_address(page: Page, mixed: Path) -> None:
    broken = samples.mixed_run().cell("6.12.117-x86_64").rows[3]
    page.goto(f"file://{mixed}/x86_64-{broken.type}.html")
    page.locator(f'tr[data-slug="{broken.subject}"] td').nth(1).click()
    dialog = page.locator("dialog[open]")
    dialog.get_by_text("error 0").wait_for(state="attached")
    assert dialog.locator("h2").inner_text().startswith(f"{broken.subject} · {broken.type}")
    first = dialog.locator(".probe").first
    assert first.locator("summary").inner_text().endswith(broken.probe), "what is broken comes first"
    first.locator("summary").click()
    first.locator("pre").first.wait_for()
    assert "R1=ctx()" in first.locator("pre").first.inner_text()
    assert f"--probe {broken.probe}" in first.locator("pre.command").inner_text()
    dialog.locator(".console summary").click()
    dialog.locator(".console pre").wait_for()
    assert "Linux version" in dialog.locator(".console pre").inner_text()
    again = page.url
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    page.goto("about:blank")
    page.goto(again)
    page.locator("dialog[open]").get_by_text(broken.probe).wait_for()
    page.go_back()


def test_keyboard_alone_is_enough(page: Page, mixed: Path) -> None:
    page.goto(f"file://{mixed}/index.html")
    page.locator("table.grid td").first.focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.locator("dialog[open] .state").wait_for()
    second = sorted(samples.KFUNCS)[1]
    assert page.url.endswith(f"#at=6.12.117-x86_64%2F{second}%2Ftc")


def test_kernel_opens_its_cell(page: Page, mixed: Path) -> None:
    page.goto(f"file://{mixed}/arm64-tc.html")
    page.get_by_role("button", name="7.3.4").click()
    page.locator("dialog[open]").get_by_text("boot failed: kernel panicked").first.wait_for()


def test_claim_of_a_kfunc_page_is_unfolded(page: Page, mixed: Path) -> None:
    page.goto(f"file://{mixed}/kfunc/bpf_ct_release.html")
    row = page.locator("table.probes tbody tr").nth(4)
    row.locator("td").first.click()
    first = page.locator("dialog[open] .probe").first
    first.locator("pre").first.wait_for()
    assert first.locator("code").inner_text() == row.get_attribute("data-probe")


def test_what_has_no_type_opens_and_so_does_a_probe_with_a_slash(page: Page, tmp_path: Path) -> None:
    run = samples.mixed_run()
    rows = {
        cell.id: tuple(
            replace(row, subject="lb/100%", type="", probe="lb/100%" if row.verdict else row.probe)
            for row in cell.rows
            if (row.subject, row.type) == ("bpf_skb_ct_alloc", "tc")
        )
        for cell in run.cells
    }
    cells = tuple(cell.model_copy(update={"rows": rows[cell.id]}) for cell in run.cells)
    folder = written(tmp_path / "site", run.model_copy(update={"cells": cells}))
    page.goto(f"file://{folder}/index.html")
    page.locator("table.grid tbody td").first.click()
    page.locator("dialog[open] .state").wait_for()
    page.reload()
    assert page.locator("dialog[open] h2").inner_text().startswith("lb/100%"), "it has an address"
    page.goto(f"file://{next((folder / 'kfunc').iterdir())}")
    page.locator("table.probes tbody td").first.click()
    page.locator("dialog .probe[open]").first.wait_for()


def test_address_of_nothing_says_so(page: Page, mixed: Path) -> None:
    page.goto(f"file://{mixed}/index.html#at=../../etc/passwd/tc")
    page.locator("dialog[open] .problem").wait_for()
    assert "names nothing" in page.locator("dialog .problem").inner_text()


def test_kernels_and_names_stay_in_sight(page: Page, census: Path) -> None:
    page.set_viewport_size({"width": 700, "height": 700})
    page.goto(f"file://{census}/index.html")
    page.evaluate("const box = document.querySelector('.scroll'); box.scrollIntoView(); box.scrollTo(1e6, 1e6);")
    kernel, last = page.locator("thead th").last.bounding_box(), page.locator("tbody th").last.bounding_box()
    assert kernel is not None
    assert last is not None
    assert 0 <= kernel["y"] < last["y"] < 700
    assert 0 <= last["x"] < kernel["x"] < 700


def test_narrow_page_scrolls_in_its_grid_alone(page: Page, census: Path) -> None:
    page.set_viewport_size({"width": 420, "height": 800})
    page.goto(f"file://{census}/index.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    for path in ("runs.html", f"kfunc/{name(1)}.html", f"run/{samples.clean_run().run.id}.html"):
        page.goto(f"file://{census}/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 420, path


# --- hostile guests -------------------------------------------------------------------------------------------------


def test_nothing_of_a_guest_runs(page: Page, tmp_path: Path) -> None:
    folder = written(tmp_path / "site", hostile_run())
    pages = sorted(folder.rglob("*.html"))
    assert pages
    for path in pages:
        page.goto(f"file://{path}")
        assert page.evaluate("window.pwned") is None, path
    page.goto(f"file://{folder}/x86_64-tc.html")
    page.locator("table.grid tbody td").first.click()
    page.locator("dialog[open] .probe").first.wait_for()
    for summary in page.locator("dialog summary").all():
        summary.click()
    page.locator("dialog .console pre").wait_for()
    page.wait_for_timeout(200)
    assert "<script>" in page.locator("dialog").inner_text(), "the text is shown as it is"
    assert page.evaluate("window.pwned") is None
    assert page.locator("dialog img, dialog script, dialog a[href^=javascript]").count() == 0


def test_without_scripts_the_pages_are_whole_and_say_why_nothing_opens(browser: Browser, mixed: Path) -> None:
    """As Jenkins serves what a job archives."""
    policy = {
        "Content-Security-Policy": "sandbox allow-same-origin; default-src 'none'; img-src 'self'; style-src 'self';"
    }
    page = browser.new_page()

    def serve(route: Route) -> None:
        route.fulfill(path=mixed / route.request.url.removeprefix("http://jenkins.test/"), headers=policy)

    page.route("http://jenkins.test/**", serve)
    page.goto("http://jenkins.test/index.html")
    assert page.locator("noscript").inner_text().startswith("Scripts are off, or the server's Content-Security-Policy")
    assert page.locator("table.grid td").first.is_visible()
    assert not page.locator("input").locator("visible=true").count()
    assert not page.get_by_text("Open a square").is_visible()
    page.locator("table.grid tbody th a").first.click()
    assert page.locator("h1").is_visible()
    assert "6.12" in page.locator("main table").first.inner_text()
    page.close()
