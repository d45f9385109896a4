# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Commands over many runs, and a run that is held against an earlier one; nothing is booted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from runner import cli
from runner.cli.running import Engine
from runner.engine.plan import Plan, RunEnd, Sink
from runner.model import Build, Cell, CellResult, Outcome
from runner.probes.claims.answers import Observation
from runner.results.model import Run
from runner.results.store import ResultStore
from tests import fakes
from tests.answers import seen_of, with_answers
from tests.samples import ROOT
from tests.unit import agent_samples
from tests.unit import results_samples as samples

PROBE = "insert-then-found:tc"
VERSIONS = ("6.1.192", "6.12.117")

Answers = Callable[[Cell, int], CellResult]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The real claims, and a store to fill."""
    shutil.copytree(ROOT / "bpf", tmp_path / "bpf")
    for name in ("matrix.yaml", "matrix.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def cells() -> tuple[Cell, ...]:
    """Two kernels of the matrix."""
    return tuple(
        agent_samples.cell(version).model_copy(update={"name": version.rpartition(".")[0]}) for version in VERSIONS
    )


def good(cell: Cell, attempt: int = 1) -> CellResult:
    real = agent_samples.result(cell.kernel.version)
    return real.model_copy(update={"cell": cell, "build": Build(sha256="b" * 64), "attempts": attempt})


def worse(cell: Cell, attempt: int = 1) -> CellResult:
    """6.12 does not find the entry that it inserted."""
    result = good(cell, attempt)
    if cell.kernel.version != VERSIONS[1]:
        return result
    return with_answers(result, claims=tuple(_not_found(seen) for seen in seen_of(result)))


def _not_found(seen: Observation) -> Observation:
    return seen.model_copy(update={"fields": seen.fields | {"found": 0}}) if seen.probe == PROBE else seen


def stored(project: Path, answers: Answers, run_id: str, night: int = 0) -> None:
    with ResultStore(project / "reports" / "results.db") as store:
        run = samples.run(cells=cells(), run_id=run_id)
        store.begin(run.model_copy(update={"started": samples.STARTED + timedelta(days=night)}))
        for cell in run.cells:
            store.add(run_id, answers(cell, 1))
        store.finish(run_id, samples.STARTED + timedelta(days=night, minutes=1))


def runner(project: Path, *words: str) -> int:
    return cli.run([*words, "--matrix", str(project / "matrix.yaml")])


class Booter:
    """In place of guests: answers at once, and remembers what was booted."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.booted: list[list[tuple[str, int]]] = []

    def __call__(self, plan: Plan, sinks: Sequence[Sink]) -> RunEnd:
        self.booted.append([(order.cell.id, order.attempt) for order in plan.orders])
        return fakes.told(plan, sinks, (self.answers(order.cell, order.attempt) for order in plan.orders))


def matrix_run(project: Path, booter: Booter, words: str) -> int:
    """Of the two kernels alone, without a network."""
    line = f"matrix run -n 1 --offline --only kernel=6.1|6.12,arch=x86_64 --matrix {project / 'matrix.yaml'} {words}"
    return cli.run(line.split(), Engine(lambda *_, **__: {}, booter))


def last_run(project: Path) -> Run:
    with ResultStore(project / "reports" / "results.db", read_only=True) as store:
        return store.load()


def test_unchanged_night_boots_every_cell_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(project, good, "before")
    booter = Booter(good)
    assert matrix_run(project, booter, "--baseline last --fail-on worse") == 0
    assert [len(round_) for round_ in booter.booted] == [2]
    assert "nothing changed" in capsys.readouterr().out


