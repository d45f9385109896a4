# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The site's files: complete, linked, permanent, and harmless whatever a guest says."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from posixpath import join, normpath

import pytest

from runner.errors import UserError
from runner.model import State, StructLayout, StructMember, Verdict
from runner.reports.site import STATIC, site, write_site
from runner.reports.site.evidence import slug
from runner.reports.site.pages import changes
from runner.results.diff import Change, Trend
from runner.results.model import JudgedRun
from tests.unit import results_samples as samples
from tests.unit.hostile_samples import hostile_run

Files = dict[str, str]


class Reader(HTMLParser):
    """What a browser would load, follow or run."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.elements: list[str] = []
        self.handlers: list[str] = []
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "action", "data", "srcset", "formaction"):
                self.links.append(value or "")
            if name == "id":
                self.ids.add(value or "")
            if name == "style" or name.startswith("on"):
                self.handlers.append(f"{tag} {name}={value}")
            if name == "content" and dict(attrs).get("http-equiv") == "Content-Security-Policy":
                self.policy = value or ""


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


def build(judged: JudgedRun) -> Files:
    return dict(site(judged, [judged], {}))


def data(files: Files, path: str) -> dict[str, object]:
    found = re.fullmatch(r'evidence\("([^"]+)", (.*)\);\n', files[path])
    assert found, path
    assert path == f"data/{found[1]}.js"
    loaded = json.loads(found[2])
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def files() -> Files:
    return build(samples.mixed_run())


def test_there_is_a_grid_for_each_architecture_and_type(files: Files) -> None:
    for arch in samples.ARCHES:
        for prog_type in ("tc", "xdp"):
            page = files[f"{arch}-{prog_type}.html"]
            assert page.count("<tr data-slug=") == len(samples.KFUNCS) + 1
            assert re.findall(r'<th scope="col" data-cell="([^"]+)"', page) == [
                cell.id for cell in samples.CELLS if cell.arch == arch
            ]
    assert files["index.html"] == files["all-tc.html"]


def test_the_first_grid_has_a_column_for_each_kernel(files: Files) -> None:
    page = files["all-tc.html"]
    assert re.findall(r'<th scope="col" data-cell="([^"]+)"', page) == [
        cell.id for cell in samples.CELLS if cell.arch == "x86_64"
    ]
    row = next(line for line in page.splitlines() if 'data-slug="bpf_ct_set_nat_info"' in line)
    squares = re.findall(r'<td class="(\w+)[^"]*"(?: data-cell="([^"]+)")?>(\S+?)(?=<)', row)
    assert squares[:2] == [("a", "6.1.192-arm64", "✓/-"), ("u", "", "✓")]
    assert "several marks: x86_64/arm64" in page
    titles = re.findall(r'<tr class="family"><th scope="rowgroup">([^<]+)', page)
    assert titles == ["others in nf_conntrack", "others in nf_nat", "others in vmlinux"]
    clean = build(samples.clean_run())["all-tc.html"]
    assert clean.index("others in nf_nat</th>") < clean.index("no difference</th>") < clean.index("bpf_ct_release<")


def test_squares_show_states_and_broken_claims(files: Files) -> None:
    row = next(line for line in files["arm64-tc.html"].splitlines() if 'data-slug="bpf_ct_set_nat_info"' in line)
    assert re.findall(r'<td class="(\w+)[^>]*>(.)', row) == [("a", "-"), ("u", "✓"), ("u", "✓"), ("q", "?")]
    assert 'data-states="auq"' in row
    broken = samples.mixed_run().cell("6.12.117-arm64").rows[3]
    row = next(
        line for line in files[f"arm64-{broken.type}.html"].splitlines() if f'data-slug="{broken.subject}"' in line
    )
    assert [cells.endswith("bang") for cells in re.findall(r'<td class="([^"]+)"', row)] == [False, True, False, False]


def test_every_link_leads_to_a_file_of_the_site(files: Files) -> None:
    links = {(path, link) for path, text in files.items() if path.endswith(".html") for link in read(text).links}
    assert len(links) > 100
    for path, link in links:
        target, _, anchor = link.partition("#")
        where = normpath(join(path, "..", target)) if target else path
        assert where in files, f"{path}: {link}"
        assert not anchor or anchor in read(files[where]).ids, f"{path}: {link}"


def test_evidence_is_there_for_every_square(files: Files) -> None:
    judged = samples.mixed_run()
    for kfunc in samples.KFUNCS:
        cells = data(files, f"data/kfunc/{slug(kfunc)}.js")["cells"]
        assert isinstance(cells, dict)
        assert set(cells) == {cell.id for cell in judged.cells}
        assert {frozenset(types) for types in cells.values()} == {frozenset({"tc", "xdp"})}
    probes: dict[tuple[str, str], set[str]] = {}
    for cell in judged.cells:
        assert data(files, f"data/cell/{cell.id}.js")["show"] == f"runner cell show {cell.id} --run {judged.run.id}"
        for row in cell.rows:
            if row.verdict:
                probes.setdefault((cell.id, row.subject), set()).add(row.probe)
    assert probes
    assert {at: set(data(files, f"data/logs/{at[0]}/{slug(at[1])}.js")) for at in probes} == probes


def test_evidence_says_what_was_expected_and_observed(files: Files) -> None:
    broken = samples.mixed_run().cell("6.12.117-arm64").rows[3]
    cells = data(files, f"data/kfunc/{slug(broken.subject)}.js")["cells"]
    assert isinstance(cells, dict)
    claims = cells["6.12.117-arm64"][broken.type]["verdicts"]
    shown = next(claim for claim in claims if claim["probe"] == broken.probe)
    assert shown["verdict"] == "broken"
    assert ["observed", "error 0"] in shown["facts"]


def test_evidence_shows_a_prototype_and_its_structures_as_people_read_them() -> None:
    opts = StructLayout(name="opts", size=4, members=(StructMember(name="error", type="s32", offset=0, size=4),))
    judged = samples.mixed_run()
    first = judged.cells[0]
    declared = {"prototype": "int f(struct opts *o)", "layouts": [opts.model_dump(mode="json")]}
    known = next(row for row in first.rows if row.state)
    first = samples.with_state(first, details={"object": "vmlinux", "flags": [], "level": "none", **declared})
    files = build(judged.model_copy(update={"cells": (first, *judged.cells[1:])}))
    assert "6.1.192 (x86_64)</p>\n<pre" in files[f"kfunc/{known.subject}.html"]
    assert "int f(struct opts *o)\n\nstruct opts: 4 bytes\n" in files[f"kfunc/{known.subject}.html"]
    made = data(files, f"data/kfunc/{known.subject}.js")
    cells, texts = made["cells"], made["texts"]
    assert isinstance(cells, dict)
    assert isinstance(texts, list)
    square = cells[first.id][known.type]
    assert texts[square["declared"]] == "int f(struct opts *o)\n\nstruct opts: 4 bytes\n     0    4  s32 error"
    assert not {"layouts", "prototype", "hidden"} & {word for word, _ in square["facts"]}


def test_nothing_comes_from_anywhere_else(files: Files) -> None:
    pages = [read(text) for path, text in files.items() if path.endswith(".html")]
    assert pages
    assert not [link for page in pages for link in page.links if ":" in link or link.startswith("/")]
    assert not [page.policy for page in pages if "default-src 'none'" not in page.policy or "unsafe" in page.policy]
    styles = "".join(text for path, text in files.items() if path.endswith(".css"))
    assert styles
    assert "url(" not in styles
    assert "@import" not in styles
    assert "http" not in files["static/site.js"]


def test_addresses_are_the_same_for_another_run(files: Files) -> None:
    later = samples.clean_run()
    later = later.model_copy(update={"run": later.run.model_copy(update={"id": "20261104-101501-aaaa"})})
    changed = {path for path in set(build(later)) ^ set(files) if not path.startswith("data/logs/")}
    assert changed == {"run/20261104-101501-aaaa.html", f"run/{samples.clean_run().run.id}.html"}


def test_run_without_cells_has_a_site() -> None:
    files = build(samples.judged(cells=()))
    assert "Nothing was asked" in files["index.html"]


# --- hostile guests -------------------------------------------------------------------------------------------------


def test_no_text_of_a_guest_becomes_markup() -> None:
    clean, hostile = build(samples.mixed_run()), build(hostile_run())
    known = set().union(*(read(text).elements for path, text in clean.items() if path.endswith(".html")))
    pages = {path: read(text) for path, text in hostile.items() if path.endswith(".html")}
    assert pages
    for path, reader in pages.items():
        assert set(reader.elements) <= known, path
        assert not reader.handlers, path
        assert not [link for link in reader.links if "javascript" in link or ":" in link], path
        assert [tag for tag in reader.elements if tag == "script"] == ["script"] * 2, path
    assert "&lt;script&gt;" in hostile["x86_64-tc.html"], "the text itself is shown"


def test_data_is_nothing_but_data() -> None:
    files = {path: text for path, text in build(hostile_run()).items() if path.startswith("data/")}
    assert [path for path in files if data(files, path)] == list(files) != []
    assert "".join(files.values()).isascii()


@pytest.mark.parametrize("name", ["../../etc/passwd", "<script>", "", "a" * 500, "bpf_ok/../x", "ä", "."])
def test_names_of_kfuncs_cannot_leave_the_folder(name: str) -> None:
    assert re.fullmatch(r"x-[0-9a-f]{16}", slug(name))


def test_ordinary_names_are_kept() -> None:
    assert slug("bpf_skb_ct_alloc") == "bpf_skb_ct_alloc"


# --- changes --------------------------------------------------------------------------------------------------------


def at(judged: JudgedRun, hours: int, run_id: str) -> JudgedRun:
    run = judged.run
    begun = run.started + timedelta(hours=hours)
    return judged.model_copy(update={"run": run.model_copy(update={"id": run_id, "started": begun, "finished": None})})


def changes_of(*runs: JudgedRun) -> dict[str, list[list[Change]]]:
    return {judged.run.id: found for judged, found in changes(runs)}


def test_changes_are_held_against_the_last_answer() -> None:
    first, part = at(samples.clean_run(), 0, "first"), at(samples.judged(cells=samples.CELLS[:2]), 1, "part")
    worse = samples.clean_run()
    for cell in ("6.12.117-x86_64", "6.12.117-arm64"):
        worse = samples.with_claim(worse, cell, 3, verdict=Verdict.BROKEN)
    found = changes_of(first, part, at(worse, 2, "worse"), at(samples.clean_run(), 3, "again"))
    assert found["first"] == found["part"] == []
    [group] = found["worse"]
    assert (group[0].before, group[0].after) == ("holds: error -EINVAL", "broken: error -EINVAL")
    assert group[0].kind is Trend.WORSE
    assert [change.key.cell for change in group] == ["6.12.117-x86_64", "6.12.117-arm64"]
    assert [group[0].kind for group in found["again"]] == [Trend.BETTER]


def test_no_answer_is_no_change() -> None:
    open_claim = samples.with_claim(samples.clean_run(), samples.CELLS[0].id, 0, verdict=Verdict.NO_ANSWER)
    runs = [at(samples.clean_run(), 0, "a"), at(open_claim, 1, "b"), at(samples.clean_run(), 2, "c")]
    assert changes_of(*runs) == {"a": [], "b": [], "c": []}


def test_state_of_a_kfunc_that_is_gone_is_a_change_for_the_worse() -> None:
    gone = samples.clean_run()
    cell = samples.with_state(gone.cells[0], state=State.ABSENT)
    state = next(row for row in cell.rows if row.state)
    gone = gone.model_copy(update={"cells": (cell, *gone.cells[1:])})
    [[change]] = changes_of(at(samples.clean_run(), 0, "a"), at(gone, 1, "b"))["b"]
    assert (change.key.name, change.kind) == (f"{state.subject} ({state.type})", Trend.WORSE)
    assert change.after.startswith("absent")


# --- writing --------------------------------------------------------------------------------------------------------


def test_site_is_written_and_written_again(tmp_path: Path, files: Files) -> None:
    folder = tmp_path / "site"
    assert write_site(folder, files.items()) == len(files)
    (folder / "run" / "older.html").write_text("kept")
    write_site(folder, files.items())
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == {*files, "run/older.html"}
    assert {f"static/{name}" for name in STATIC} <= there


def test_folder_of_something_else_is_refused(tmp_path: Path, files: Files) -> None:
    (tmp_path / "index.html").write_text("my page")
    with pytest.raises(UserError, match="something else"):
        write_site(tmp_path, files.items())
    assert (tmp_path / "index.html").read_text() == "my page"
