# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner bisect` from its command line to what it prints; nothing is booted."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from runner import cli
from runner.bisect import boots, releases
from runner.bisect.releases import chosen, ordered
from runner.cli import bisect as command
from runner.cli import booting
from runner.engine.fleet import Fleet, Host
from runner.engine.storing import StoreSink
from runner.errors import InfraError, UserError
from runner.guest.interface import Accel
from runner.hosts.hostsfile import HostsFile
from runner.model import GuestSize, Pin
from runner.model.architecture import architecture
from runner.probes import Expectations
from runner.reports.site import site
from runner.results.bisections import Bisection, load_bisections
from runner.results.model import RunKind
from runner.results.store import ResultStore
from tests import fakes
from tests.integration.test_bisect_changelog import TEXT
from tests.samples import ROOT
from tests.unit import results_samples
from tests.unit.bisect_samples import Rounds, kernel, kernels, since
from tests.unit.test_bisect_target import expectations


class Bisecter:
    """A project, and the kernels that its sources offer."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.patch, self._capsys = root, patch, capsys
        patch.setattr(boots.BisectSetup, "payload", lambda *_args: {})
        patch.setattr(booting, "default_slots", lambda _cells: 2)
        known = expectations()
        patch.setattr(Expectations, "load", lambda *_args: known)
        patch.setattr(releases, "changelog_of", lambda *_args, **_more: TEXT)
        self.offer(kernels(20))

    def offer(self, some: tuple[Pin, ...]) -> None:
        self.patch.setattr(command, "every_kernel", lambda *_args, **_more: some)

    def __call__(self, rounds: Rounds, *words: str) -> tuple[int, str, str]:
        self.patch.setattr(boots, "execute", rounds)
        status = cli.run(["bisect", "nat-manip-2", *words, "--matrix", str(self.root / "matrix.yaml")])
        said = self._capsys.readouterr()
        return status, said.out, said.err

    def json(self, rounds: Rounds, *words: str) -> dict[str, Any]:
        status, out, _ = self(rounds, *words, "--format", "json")
        assert status in (0, 2)
        found: dict[str, Any] = json.loads(out)
        return found

    def stored(self) -> tuple[Bisection, ...]:
        with ResultStore(self.root / "reports" / "results.db", read_only=True) as store:
            return load_bisections(store)


@pytest.fixture
def bisecter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bisecter:
    shutil.copytree(ROOT / "bpf", tmp_path / "bpf")
    for name in ("matrix.yaml", "matrix.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(os, "fsync", lambda _file: None)  # nobody pulls the plug here
    return Bisecter(tmp_path, monkeypatch, capsys)


def test_where_it_changed_with_its_evidence(bisecter: Bisecter) -> None:
    rounds = Rounds(since(14))
    status, out, _ = bisecter(rounds, "--series", "6.12")
    assert status == 0
    for words in (
        "6.12.13 (6.12.13-1) x86_64",
        "6.12.14 (6.12.14-1) x86_64",
        "2 of 2 boots agree",
        "set_ret -EINVAL",
        "-22 (-EINVAL)",
        "- said 0",
        "+ said -22",
        "git log v6.12.13..v6.12.14",
        "runner cell show 6.12.14-x86_64 --run bisect-",
        "runner cell repro 6.12.14-x86_64 --run bisect-",
        "4 further kernels were sampled",
    ):
        assert words in out
    assert len(rounds.asked) < 14
    # the ends of the change were asked once more, and for what their BTF has
    assert sum("census:tc" in probes for probes in rounds.probes) == 2


def test_json_has_both_ends(bisecter: Bisecter) -> None:
    found = bisecter.json(Rounds(since(14)), "--from", "6.12.5", "--to", "6.12.18")
    (change,) = found["found"]["changes"]
    good, bad = change["last_good"], change["first_bad"]
    assert (good["version"], good["source"]) == ("6.12.13", "debian:trixie-security/6.12.13")
    assert (bad["version"], bad["release"], bad["build"]) == ("6.12.14", "6.12.14+1-amd64", "6.12.14-1")
    assert len(found["candidates"]) == 14
    assert found["finished"]


def test_the_changelog_between_the_two(bisecter: Bisecter) -> None:
    bisecter.offer(ordered([kernel(111), kernel(113)]))
    found = bisecter.json(Rounds(since(113)), "--all")
    lines = found["found"]["changes"][0]["changelog"]
    assert lines[0] == {
        "build": "6.12.113+1",
        "upstream": "6.12.113",
        "text": "netfilter: bpf: reject invalid NAT manipulation types",
    }
    assert [line["text"] for line in lines] == [lines[0]["text"], "somewhere: mend nf_nat_bpf.c"]  # the claims' file


def test_an_interrupted_bisection_goes_on(bisecter: Bisecter) -> None:
    first = Rounds(since(14), stop_after=5)
    status, _, err = bisecter(first, "--series", "6.12")
    assert status == 130
    assert "interrupted; the same command resumes the bisection" in err
    (kept,) = bisecter.stored()
    assert (kept.finished, kept.boots) == (None, 5)
    second = Rounds(since(14))
    status, _, err = bisecter(second, "--series", "6.12")
    assert status == 0
    assert "resumed after 5 boots" in err
    (kept,) = bisecter.stored()
    assert kept.finished
    assert len(first.asked) + len(second.asked) <= 13  # as many as without, and the round that was cut short


def test_the_store_knows_them_next_time(bisecter: Bisecter) -> None:
    bisecter(Rounds(since(14)), "--series", "6.12")
    again = Rounds(since(14))
    _, out, _ = bisecter(again, "--series", "6.12")
    assert "known from the store" in out
    assert {"6.12.13-1", "6.12.14-1"} <= set(again.asked)  # both ends on fresh boots all the same
    assert len(again.asked) == 6
    with ResultStore(bisecter.root / "reports/results.db", read_only=True) as store:
        assert {(info.kind, bool(info.finished)) for info in store.runs()} == {(RunKind.BISECT, True)}


def test_what_an_earlier_program_said_is_not_used(bisecter: Bisecter) -> None:
    for content in (b"earlier", b"now"):
        payload = {architecture("x86_64").byte_order: {"conntrack.bpf.o": content}}
        bisecter.patch.setattr(boots.BisectSetup, "payload", lambda *_args, it=payload: it)
        rounds = Rounds(since(14))
        _, _, err = bisecter(rounds, "--series", "6.12")
        assert "known from the store" not in err
        assert len(rounds.asked) > 6


def test_a_bisection_does_not_go_on_with_another_program(bisecter: Bisecter) -> None:
    for content in (b"earlier", b"now"):
        payload = {architecture("x86_64").byte_order: {"conntrack.bpf.o": content}}
        bisecter.patch.setattr(boots.BisectSetup, "payload", lambda *_args, it=payload: it)
        _, _, err = bisecter(Rounds(since(14), stop_after=5), "--series", "6.12")
        assert "resumed" not in err.splitlines()[0]


def test_the_last_run_is_none_of_a_bisection(bisecter: Bisecter) -> None:
    with ResultStore(bisecter.root / "reports/results.db") as store:
        store.begin(results_samples.run(run_id="of-the-matrix"))
    bisecter(Rounds(since(14)), "--series", "6.12")
    with ResultStore(bisecter.root / "reports/results.db", read_only=True) as store:
        assert store.runs()[0].kind is RunKind.BISECT
        assert store.load().id == "of-the-matrix"


def test_what_does_not_boot_between_the_ends_is_named(bisecter: Bisecter) -> None:
    def says(build: str) -> int | None:
        return None if build.startswith(("6.12.12-", "6.12.13-")) else since(14)(build)

    found = bisecter.json(Rounds(says), "--series", "6.12")
    (change,) = found["found"]["changes"]
    assert (change["last_good"]["version"], change["first_bad"]["version"]) == ("6.12.11", "6.12.14")
    between = change["between"]
    assert [it["version"] for it in between] == ["6.12.12", "6.12.13"]
    assert all("Kernel panic" in it["cause"] for it in between)


def test_the_machines_fault_is_nobodys_answer(bisecter: Bisecter) -> None:
    status, _, err = bisecter(Rounds(since(14), fails=lambda _build: True), "--series", "6.12")
    assert status == 2
    assert "no space left" in err
    assert "the same command resumes" in err
    # what failed then is asked again, and nothing is left of it
    found = bisecter.json(Rounds(since(14)), "--series", "6.12")
    assert found["found"]["changes"][0]["first_bad"]["version"] == "6.12.14"
    assert not found["found"]["unanswered"]


def test_two_builds_of_one_version(bisecter: Bisecter) -> None:
    bisecter.offer(ordered([kernel(90), kernel(90, "2"), kernel(90, "2~bpo12+1"), kernel(94)]))
    status, out, _ = bisecter(Rounds(lambda build: -22 if build == "6.12.90-2" else 0), "--version", "6.12.90")
    assert status == 0
    assert "same version, different answers: a difference of builds (another build), not of versions" in out
    assert "last good" not in out  # they have no order
    assert "6.12.90-2-bpo12-1-x86_64" in out


def test_architectures_of_one_version(bisecter: Bisecter) -> None:
    """What depends on the architecture is one change, however many builds there are."""
    builds = [kernel(90, revision, arch) for revision in ("1", "2") for arch in ("x86_64", "arm64")]
    bisecter.offer(ordered(builds))
    rounds = Rounds(lambda _build: 0, by_arch={"x86_64": -22})
    found = bisecter.json(rounds, "--version", "6.12.90", "--arch", "x86_64", "--arch", "arm64")["found"]
    (change,) = found["changes"]
    assert change["differs"] == "architecture"
    assert {answer: len(some) for answer, some in found["answers"].items()} == {"set_ret 0": 2, "set_ret -EINVAL": 2}


def test_fixed_and_broken_again_is_told_with_all_its_edges(bisecter: Bisecter) -> None:
    bisecter.offer(kernels(60))
    _, out, _ = bisecter(
        Rounds(lambda build: -22 if 14 <= int(build.split("-")[0][5:]) < 40 else 0), "--series", "6.12"
    )
    assert "2 changes, and an answer came back that had gone" in out
    assert "6.12.13 (6.12.13-1) x86_64" in out
    assert "6.12.40 (6.12.40-1) x86_64" in out


def test_nobody_answers(bisecter: Bisecter) -> None:
    status, out, _ = bisecter(Rounds(lambda _build: None), "--series", "6.12")
    assert status == 2
    assert "no kernel answered" in out


def test_a_fleet_boots_them(bisecter: Bisecter, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many at once as all hosts have slots, and one host that cannot be reached does not stop it."""
    file = bisecter.root / "hosts.yaml"
    file.write_text("hosts: [{name: one, ssh: one}, {name: two, ssh: two}, {name: gone, ssh: gone}]\n")
    accel: dict[str, Accel] = {"x86_64": "kvm"}
    hosts = tuple(Host(name, {"x86_64": 3}, accel, ssh=name) for name in ("one", "two"))

    def usable_fleet(hosts_file: HostsFile, _guest: GuestSize) -> AbstractContextManager[object]:
        assert [entry.name for entry in hosts_file.hosts] == ["one", "two", "gone"]
        return nullcontext((Fleet(hosts), (InfraError("gone: no route to host"),)))

    monkeypatch.setattr(booting, "usable_fleet", usable_fleet)
    rounds = Rounds(since(14))
    status, out, err = bisecter(rounds, "--series", "6.12", "--hosts", str(file))
    assert status == 0
    assert rounds.fleet
    assert [host.name for host in rounds.fleet.hosts] == ["one", "two"]
    assert "20 kernels, 6 concurrent guests, about 2 rounds" in err
    assert "host left out: gone: no route to host" in err
    assert "6.12.14 (6.12.14-1) x86_64" in out
    status, _, err = bisecter(rounds, "--series", "6.12", "--hosts", str(file), "-n", "2")
    assert (status, "-n is for this machine alone" in err) == (64, True)


