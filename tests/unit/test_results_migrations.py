"""A store that an older version wrote is read as if it had been written today."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sqlite3
import zlib
from pathlib import Path

import pytest

from runner.model import CellResult, CensusObservation, Crash, Observation, Outcome
from runner.results import answers, schema
from runner.results.model import Run
from runner.results.store import ResultStore
from tests.unit import results_samples as samples

APART = {"cell", "answers", "console"}


class FirstVersion:
    """Writes the tables of version 1, in which every result listed its own answers."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path)
        for statement in schema.MIGRATIONS[0]:
            assert isinstance(statement, str)
            self.db.execute(statement)
        self.db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        self.db.execute("PRAGMA user_version = 1")

    def _add(self, statement: str, *values: object) -> int:
        return int(self.db.execute(statement, values).lastrowid or 0)

    def _content(self, text: str) -> int:
        digest = hashlib.sha256(text.encode()).digest()
        row = self.db.execute("SELECT seq FROM content WHERE sha256 = ?", (digest,)).fetchone()
        body = zlib.compress(text.encode())
        return int(row[0]) if row else self._add("INSERT INTO content (sha256, body) VALUES (?, ?)", digest, body)

    def _answer(self, table: str, answer: Observation | CensusObservation) -> int:
        body = answer.model_dump_json(exclude={"log"})
        digest = hashlib.sha256(f"{body}\0{answer.log}".encode()).digest()
        row = self.db.execute(f"SELECT seq FROM {table} WHERE sha256 = ?", (digest,)).fetchone()  # noqa: S608
        log = self._content(answer.log) if answer.log else None
        insert = f"INSERT INTO {table} (sha256, body, log) VALUES (?, ?, ?)"  # noqa: S608
        return int(row[0]) if row else self._add(insert, digest, body, log)

    def run(self, run: Run) -> None:
        seq = self._add(
            "INSERT INTO run (id, started, finished, matrix_sha256, runner_version, slots) VALUES (?, ?, ?, ?, ?, ?)",
            run.id, run.started.isoformat(), run.finished and run.finished.isoformat(),
            run.matrix_sha256, run.runner_version, run.slots,
        )  # fmt: skip
        insert = "INSERT INTO cell (run, position, id, content) VALUES (?, ?, ?, ?)"
        cells = {
            cell.id: self._add(insert, seq, at, cell.id, self._content(cell.model_dump_json()))
            for at, cell in enumerate(run.cells)
        }
        for result in run.results:
            body = json.dumps(_first_body(result))
            of = self._add("INSERT INTO result (cell, attempt, body) VALUES (?, 1, ?)", cells[result.cell.id], body)
            for at, seen in enumerate(result.observations):
                self.db.execute("INSERT INTO answer VALUES (?, ?, ?)", (of, at, self._answer("observation", seen)))
            for at, each in enumerate(result.census):
                self.db.execute("INSERT INTO census_answer VALUES (?, ?, ?)", (of, at, self._answer("census", each)))
        self.db.commit()


def _first_body(result: CellResult) -> dict[str, object]:
    """Of probes that crashed a kernel, the first version kept the names only."""
    body: dict[str, object] = result.model_dump(mode="json", exclude=APART | {"crashes"})
    body["census_ended"] = {str(prog_type): failed for prog_type, failed in result.census_ended.items()}
    return {**body, "crashed": [crash.probe for crash in result.crashes]}


def with_address(result: CellResult, boot: int) -> CellResult:
    seen = [each.model_copy(update={"log": f"r3 = 0xff5c1368{boot:08x}\n"}) for each in result.observations]
    return result.model_copy(update={"observations": tuple(seen), "console": ""})


@pytest.fixture
def old(tmp_path: Path) -> tuple[Path, tuple[Run, ...]]:
    path = tmp_path / "results.db"
    runs = tuple(
        samples.run(
            *(with_address(samples.result(cell), boot) for cell in samples.CELLS[:3]),
            samples.result(samples.CELLS[3], Outcome.LOST, "ssh dropped"),
            run_id=f"night-{boot}",
        )
        for boot in range(3)
    )
    writer = FirstVersion(path)
    for run in runs:
        writer.run(run)
    writer.db.close()
    return path, runs


def test_every_answer_survives_to_the_letter(old: tuple[Path, tuple[Run, ...]]) -> None:
    path, runs = old
    with ResultStore(path, read_only=True) as store:
        assert [store.load(run.id) for run in runs] == list(runs)


def test_answers_of_every_night_are_shared_afterwards(old: tuple[Path, tuple[Run, ...]]) -> None:
    path, _ = old
    with ResultStore(path):
        pass
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == len(schema.MIGRATIONS)
        assert db.execute("SELECT count(*) FROM answer_set").fetchone()[0] == 2  # one for all that ran, the empty one
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
        assert not {name for name in tables if name.startswith("old_")}


def test_interrupted_step_leaves_the_old_tables(
    old: tuple[Path, tuple[Run, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, runs = old

    def killed(_: sqlite3.Connection) -> None:
        raise KeyboardInterrupt

    at = next(at for at, step in enumerate(schema.MIGRATIONS) if any(callable(each) for each in step))
    steps = list(schema.MIGRATIONS)
    steps[at] = tuple(killed if callable(statement) else statement for statement in steps[at])
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", tuple(steps))
        with pytest.raises(KeyboardInterrupt), ResultStore(path):
            pass
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == at
    with ResultStore(path) as store:
        assert store.load(runs[0].id) == runs[0]


def test_probes_that_crashed_a_kernel_are_known(tmp_path: Path) -> None:
    crashed = samples.result(samples.CELLS[0]).model_copy(
        update={"crashes": (Crash(probe="a:tc", oops="BUG"), Crash(probe="b:xdp"))}
    )
    writer = FirstVersion(tmp_path / "results.db")
    writer.run(samples.run(crashed, samples.result(samples.CELLS[1])))
    writer.db.close()
    with ResultStore(tmp_path / "results.db", read_only=True) as store:
        results = store.load().results
    assert [result.crashed for result in results] == [("a:tc", "b:xdp"), ()]
    assert {crash.oops for crash in results[0].crashes} == {""}


NOT_FOUND = "12: (85) call unknown#2002000004\ninvalid func unknown#2002000004\n4: (85) call bpf_ct_release#90123\n"


def test_what_libbpf_did_not_find_is_back_in_the_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken out once; then a verdict that looks at answers without their particulars takes it for a refusal."""
    path, like = tmp_path / "results.db", samples.result(samples.CELLS[0])
    seen = tuple(each.model_copy(update={"log": NOT_FOUND}) for each in like.observations)
    kept = samples.run(like.model_copy(update={"observations": seen, "console": ""}), run_id="night-0")
    with monkeypatch.context() as then:
        then.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:5])
        then.setattr(answers, "_PARTICULAR", re.compile(r"#(?<=\w#)\d{3,}\b"))
        with ResultStore(path) as store:
            store.begin(kept)
            for result in kept.results:
                store.add(kept.id, result)
            steady = store.result(store.finals()[0]).observations
            assert {each.log.count("unknown#2002000004") for each in steady} == {0}
    with ResultStore(path, read_only=True) as store:
        assert store.load().results == kept.results
        steady = store.result(store.finals()[0]).observations
        assert {each.log for each in steady} == {NOT_FOUND.replace("#90123", "\x1a")}
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
