"""A bisect real xdist workers and fake guests, into a real store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from runner.bisect.boots import Boots, new_run
from runner.bisect.questions import find
from runner.bisect.search import search
from runner.engine.controller import execute
from runner.engine.fleet import this_machine_alone
from runner.model import Outcome
from runner.probes import load_kfuncs
from runner.results.bisections import Reply
from runner.results.store import ResultStore
from tests import fakes
from tests.unit import agent_samples, results_samples


def test_what_does_not_boot_is_skipped_and_everything_is_kept(tmp_path: Path) -> None:
    behaviours = ("fine", "panic-at-boot", "kills-worker-once", "fine")
    cells = {f"k{at}": fakes.cell(behaviour, number=at) for at, behaviour in enumerate(behaviours)}
    replies: list[Reply] = []
    with ResultStore(tmp_path / "results.db") as store:
        boots = Boots(
            asked=find("lookup-not-gpl", agent_samples.claims(), load_kfuncs(agent_samples.ROOT)),
            keys=list(cells),
            cells=cells,
            plan=replace(
                fakes.plan(tmp_path / "run", fleet=this_machine_alone(2)),
                run=new_run("bisect-1", results_samples.STARTED, "a" * 64, 2),
            ),
            store=store,
            show=lambda _batch: fakes.Told(),
            execute=execute,
        )
        board = search(boots.keys, replies, boots.ask, slots=2, samples=8)
        assert [board[at].answer for at in range(4)] == ["loads and runs", "", "loads and runs", "loads and runs"]
        assert board.dead == [1]
        (panicked,) = (reply for reply in replies if reply.outcome is Outcome.BOOT_FAILED)
        assert "Kernel panic" in panicked.cause
        kept = store.load("bisect-1")
        assert {result.cell.id for result in kept.results} == {cell.id for cell in cells.values()}
        assert kept.finished