def test_what_was_asked_is_kept_to_be_asked_again(bisecter: Bisecter) -> None:
    found = bisecter.json(Rounds(since(14)), "--series", "6.12")
    with ResultStore(bisecter.root / "reports" / "results.db", read_only=True) as store:
        asked = store.asked(found["id"])
    assert asked
    (change,) = found["found"]["changes"]
    for side in (change["last_good"], change["first_bad"]):
        assert side["repeat"] == f"runner cell repro {side['cell']} --run {found['id']} --probe nat-manip-2:tc"
        assert "nat-manip-2:tc" in {ask.probe for ask in asked.cells[side["cell"]].asks}


def test_offline_only_what_is_in_the_cache(bisecter: Bisecter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "every_kernel", releases.every_kernel)
    monkeypatch.setenv("RUNNER_CACHE", str(bisecter.root / "cache"))
    status, _, err = bisecter(Rounds(since(14)), "--series", "6.12", "--offline")
    assert status == 2
    assert "the archive's lists are not in the cache: bookworm x86_64" in err
    monkeypatch.setattr(releases, "offered", lambda *_args, **_more: kernels(20))
    monkeypatch.setattr(releases, "have_kernel", lambda pin, _cache: pin.upstream.patch in {3, 9, 15})
    found = bisecter.json(Rounds(since(14)), "--series", "6.12", "--offline")
    assert [it["version"] for it in found["candidates"]] == ["6.12.3", "6.12.9", "6.12.15"]
    assert found["found"]["changes"][0]["changelog_note"] == "not read: it is not in the cache"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which kernels?"),
        (["--series", "6.12", "--version", "6.12.3"], "only one of these can be given"),
        (["--series", "5.4"], "no source offers a kernel 5.4"),
        (["--from", "6.12.18", "--to", "6.12.3"], "is newer than"),
        (["--all", "--arch", "x86_64", "--arch", "arm64"], "one architecture at a time"),
        (["--all", "--arch", "vax"], "unknown architecture"),
    ],
)
def test_wrong_usage_is_said(bisecter: Bisecter, words: list[str], message: str) -> None:
    status, _, err = bisecter(Rounds(since(14)), *words)
    assert status == 64
    assert message in err