def test_worse_is_confirmed_by_a_fresh_boot(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(project, good, "before")
    booter = Booter(worse)
    assert matrix_run(project, booter, "--baseline before --fail-on worse") == 1
    assert booter.booted[1:] == [[("6.12.117-x86_64", 2)]]  # the worse cell alone, once more
    out = capsys.readouterr().out
    assert "confirmed by a fresh boot" in out
    assert f"runner cell show 6.12.117-x86_64 --probe {PROBE} --run before" in out
    assert len(last_run(project).attempts("6.12.117-x86_64")) == 2


def test_what_a_fresh_boot_does_not_show_fails_nothing_and_is_said(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(project, good, "before")
    once = Booter(lambda cell, attempt: worse(cell) if attempt == 1 else good(cell, attempt))
    assert matrix_run(project, once, "--baseline before --fail-on worse") == 0
    assert "Seen in one boot, not in a fresh one" in capsys.readouterr().out


def test_fresh_boot_without_an_answer_takes_nothing_away(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(project, good, "before")

    def answers(cell: Cell, attempt: int) -> CellResult:
        return worse(cell) if attempt == 1 else CellResult(cell=cell, outcome=Outcome.LOST, cause="ssh dropped")

    assert matrix_run(project, Booter(answers), "--baseline before --fail-on worse") == 1
    assert "seen in one boot" in capsys.readouterr().out
    (kept,) = last_run(project).attempts("6.12.117-x86_64")
    assert kept.outcome is Outcome.RAN


def test_lost_night_in_between_hides_nothing(project: Path) -> None:
    stored(project, good, "monday")
    stored(project, lambda cell, _: CellResult(cell=cell, outcome=Outcome.LOST, cause="power"), "tuesday", night=1)
    assert matrix_run(project, Booter(worse), "--baseline last --fail-on worse") == 1


def test_first_night_has_nothing_to_compare_with(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert matrix_run(project, Booter(worse), "--baseline last --fail-on worse") == 0
    assert "no baseline yet" in capsys.readouterr().out


def test_other_store_as_baseline(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    stored(other, good, "there")
    assert matrix_run(project, Booter(worse), f"--baseline {other / 'reports' / 'results.db'} --fail-on worse") == 1


def test_what_fails_is_chosen(project: Path) -> None:
    stored(project, worse, "before")
    assert matrix_run(project, Booter(worse), "--baseline before --fail-on worse") == 0  # no worse than it was
    assert matrix_run(project, Booter(worse), "--fail-on broken") == 1
    lost = Booter(lambda cell, _: CellResult(cell=cell, outcome=Outcome.LOST, cause="power"))
    assert matrix_run(project, lost, "--fail-on broken") == 0
    assert matrix_run(project, lost, "--fail-on incomplete") == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--baseline nowhere", "no run 'nowhere'"),
        ("--fail-on worse", "needs a baseline"),
        ("--run-id ../escape", "not a valid run id"),
        ("--run-id before", "there is a run before"),
    ],
)
def test_mistakes_are_said_before_anything_boots(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    words: str,
    says: str,
) -> None:
    stored(project, good, "before")
    booter = Booter(good)
    assert matrix_run(project, booter, words) == 64
    assert says in capsys.readouterr().err
    assert not booter.booted


def output(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_diff_of_two_runs_and_its_exit_status(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(project, good, "monday")
    stored(project, worse, "tuesday", night=1)
    assert runner(project, "report", "diff", "monday", "tuesday") == 1
    assert "2 worse" in output(capsys)  # the claim, and the state that it shows
    assert runner(project, "report", "diff", "last", "last~1") == 0
    assert "2 better" in output(capsys)
    assert runner(project, "report", "diff", "6.12.117", "6.12.117-x86_64") == 0
    assert "1 cell compared; nothing changed" in output(capsys)
    assert runner(project, "report", "diff", "monday", "wednesday") == 64


def test_history_tells_when_the_claim_broke(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for night, answers in enumerate((good, good, worse, worse)):
        stored(project, answers, f"night-{night}", night)
    assert runner(project, "kfunc", "bpf_ct_insert_entry", "--history", "--format", "json") == 0
    turns = json.loads(output(capsys))["turns"]
    broken = [turn for turn in turns if turn["probe"] == PROBE]
    assert [(turn["before"], turn["run"], turn["kernel"]["after"]) for turn in broken] == [
        ("holds", {"before": "night-1", "after": "night-2"}, "6.12.117")
    ]


def test_availability_over_all_runs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(project, good, "monday")
    assert runner(project, "report", "availability", "--kfunc", "bpf_skb_ct_alloc", "--type", "tc") == 0
    out = output(capsys)
    assert "usable in 6.1.192 to 6.12.117 (2 kernels)" in out
    assert "6.1.192 or earlier" in out
    assert runner(project, "report", "availability", "--kfunc", "bpf_skb_ct_aloc") == 64


def test_shards_of_one_run_are_merged_and_old_runs_pruned(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(project, good, "monday")
    other = tmp_path / "other"
    stored(other, worse, "tuesday", night=1)
    source = other / "reports" / "results.db"
    for known in (0, 2):
        assert runner(project, "results", "merge", str(source)) == 0
        assert f"added, {known} results known before" in output(capsys)
    assert runner(project, "results", "prune", "--keep", "1", "--dry-run") == 0
    assert output(capsys).startswith("1 of 2 runs would be deleted: monday, with")
    assert runner(project, "results", "prune", "--keep", "1") == 0
    assert last_run(project).id == "tuesday"
    assert not (project / "reports" / "runs" / "monday").exists()
    assert runner(project, "results", "prune", "--keep", "soon") == 64


def test_runs_of_other_commands_are_deleted_with_a_word(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(project, good, "load-old")
    stored(project, good, "monday", night=1)
    assert runner(project, "results", "prune", "--keep", "1", "--dry-run") == 0
    assert output(capsys).splitlines()[1].startswith("load: 1 run would be deleted: load-old, with")
    assert runner(project, "results", "prune", "--keep", "999999d") == 64


def with_a_new_kfunc(cell: Cell, attempt: int = 1) -> CellResult:
    """Of 6.12, whose BTF tells which functions are kfuncs: no list has its name."""
    result = good(cell, attempt)
    tagged = (it for it in result.answers if it.kind == "census" and it.item and it.body.get("tags"))
    one = next(tagged, None)
    more = (one.model_copy(update={"item": "bpf_brand_new"}),) if one else ()
    return result.model_copy(update={"answers": (*result.answers, *more)})


def test_a_kfunc_that_no_list_has_and_that_is_gone_is_worse(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(project, with_a_new_kfunc, "monday")
    stored(project, good, "tuesday", night=1)
    assert runner(project, "report", "diff", "monday", "tuesday") == 1
    assert "bpf_brand_new (tc)  on 6.12.117" in output(capsys)
