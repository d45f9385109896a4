# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The store keeps what was finished: through kill -9, repeats, damage, and a year of nightly runs."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from runner.errors import InfraError, UserError
from runner.model import NETWORK_TYPES, Ask, Asked, AskedCell, Cell, CellResult, Kept, Outcome, Timings
from runner.probes.census.answers import CensusObservation
from runner.results.evidence import console_path
from runner.results.store import ResultStore
from tests.answers import seen_of, with_answers
from tests.unit import agent_samples
from tests.unit import results_samples as samples

FINISHED = samples.STARTED + timedelta(seconds=52)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reports" / "results.db"


def store_run(path: Path, *results: CellResult, run_id: str = "one") -> None:
    with ResultStore(path) as store:
        store.begin(samples.run(run_id=run_id))
        for result in results:
            store.add(run_id, result)
        store.finish(run_id, FINISHED)


def test_what_was_stored_comes_back(path: Path) -> None:
    results = [samples.result(cell, seed=at) for at, cell in enumerate(samples.CELLS)]
    store_run(path, *results)
    with ResultStore(path, read_only=True) as store:
        there = store.load("one", consoles=True)
        assert there == samples.run(*results, run_id="one").model_copy(update={"sessions": there.sessions})
        bare = store.load()
        assert [result.console for result in bare.results] == [""] * 8
        info = store.runs()[0]
        assert (info.id, info.cells, info.finished_cells, info.finished) == ("one", 8, 8, FINISHED)


def test_killed_run_has_no_end_and_its_cells_never_finished(path: Path) -> None:
    with ResultStore(path) as store:
        store.begin(samples.run(run_id="one"))
        store.add("one", samples.result(samples.CELLS[2]))
    with ResultStore(path, read_only=True) as store:
        run = store.load()
    assert run.finished is None
    assert len(run.cells) == 8
    assert [run.final(cell).outcome for cell in run.cells].count(Outcome.RAN) == 1


def test_repeated_cell_keeps_both_results_and_both_consoles(path: Path) -> None:
    first = samples.result(samples.CELLS[0], Outcome.LOST, "ssh dropped").model_copy(update={"console": "first\n"})
    store_run(path, first, samples.result(samples.CELLS[0]))
    with ResultStore(path, read_only=True) as store:
        run = store.load(consoles=True)
    assert run.attempts(samples.CELLS[0].id) == (first, samples.result(samples.CELLS[0]))
    assert run.final(samples.CELLS[0]).attempts == 2
    assert console_path(path.parent, "one", samples.CELLS[0].id).read_text() == "first\n"
    second = console_path(path.parent, "one", samples.CELLS[0].id, attempt=2).read_bytes()
    assert second == samples.result(samples.CELLS[0]).console.encode()  # escapes and \r\n as they came


def with_addresses(boot: int) -> CellResult:
    """What the verifier prints differs from boot to boot in the addresses of maps, between builds in BTF ids."""
    result = samples.result(samples.CELLS[0])
    log = (
        f"0: (18) r3 = 0xff5c1368807{boot:05x} ; R3_w=map_value(map=data)\n4: (85) call bpf_ct_release#{12000 + boot}\n"
    )
    seen = tuple(each.model_copy(update={"log": log + "\x1a as it came"}) for each in seen_of(result))
    return with_answers(result, claims=seen)


def test_an_answer_comes_back_with_its_addresses(path: Path) -> None:
    for boot in range(3):
        store_run(path, with_addresses(boot), run_id=f"boot-{boot}")
    with ResultStore(path, read_only=True) as store:
        for boot in range(3):
            assert seen_of(store.load(f"boot-{boot}").results[0]) == seen_of(with_addresses(boot))
        assert len({final.digest for final in store.finals()}) == 1


def test_results_of_one_kernel_are_stored_against_the_first_one(path: Path) -> None:
    real = agent_samples.result("6.12.117")
    sizes = []
    with ResultStore(path) as store:
        for night in range(5):
            store.begin(samples.run(run_id=f"night-{night}", cells=(real.cell,)))
            store.add(f"night-{night}", real.model_copy(update={"attempts": night + 1}))
            sizes.append(single(path, "SELECT sum(length(body)) FROM text"))
        assert single(path, "SELECT count(*) FROM base") == 1
        assert sizes[-1] < 5 * 1000
        store.remove(["night-0"])  # the others still need what they are stored against
        assert store.load("night-4").results[0].answers == real.answers
        store.remove([f"night-{night}" for night in range(1, 5)])
    assert single(path, "SELECT (SELECT count(*) FROM base) + (SELECT count(*) FROM content)") == 0