def test_ends_are_named_by_version_series_release_or_build() -> None:
    some = ordered([kernel(90), kernel(90, "2"), kernel(94)])

    def builds(first: str, last: str) -> list[str]:
        return [it.package_version for it in chosen(some, first=first, last=last)]

    assert builds("6.12.90", "6.12.90") == ["6.12.90-1", "6.12.90-2"]
    assert builds("6.12.90-2", "6.12") == ["6.12.90-2", "6.12.94-1"]
    assert builds("6.12.90+2-amd64", "") == ["6.12.90-2", "6.12.94-1"]
    with pytest.raises(UserError) as caught:
        builds("6.12.91", "")
    assert "6.12.90, 6.12.94" in caught.value.hint


def test_a_bisection_has_its_page_in_the_site(bisecter: Bisecter) -> None:
    bisecter(Rounds(since(14)), "--series", "6.12")
    judged = results_samples.mixed_run()
    bisections = bisecter.stored()
    files = dict(site(judged, [judged], {}, bisections))
    listed, page = (text for path, text in files.items() if path.startswith("bisection"))
    assert 'href="bisections.html"' in listed
    assert "changed between 6.12.13 (6.12.13-1) x86_64 and 6.12.14 (6.12.14-1) x86_64" in listed
    assert "+ said -22" in page
    assert "2 of 2 boots agree" in page
    assert "bisections.html" not in dict(site(judged, [judged], {}))


def test_a_sink_that_fails_is_no_answer(bisecter: Bisecter, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(fakes.Told):
        def result(self, *_: object) -> None:
            raise ValueError("not foreseen")

    monkeypatch.setattr(command, "Display", lambda *_: Broken())
    status, _, err = bisecter(Rounds(since(14)), "--series", "6.12")
    assert status == 2
    last = err.splitlines()[-1]
    assert last.startswith("error: a bug in runner, not in a kernel: ValueError: not foreseen; traceback: ")


def test_a_full_disk_under_the_store_is_one_line(bisecter: Bisecter, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "results.db")

    monkeypatch.setattr(StoreSink, "result", full)
    status, _, err = bisecter(Rounds(since(14)), "--series", "6.12")
    assert (status, err.splitlines()[-1]) == (2, "error: cannot write to results.db: No space left on device")
