# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Answers that are kept: which cells boot after a change, and what exactly they are asked. Guests are fakes.

Two kernels are asked about three claims and the census; then something changes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner import cli
from runner.caches import cache_root
from runner.cli.running import Engine
from runner.probes.claims.answers import UNTOUCHED
from runner.results.model import Run
from runner.results.store import ResultStore
from tests.faults import counted
from tests.faults.project import CLAIMS, claims_text, write_project

ONE, TWO = "6.12.117-amd64", "6.12.118-amd64"
CENSUS = ["census:tc", "census:xdp"]
ALL = CENSUS + [
    f"{claim}:{of}"
    for claim in sorted(CLAIMS, key=["alloc-tcp", "alloc-udp", "alloc-ipv6"].index)
    for of in ("tc", "xdp")
]
PAYLOAD = {"agent/main.pyc": b"1", "conntrack.bpf.o": b"1", "other.bpf.o": b"1"}
ENGINE = "tests.faults.counted:counted"

Asked = list[tuple[str, list[str]]]
BOTH: Asked = [(ONE, ALL), (TWO, ALL)]


def matrix_run(project: Path, *words: str, payload: dict[str, bytes] | None = None) -> tuple[int, Asked]:
    """The exit status, and what guests were asked."""
    engine = Engine(lambda *_, **__: {"little": payload or PAYLOAD}, machine=ENGINE)
    command = ["matrix", "run", "--offline", "-n", "1", "--matrix", str(project / "matrix.yaml"), *words]
    (cache_root() / counted.ASKED).touch()
    return cli.run(command, engine), counted.asked()


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one run, and its cache."""
    folder = tmp_path_factory.mktemp("answered")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNNER_CACHE", str(folder / "cache"))
        (folder / "project").mkdir()
        status, asked = matrix_run(write_project(folder / "project", ["fine", "fine"]), "--run-id", "first")
    assert (status, asked) == (0, BOTH)
    return folder


@pytest.fixture
def project(answered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(answered, tmp_path / "here")
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "here/cache"))
    return tmp_path / "here/project"


def last(project: Path) -> Run:
    with ResultStore(project / "reports/results.db", read_only=True) as store:
        return store.load()


def edited(file: Path, edit: Callable[[Any], object]) -> None:
    document = yaml.safe_load(file.read_text())
    edit(document)
    file.write_text(yaml.safe_dump(document))


def test_what_did_not_change_is_not_asked(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = last(project)
    assert matrix_run(project) == (0, [])
    shown = capsys.readouterr().out
    assert "2 cells, none is booted" in shown
    assert f"2 cells reused from run first of {first.started:%Y-%m-%d %H:%M} UTC" in shown
    again = last(project)
    assert [result.answers for result in again.results] == [result.answers for result in first.results]
    assert [(it.is_kept, it.kept[0].run, it.timings.total_s) for it in again.results] == [(True, "first", None)] * 2
    assert matrix_run(project) == (0, []), "and what was reused is reused"
    assert {it.run for result in last(project).results for it in result.kept} == {"first"}, "where it was asked"


# --- each part of the key in turn -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made_of", "asked"),
    [
        ({"kernels": {TWO: "b" * 64}}, [(TWO, ALL)]),
        ({"image": "b" * 64}, BOTH),
        ({"tools": {"vng": "1.43"}}, BOTH),
        ({"tools": {"qemu": "QEMU emulator version 10.0"}}, BOTH),
        ({"tools": {"accel": "kvm"}}, BOTH),
        ({"tools": {"cpu": "another model"}}, BOTH),
        ({"tools": {"code": "b" * 64}}, BOTH),
    ],
)
def test_another_machine(project: Path, made_of: dict[str, object], asked: Asked) -> None:
    (cache_root() / counted.MADE_OF).write_text(json.dumps(made_of))
    assert matrix_run(project) == (0, asked)
    assert matrix_run(project) == (0, [])


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({"guest": {"memory_mib": 512}}, [(TWO, ALL)]),
        ({"guest": {"cpus": 2}}, [(TWO, ALL)]),
        ({"cmdline": "x=1"}, [(TWO, ALL)]),
    ],
)
def test_another_way_to_boot_a_kernel(project: Path, settings: dict[str, object], asked: Asked) -> None:
    edited(project / "matrix.yaml", lambda it: it["kernels"][1].update(settings))
    assert matrix_run(project) == (0, asked)


@pytest.mark.parametrize(
    ("changed", "asked"),
    [
        ({"agent/main.pyc": b"2"}, BOTH),
        ({"conntrack.bpf.o": b"2"}, [(ONE, ALL[2:]), (TWO, ALL[2:])]),
        ({"other.bpf.o": b"2"}, []),
    ],
)
def test_other_bytes_are_pushed(project: Path, changed: dict[str, bytes], asked: Asked) -> None:
    assert matrix_run(project, payload=PAYLOAD | changed) == (0, asked)


def test_other_modules_are_loaded(project: Path) -> None:
    edited(project / "bpf/conntrack.yaml", lambda it: it["modules"].append("xfrm_interface"))
    assert matrix_run(project) == (0, BOTH)


def test_a_new_claim_asks_itself(project: Path) -> None:
    (project / "bpf/conntrack.yaml").write_text(claims_text(("alloc-table-full", *CLAIMS)))
    new = ["alloc-table-full:tc", "alloc-table-full:xdp"]
    assert matrix_run(project, "--shard", "1/1", "--run-id", "second") == (0, [(ONE, new), (TWO, new)])
    results = last(project).results
    assert [[it.run for it in result.kept] for result in results] == [["first"]] * 2
    assert [list(result.kept[0].probes) for result in results] == [ALL] * 2
    probes = [list(dict.fromkeys(answer.probe for answer in result.answers)) for result in results]
    assert probes == [[*CENSUS, *new, *ALL[2:]]] * 2, "in the order in which all of it would be asked"
    assert matrix_run(project, "--run-id", "third") == (0, [])
    assert {it.run: len(it.probes) for it in last(project).results[0].kept} == {"first": len(ALL), "second": len(new)}


def test_another_question_asks_itself(project: Path) -> None:
    def edit(document: Any) -> None:
        claim = next(it for it in document["claims"] if it["id"] == "alloc-udp")
        claim.setdefault("inputs", {})["opts_size"] = 12

    edited(project / "bpf/conntrack.yaml", edit)
    mine = ["alloc-udp:tc", "alloc-udp:xdp"]
    assert matrix_run(project)[1] == [(ONE, mine), (TWO, mine)]


def test_another_expectation_asks_nothing(project: Path) -> None:
    def edit(document: Any) -> None:
        claim = next(it for it in document["claims"] if it["id"] == "alloc-udp")
        claim["answer"]["fields"] = {"acquired": 7}

    edited(project / "bpf/conntrack.yaml", edit)
    assert matrix_run(project) == (1, []), "the same answers are judged by it"


def test_fresh_asks_everything(project: Path) -> None:
    assert matrix_run(project, "--fresh") == (0, BOTH)
    assert not any(result.kept for result in last(project).results)


# --- what is not kept -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["panics", "boot-killed-once", "silent", "drops-once", "kills-worker-once"])
def test_a_disturbed_cell_is_asked_everything_again(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))
    project = write_project(tmp_path, ["fine", fault])
    matrix_run(project)
    _, asked = matrix_run(project)
    assert asked[0] == (TWO, ALL)
    assert {release for release, _ in asked} == {TWO}


def test_after_a_disturbance_older_answers_do_not_count(project: Path) -> None:
    edited(project / "matrix.yaml", lambda it: it["kernels"][1].update(name="panics"))
    status, asked = matrix_run(project, "--fresh")
    assert (status, asked[0]) == (1, (ONE, ALL))
    edited(project / "matrix.yaml", lambda it: it["kernels"][1].update(name="fine"))
    assert matrix_run(project) == (0, [(TWO, ALL)])
    assert matrix_run(project) == (0, [])


def test_a_kernel_that_turns_out_to_be_another_one_is_asked_everything(project: Path) -> None:
    (project / "bpf/conntrack.yaml").write_text(claims_text(("alloc-table-full", *CLAIMS)))
    (cache_root() / counted.MADE_OF).write_text(json.dumps({"prepared": {TWO: "b" * 64}}))
    new = ["alloc-table-full:tc", "alloc-table-full:xdp"]
    assert matrix_run(project) == (0, [(ONE, new), (TWO, [*CENSUS, *new, *ALL[2:]])])
    one, two = sorted(last(project).results, key=lambda it: it.cell.id)
    assert ([it.run for it in one.kept], two.kept) == (["first"], ())
    assert not two.unasked


def test_a_kernel_that_is_not_in_the_cache_is_prepared_and_not_booted(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = cache_root() / counted.MADE_OF
    of.write_text(json.dumps({"uncached": True}))
    assert matrix_run(project, "--run-id", "second") == (0, [])
    assert "not booted unless its kernel or image is another one there: 6.12.117-x86_64" in capsys.readouterr().out
    assert [(it.is_kept, it.kept[0].run, it.facts.release) for it in last(project).results] == [
        (True, "first", "6.12.117+deb13-amd64")
    ] * 2
    of.write_text(json.dumps({"uncached": True, "prepared": {TWO: "b" * 64}}))
    assert matrix_run(project) == (0, [(TWO, ALL)])


def test_what_a_guest_from_a_snapshot_answered_counts_only_where_snapshots_do(project: Path) -> None:
    with ResultStore(project / "reports/results.db") as store:
        run = store.load("first")
        old, *_ = run.results
        asked = store.asked("first")
        assert asked
        later = {"id": "load-1", "started": run.started + timedelta(hours=1)}
        store.begin(run.model_copy(update=later))
        store.write_asked("load-1", asked)
        store.add("load-1", old.model_copy(update={"start": "snapshot"}))
        runs = {
            snapshots: [it.source.run for it in store.keepable([old.guest], snapshots=snapshots)[old.guest]]
            for snapshots in (True, False)
        }
    assert runs == {True: ["load-1"], False: ["first"]}
    assert matrix_run(project) == (0, [])
    assert {it.run for result in last(project).results for it in result.kept} == {"first"}


# --- a sample is asked all the same -----------------------------------------------------------------------------------


def test_a_recheck_boots_a_share_of_the_cells(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, asked = matrix_run(project, "--recheck", "10%")
    assert (status, [probes for _, probes in asked]) == (0, [ALL])
    (booted,) = (it for it in last(project).results if it.rechecked)
    assert booted.rechecked
    assert ([it.run for it in booted.rechecked.of], booted.rechecked.changed, booted.kept) == (["first"], (), ())
    assert f"rechecked: {booted.cell.id}" in capsys.readouterr().out


def test_where_two_boots_differ_neither_is_trusted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = {"load_errno": 0, "run_errno": 0, "retval": 0, "fields": {"acquired": 0, "error": -22}}
    (cache_root() / counted.MADE_OF).write_text(json.dumps({"answers": {"alloc-udp:tc": other}}))
    assert matrix_run(project, "--recheck", "100%", "--format", "json") == (2, BOTH)
    said = capsys.readouterr()
    events = [json.loads(line) for line in said.out.splitlines()]
    differing = [it for it in events if it["event"] == "differs"]
    assert [it["of"] for it in differing] == [["first"]] * 2
    changed = [{one["what"]: (one["before"], one["after"]) for one in it["changed"]} for it in differing]
    assert [it["alloc-udp:tc, error"] for it in changed] == [(str(UNTOUCHED), "-22")] * 2
    assert {what.partition(", ")[0] for it in changed for what in it} == {"alloc-udp:tc"}
    assert "neither is trusted" in said.err
    (cache_root() / counted.MADE_OF).unlink()
    one = ["alloc-udp:tc"]
    assert matrix_run(project) == (0, [(ONE, one), (TWO, one)]), "that is asked once more"
    assert matrix_run(project) == (0, [])


@pytest.mark.parametrize("words", [("--recheck", "many"), ("--recheck", "101%"), ("--recheck", "5%", "--fresh")])
def test_a_share_that_is_none(project: Path, words: tuple[str, ...]) -> None:
    assert matrix_run(project, *words) == (64, [])


# --- runs that are resumed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "asked"), [((), []), (("--fresh",), BOTH)])
def test_a_run_resumes_as_it_began(project: Path, words: tuple[str, ...], asked: Asked) -> None:
    (cache_root() / counted.MADE_OF).write_text(json.dumps({"broken": True}))
    other = PAYLOAD | {"agent/main.pyc": b"2"}
    assert matrix_run(project, *words, payload=other) == (2, [])
    (cache_root() / counted.MADE_OF).unlink()
    assert matrix_run(project, "--resume") == (0, asked)