def test_a_result_that_is_kept_whole_is_no_copy(path: Path) -> None:
    first = samples.result(samples.CELLS[0])
    kept = first.model_copy(update={"kept": (Kept(run="first", started=samples.STARTED),), "boots": 0})
    store_run_of(path, first)
    with ResultStore(path) as store:
        store.begin(samples.run(run_id="again", cells=(first.cell,)))
        store.repeat("again", kept, store.finals()[0].seq)
        assert single(path, "SELECT count(*) FROM text") == 1
        store.remove(["one"])  # what it was kept from
        assert store.load("again").results[0].answers == first.answers
        store.remove(["again"])
    assert single(path, "SELECT count(*) FROM text") == 0


def single(path: Path, query: str) -> int:
    """What SQLite itself says of a store."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        found: int = db.execute(query).fetchone()[0]
    return found


def test_a_result_that_is_unlike_the_base_gets_a_base_of_its_own(path: Path) -> None:
    real = agent_samples.result("6.12.117")
    died = CellResult(cell=real.cell, outcome=Outcome.BOOT_FAILED, cause="panic", build=real.build)
    store_run_of(path, died, real, real)
    with ResultStore(path, read_only=True) as store:
        assert [result.answers for result in store.load().results] == [(), real.answers, real.answers]
    assert single(path, "SELECT count(*) FROM base") == 2


def store_run_of(path: Path, *results: CellResult) -> None:
    with ResultStore(path) as store:
        store.begin(samples.run(run_id="one", cells=(results[0].cell,)))
        for result in results:
            store.add("one", result)


def test_what_was_asked_is_stored_once_and_removed_with_its_runs(path: Path) -> None:
    asks = AskedCell(asks=(Ask(kind="claims", probe="a:tc"),), modules=("nf_nat",), programs={"a.bpf.o": "0" * 64})
    asked = Asked(cells={cell.id: asks for cell in samples.CELLS}, objects={sha256(b"elf").hexdigest(): b"elf"})
    for run_id in ("one", "two"):
        store_run(path, run_id=run_id)
        with ResultStore(path) as store:
            assert store.asked(run_id) is None
            store.write_asked(run_id, asked)
            store.write_asked(run_id, asked)
    with ResultStore(path) as store:
        assert store.asked("one") == store.asked("two") == asked
        store.remove(["one"])
        assert store.asked("two") == asked
        store.remove(["two"])
    assert single(path, "SELECT count(*) FROM content") == 0


def test_a_resumed_run_counts_only_the_time_that_it_ran(path: Path) -> None:
    later = FINISHED + timedelta(days=3)
    with ResultStore(path) as store:
        store.begin(samples.run(run_id="one"))
        store.finish("one", FINISHED)
        store.resume("one", later)
        store.finish("one", later + timedelta(seconds=8))
        assert store.load().wall_s == store.runs()[0].wall_s == 52 + 8


def test_a_killed_run_counts_until_its_last_result(path: Path) -> None:
    with ResultStore(path) as store:
        began = datetime.now(UTC) - timedelta(seconds=100)
        store.begin(samples.run(run_id="one").model_copy(update={"started": began}))
        store.add("one", samples.result(samples.CELLS[0]))
        store.resume("one", began + timedelta(days=2))
        store.finish("one", began + timedelta(days=2, seconds=10))
        assert store.load().wall_s == pytest.approx(110, abs=5)


def test_reader_sees_finished_cells_while_a_run_writes(path: Path) -> None:
    with ResultStore(path) as writer:
        writer.begin(samples.run(run_id="one"))
        with ResultStore(path, read_only=True) as reader:
            assert reader.load().results == ()
            writer.add("one", samples.result(samples.CELLS[0]))
            assert len(reader.load().results) == 1


def test_second_writer_is_refused(path: Path) -> None:
    with ResultStore(path), pytest.raises(InfraError, match="another run is writing"), ResultStore(path):
        pass
    with ResultStore(path):
        pass


def test_reader_works_in_a_folder_that_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_run(path, samples.result(samples.CELLS[0]))
    monkeypatch.setattr("runner.results.database.os.access", lambda *_: False)  # root may write everywhere
    with ResultStore(path, read_only=True) as store:
        assert len(store.load().results) == 1
    assert not path.with_name("results.db-shm").exists()


def test_reader_cannot_write(path: Path) -> None:
    store_run(path)
    with ResultStore(path, read_only=True) as store, pytest.raises(InfraError, match="readonly"):
        store.begin(samples.run(run_id="two"))


@pytest.mark.parametrize("read_only", [True, False])
def test_file_that_is_no_database(path: Path, read_only: bool) -> None:
    path.parent.mkdir()
    path.write_bytes(b"\x7fELF" + bytes(range(256)) * 40)
    with pytest.raises(InfraError, match="is corrupt") as caught, ResultStore(path, read_only=read_only):
        pass
    assert "move it away" in caught.value.hint


def test_database_of_another_program(path: Path) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(InfraError, match="belongs to another program"), ResultStore(path):
        pass


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
@pytest.mark.parametrize("read_only", [True, False])
def test_what_is_no_file_is_not_waited_for(path: Path, make: Callable[[Path], None], read_only: bool) -> None:
    path.parent.mkdir()
    make(path)
    with pytest.raises(InfraError, match="it is no regular file"), ResultStore(path, read_only=read_only):
        pass


def test_a_database_of_another_version_is_refused(path: Path) -> None:
    store_run(path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 6")
    for read_only in (True, False):
        with pytest.raises(InfraError, match="another version") as caught, ResultStore(path, read_only=read_only):
            pass
        assert "run again" in caught.value.hint


@pytest.mark.parametrize("table", ["text", "base", "content"])
def test_damage_in_the_middle_is_found_when_read(path: Path, table: str) -> None:
    store_run(path, agent_samples.result("6.12.117").model_copy(update={"cell": samples.CELLS[0]}))
    with contextlib.closing(sqlite3.connect(path)) as db:
        for seq, body in db.execute(f"SELECT seq, body FROM {table}").fetchall():  # noqa: S608
            middle = len(body) // 2
            damaged = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
            db.execute(f"UPDATE {table} SET body = ? WHERE seq = ?", (damaged, seq))  # noqa: S608
        db.commit()
    with ResultStore(path, read_only=True) as store, pytest.raises(InfraError, match="is corrupt"):
        store.load()


def test_overwritten_pages_are_found_when_read(path: Path) -> None:
    store_run(path, *(samples.result(cell) for cell in samples.CELLS))
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * (path.stat().st_size - 4 * 4096))
    with pytest.raises(InfraError, match="corrupt"), ResultStore(path, read_only=True) as store:
        store.load()


def test_result_of_a_stranger_is_refused(path: Path) -> None:
    with ResultStore(path) as store:
        store.begin(samples.run(run_id="one", cells=samples.CELLS[:2]))
        with pytest.raises(InfraError, match="not a cell of run one"):
            store.add("one", samples.result(samples.CELLS[5]))


def test_missing_runs_are_the_users_error(path: Path) -> None:
    with pytest.raises(UserError, match="there are no results"), ResultStore(path, read_only=True):
        pass
    with ResultStore(path) as store, pytest.raises(UserError, match="there are no results"):
        store.load()
    store_run(path)
    with ResultStore(path) as store, pytest.raises(UserError, match="no run 'two'") as caught:
        store.load("two")
    assert "one" in caught.value.hint


NAMES = tuple(f"bpf_{number:03}" for number in range(400))


def with_census(cell: Cell) -> CellResult:
    """As big as a real census of TC and XDP."""
    census = tuple(
        CensusObservation(kfunc=name, prog_type=it, object="vmlinux", load_errno=13, log=f"{name} no", tags=tags)
        for name, tags in ((name, () if name < "bpf_300" else ("bpf_kfunc",)) for name in NAMES[:350])
        for it in NETWORK_TYPES
    )
    ended = dict.fromkeys(NETWORK_TYPES, "")
    result = with_answers(samples.result(cell), census=census, missing=NAMES[350:], ended=ended)
    return result.model_copy(update={"config": {"NF_NAT": "m"}})


def test_a_census_is_kept_whole(path: Path) -> None:
    result = with_census(samples.CELLS[0])
    store_run(path, result)
    with ResultStore(path, read_only=True) as store:
        assert store.load(consoles=True).results == (result,)


def test_for_the_order_of_a_run_the_last_time_that_a_cell_ran_counts(path: Path) -> None:
    one = samples.CELLS[0]
    with ResultStore(path) as store:
        for number, (taken_s, outcome) in enumerate([(30.0, Outcome.RAN), (20.0, Outcome.RAN), (5.0, Outcome.LOST)]):
            run = samples.run(cells=(one,), run_id=f"run-{number}")
            store.begin(run)
            timings = Timings(prepare_s=2.0, total_s=taken_s)
            store.add(run.id, CellResult(cell=one, outcome=outcome, accel="tcg", timings=timings))
        assert store.seconds() == {one.id: {"tcg": 18.0}}
