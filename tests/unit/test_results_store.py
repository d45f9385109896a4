"""The store keeps what was finished: through kill -9, repeats, damage, and a year of nightly runs."""

from __future__ import annotations

import contextlib
import gzip
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from runner.errors import InfraError, UserError
from runner.model import NETWORK_TYPES, Cell, CellResult, CensusObservation, Outcome
from runner.results import schema
from runner.results.evidence import console_path, observations_path
from runner.results.store import ResultStore
from tests.unit import results_samples as samples

ROOT = Path(__file__).parents[2]
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
        assert store.load("one", consoles=True) == samples.run(*results, run_id="one")
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


def test_raw_answers_lie_beside_as_json_lines(path: Path) -> None:
    result = samples.result(samples.CELLS[0])
    store_run(path, result)
    lines = gzip.decompress(observations_path(path.parent, "one", result.cell.id).read_bytes()).decode().splitlines()
    assert len(lines) == len(result.observations) + len(result.census)
    assert lines[0].startswith('{"event": "observation", "probe": "skb-ct-lookup-0:tc"')
    assert lines[-1].startswith('{"event": "census", "kfunc": "bpf_ct_set_nat_info"')


def test_equal_answers_are_stored_once(path: Path) -> None:
    for run_id in ("one", "two"):
        store_run(path, *(samples.result(cell) for cell in samples.CELLS), run_id=run_id)
    with contextlib.closing(sqlite3.connect(path)) as db:
        per_version = 2 * 51  # the two architectures answered alike
        assert db.execute("SELECT count(*) FROM observation").fetchone()[0] == 4 * per_version
        assert db.execute("SELECT count(*) FROM census").fetchone()[0] == 22
        assert db.execute("SELECT count(*) FROM answer_set").fetchone()[0] == 4
        assert db.execute("SELECT count(*) FROM census_set").fetchone()[0] == 1


def with_addresses(boot: int) -> CellResult:
    """What the verifier prints differs from boot to boot in the addresses of maps, between builds in BTF ids."""
    result = samples.result(samples.CELLS[0])
    log = (
        f"0: (18) r3 = 0xff5c1368807{boot:05x} ; R3_w=map_value(map=data)\n4: (85) call bpf_ct_release#{12000 + boot}\n"
    )
    seen = tuple(each.model_copy(update={"log": log + "\x1a as it came"}) for each in result.observations)
    return result.model_copy(update={"observations": seen})


def test_addresses_do_not_make_an_answer_another_one(path: Path) -> None:
    for boot in range(3):
        store_run(path, with_addresses(boot), run_id=f"boot-{boot}")
    with ResultStore(path, read_only=True) as store:
        for boot in range(3):
            assert store.load(f"boot-{boot}").results[0].observations == with_addresses(boot).observations
        assert store._db.execute("SELECT count(*) FROM answer_set").fetchone()[0] == 1


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


def test_database_of_a_newer_version(path: Path) -> None:
    store_run(path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(InfraError, match="newer version") as caught, ResultStore(path, read_only=True):
        pass
    assert "update this program" in caught.value.hint


def test_damage_in_the_middle_is_found_when_read(path: Path) -> None:
    store_run(path, samples.result(samples.CELLS[0]))
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE observation SET body = replace(body, '-22', '-71') WHERE seq = 7")
        db.commit()
    with ResultStore(path, read_only=True) as store, pytest.raises(InfraError, match="not what was stored"):
        store.load()


def test_answer_that_is_gone_is_missed_when_read(path: Path) -> None:
    store_run(path, samples.result(samples.CELLS[0]))
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM observation WHERE seq = 7")
        db.commit()
    with (
        ResultStore(path, read_only=True) as store,
        pytest.raises(InfraError, match="answer in observation is gone"),
    ):
        store.load()


def test_overwritten_pages_are_found_when_read(path: Path) -> None:
    store_run(path, *(samples.result(cell) for cell in samples.CELLS))
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * (path.stat().st_size - 4 * 4096))
    with pytest.raises(InfraError, match="corrupt"), ResultStore(path, read_only=True) as store:
        store.load()


def test_older_tables_are_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_run(path, samples.result(samples.CELLS[0]))
    newer = (*schema.MIGRATIONS, ("ALTER TABLE run ADD COLUMN note TEXT", "UPDATE run SET note = 'migrated'"))
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    with ResultStore(path, read_only=True) as store:
        assert len(store.load().results) == 1
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == len(newer)
        assert db.execute("SELECT note FROM run").fetchone()[0] == "migrated"


def test_failed_migration_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_run(path)
    good = schema.MIGRATIONS
    monkeypatch.setattr(schema, "MIGRATIONS", (*good, ("ALTER TABLE run ADD COLUMN note TEXT", "SELECT nonsense")))
    with pytest.raises(InfraError), ResultStore(path):
        pass
    monkeypatch.setattr(schema, "MIGRATIONS", good)
    with ResultStore(path) as store:
        assert store.runs()[0].id == "one"


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


def test_full_disk_is_said_and_loses_nothing(path: Path) -> None:
    with ResultStore(path) as store:
        store.begin(samples.run(run_id="one"))
        store.add("one", samples.result(samples.CELLS[0]))
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(InfraError, match="full"):
            store.add("one", samples.result(samples.CELLS[1], seed=1))
        store._db.execute("PRAGMA max_page_count = 100000")
        store.add("one", samples.result(samples.CELLS[2]))
        assert [result.cell.id for result in store.load().results] == [samples.CELLS[0].id, samples.CELLS[2].id]


NAMES = tuple(f"bpf_{number:03}" for number in range(400))


def with_census(cell: Cell) -> CellResult:
    """As big as a real census of TC and XDP."""
    census = tuple(
        CensusObservation(kfunc=name, prog_type=it, object="vmlinux", load_errno=13, log=f"{name} no", tags=tags)
        for name, tags in ((name, () if name < "bpf_300" else ("bpf_kfunc",)) for name in NAMES[:350])
        for it in NETWORK_TYPES
    )
    ended = dict.fromkeys(NETWORK_TYPES, "")
    more = {"census": census, "missing": NAMES[350:], "census_ended": ended, "config": {"NF_NAT": "m"}}
    return samples.result(cell).model_copy(update=more)


def test_a_census_is_kept_whole(path: Path) -> None:
    result = with_census(samples.CELLS[0])
    store_run(path, result)
    with ResultStore(path, read_only=True) as store:
        assert store.load(consoles=True).results == (result,)
        assert store.tagged_kfuncs() == tuple((name, "vmlinux") for name in NAMES[300:350])


def test_results_from_before_the_census_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = samples.result(samples.CELLS[0])
    good = schema.MIGRATIONS
    monkeypatch.setattr(schema, "MIGRATIONS", good[:1])
    body = result.model_dump_json(
        exclude={"cell", "observations", "census", "console", "missing", "census_ended", "config"}
    )
    with ResultStore(path) as store:
        store.begin(samples.run(run_id="one", cells=samples.CELLS[:1]))
        store._db.execute("INSERT INTO result (cell, attempt, body) VALUES (1, 1, ?)", (body,))
    monkeypatch.setattr(schema, "MIGRATIONS", good)
    with ResultStore(path, read_only=True) as store:
        (read,) = store.load().results
    assert (read.missing, read.census_ended, read.config, read.host) == ((), {}, {}, result.host)
