"""Whatever an answer holds, what is read back is what came; and what only boots and builds differ in is stored once."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model import CellResult, CensusObservation, Observation, ProgType
from runner.probes import judge, states
from runner.results import schema
from runner.results.answers import CENSUS, OBSERVATIONS, Answer, Stored, members, read, read_steady, steady, write
from tests.unit import agent_samples

HOSTILE = st.sampled_from(
    [
        "\x1a",
        "\\u001a",
        "\\\\u001a",
        "0xff5c13688075d01c",
        "call bpf_x#126637",
        "#12",
        "0x12",
        '"',
        "\\",
        "\n",
        "a",
        "\x00",
    ]
)
TEXTS = st.lists(HOSTILE | st.text(max_size=5), max_size=8).map("".join)


@pytest.fixture(scope="module")
def empty() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.migrate(connection)
        yield connection


@pytest.fixture
def db(empty: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """What a test writes is gone after it."""
    empty.execute("BEGIN")
    yield empty
    empty.execute("ROLLBACK")


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=4))
def test_every_text_comes_back_to_the_letter(empty: sqlite3.Connection, texts: list[tuple[str, str]]) -> None:
    seen = [
        CensusObservation(kfunc="bpf_x", prog_type=ProgType.TC, log=log, again="again", again_log=again)
        for log, again in texts
    ]
    empty.execute("BEGIN")
    assert list(read(empty, CENSUS, write(empty, CENSUS, seen))) == seen
    empty.execute("ROLLBACK")


def answers(boot: int) -> list[Observation]:
    log = f"0: (18) r2 = 0xff5c1368807{boot:05x} ; R2_w=map_value()\n4: (85) call bpf_ct_release#{12000 + boot}\n"
    return [Observation(probe="a:tc", load_errno=13, log=log), Observation(probe="b:tc", load_errno=0)]


def test_boots_and_builds_share_what_they_differ_in_only_by_numbers(db: sqlite3.Connection) -> None:
    stored = [write(db, OBSERVATIONS, answers(boot)) for boot in range(3)]
    assert len({it.answers for it in stored}) == 1
    assert len({it.particulars for it in stored}) == 3
    for boot, it in enumerate(stored):
        assert list(read(db, OBSERVATIONS, it)) == answers(boot)


def test_the_second_question_is_shared_as_well(db: sqlite3.Connection) -> None:
    for build in range(3):
        seen = CensusObservation(
            kfunc="k", prog_type=ProgType.TC, again="with an arena", again_log=f"call k#{900 + build}"
        )
        write(db, CENSUS, [seen])
    assert db.execute("SELECT count(*) FROM census").fetchone()[0] == 1
    assert db.execute("SELECT json_extract(body, '$.kfunc') FROM census").fetchone()[0] == "k"  # the body stays JSON


def test_other_words_are_another_answer(db: sqlite3.Connection) -> None:
    one = write(db, OBSERVATIONS, [Observation(probe="a:tc", log="R1 is bad")])
    other = write(db, OBSERVATIONS, [Observation(probe="a:tc", log="R2 is bad")])
    assert one.answers != other.answers
    assert steady("error 13, timeout 120")[1] == []  # only what looks like an address or a BTF id is taken out
    assert steady("call k#90123, invalid func unknown#2002000004")[1] == ["#90123"]  # libbpf's number is an answer


def test_particulars_that_are_gone_are_said(db: sqlite3.Connection) -> None:
    stored = write(db, OBSERVATIONS, answers(1))
    with pytest.raises(sqlite3.DatabaseError, match="particulars"):
        list(read(db, OBSERVATIONS, Stored(stored.answers, None)))


def test_what_is_read_without_particulars_is_read_once(db: sqlite3.Connection) -> None:
    known: dict[int, Answer] = {}
    sets = [write(db, OBSERVATIONS, answers(boot)).answers for boot in range(2)]
    seen = []
    for rows in (members(db, OBSERVATIONS, it) for it in sets):
        read_steady(db, OBSERVATIONS, rows, known)
        seen.append([known[row] for row in rows])
    assert [it.probe for it in seen[0] if isinstance(it, Observation)] == ["a:tc", "b:tc"]
    assert seen[0][0] is seen[1][0]
    assert "0xff" not in seen[0][0].log


RECORDED = sorted(path.stem.removeprefix("agent-") for path in agent_samples.DATA.glob("agent-*.jsonl"))


@pytest.mark.parametrize("recorded", RECORDED)
def test_no_verdict_and_no_state_depends_on_particulars(recorded: str) -> None:
    real = agent_samples.result(*recorded.split("-", 1))
    seen = tuple(each.model_copy(update={"log": steady(each.log)[0]}) for each in real.observations)
    census = tuple(each.model_copy(update={"log": steady(each.log)[0]}) for each in real.census)
    without = real.model_copy(update={"observations": seen, "census": census})
    assert told(without) == told(real)


def told(result: CellResult) -> list[tuple[object, ...]]:
    claims = agent_samples.claims()
    verdicts = [(it.probe, it.verdict, steady(it.cause)[0]) for it in judge(result, claims)]
    return [*verdicts, *((it.kfunc, it.prog_type, it.state, steady(it.cause)[0]) for it in states(result, claims))]
