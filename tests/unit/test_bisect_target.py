# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a bisection asks, and what it makes of the answers of real kernels."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from runner.bisect.target import CRASHED, Target, find
from runner.errors import UserError
from runner.model import AskedCell, Crash, Outcome
from runner.model.version import KernelVersion
from runner.probes import KINDS, Expectations, Kind
from runner.probes.boundaries import BoundariesEntry
from runner.probes.commands.written import CommandEntry
from runner.probes.files import ProbeFile
from tests.samples import ROOT
from tests.unit import agent_samples as samples
from tests.unit.test_commands_judge import BAD, GOOD
from tests.unit.test_commands_judge import answer as command_answer
from tests.unit.test_commands_judge import result as command_result

OLD, NEW = KernelVersion.parse("6.12.43"), KernelVersion.parse("6.12.117")


@cache
def expectations() -> Expectations:
    return Expectations.load(ROOT, ("conntrack",))


def target(word: str) -> Target:
    return find(word, expectations())


def test_a_probe_is_asked_also_of_kernels_about_which_its_claim_says_nothing() -> None:
    (ask,) = target("nat-manip-2").asks(OLD, fully=False)
    assert (ask.probe, ask.body["program"]) == ("nat-manip-2:tc", "tc_nat")


def test_the_question_is_the_one_that_the_matrix_asks() -> None:
    (ask,) = target("nat-manip-2:xdp").asks(NEW, fully=False)
    assert ask in expectations().asks(NEW)


@pytest.mark.parametrize(
    ("word", "subject"), [("nat-manip-2:xdp", "bpf_ct_set_nat_info"), ("bpf_xdp_ct_alloc", "bpf_xdp_ct_alloc")]
)
def test_ends_of_a_change_and_states_are_asked_what_tells_something_of_their_subject(word: str, subject: str) -> None:
    probes = {ask.probe for ask in target(word).asks(NEW, fully=True)}
    claimed = {it.probe for it in expectations().said() if (it.subject, it.type) == (subject, "xdp")}
    assert claimed & {ask.probe for ask in expectations().asks(NEW)} <= probes <= claimed | {"census:xdp"}
    assert "census:xdp" in probes


def test_a_state_is_no_answer_where_a_probe_of_its_subject_was_not_asked() -> None:
    real = samples.result("6.12.117")
    less = tuple(answer for answer in real.answers if answer.probe != "nat-source:tc")
    said = target("bpf_ct_set_nat_info:tc").read(real.model_copy(update={"answers": less}))
    assert (said.answer, said.cause) == ("", "nat-source:tc was not asked")


def test_of_a_subject_the_type_is_the_one_of_its_name_or_of_its_probes() -> None:
    assert target("bpf_xdp_ct_alloc").question.target == "bpf_xdp_ct_alloc:xdp"
    assert target("bpf_ct_release").question.target == "bpf_ct_release:tc"


@pytest.mark.parametrize(
    ("word", "answers"),
    [
        ("nat-manip-2", {"6.1.192": "set_ret -EINVAL", "6.12.117": "set_ret -EINVAL", "6.18.15": ""}),
        (
            "alloc-opts-size-4",
            {"6.12.117": "error not written, acquired 0, outside 0", "6.18.15": "error -EINVAL, acquired 0, outside 4"},
        ),
        ("bpf_ct_set_nat_info:tc", {"6.12.117": "usable", "6.18.15": "registered"}),
        ("set-nat-info-found", {"6.18.15": "load refused: -EINVAL", "7.3.4": "load refused: -EINVAL"}),
    ],
)
def test_answers_of_real_kernels(word: str, answers: dict[str, str]) -> None:
    one = target(word)
    assert {version: one.read(samples.result(version)).answer for version in answers} == answers


def test_evidence_and_declaration() -> None:
    real = samples.result("6.12.117")
    refused = target("bpf_skb_ct_alloc:xdp")
    row = refused.row(real)
    assert row is not None
    assert "STRUCT __sk_buff must point to" in row.log
    assert refused.declared(real)[0].startswith("struct nf_conn___init *bpf_skb_ct_alloc(")
    assert target("nat-manip-2").evidence(real)["set_ret"] == "-22 (-EINVAL)"
    assert target("alloc-opts-size-4").evidence(real)["error"] == "not written"


def test_what_is_no_answer() -> None:
    one, real = target("nat-manip-2"), samples.result("6.12.117")
    assert one.read(real.model_copy(update={"outcome": Outcome.BOOT_FAILED, "cause": "panic"})).cause == (
        "boot failed: panic"
    )
    no_jit = samples.result("6.12.117", "x86_64-without-jit")
    assert one.read(no_jit).answer == ""
    assert target("bpf_ct_set_nat_info:tc").read(no_jit).answer == ""


def test_a_crash_is_an_answer() -> None:
    crash = Crash(probe="nat-manip-2:tc", cause="Kernel panic")
    result = samples.result("6.12.117").model_copy(update={"crashes": (crash,)})
    assert target("nat-manip-2").read(result).answer == "crashed the kernel"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("nat-manp-2", "nat-manip-2"),
        ("bpf_ct_relese", "bpf_ct_release"),
        ("nat-manip-2:tcx", "nat-manip-2:tc"),
        ("qqqqqqqq", "bpf/"),
    ],
)
def test_what_is_wrong_is_said(word: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        target(word)
    assert hint in caught.value.hint


@pytest.fixture
def commands(tmp_path: Path) -> Expectations:
    """Two of a project, `mine` and `other`."""
    (tmp_path / "nat.sh").write_text("exit 0")
    entries = [{"id": "mine", "command": ["sh", "nat.sh"], "files": ["nat.sh"], "results": "gotest"}]
    entries.append({"id": "other", "command": ["true"]})
    return Expectations.load(tmp_path, [CommandEntry.model_validate(it) for it in entries])


@pytest.mark.parametrize(
    ("word", "run", "answer", "cause"),
    [
        ("mine/TestBad", {"status": 1, "output": BAD + GOOD}, "failed", ""),
        ("mine/TestGood", {"status": 1, "output": BAD + GOOD}, "passed", ""),
        ("mine", {"status": 1, "output": BAD + GOOD}, "failed", ""),
        ("mine", {"status": 0, "output": GOOD}, "passed", ""),
        ("mine/TestBad", {"status": 0, "output": GOOD}, "", "mine ran, and told of no TestBad"),
        ("mine/TestBad", {"status": None, "ended": "time"}, "", "it was not done within its time limit"),
    ],
)
def test_a_test_of_a_command_answers(
    commands: Expectations, word: str, run: dict[str, Any], answer: str, cause: str
) -> None:
    one = find(word, commands)
    assert [ask.probe for ask in one.asks(OLD, fully=True)] == ["mine"]
    assert one.asks(OLD, fully=False) == commands.asks(OLD)[:1], "the command is run as a whole"
    assert one.expectations.pushed("arm64").keys() == commands.pushed("arm64").keys()
    said = one.read(command_result(command_answer(run)))
    assert (said.answer, said.cause if not said.answer else "") == (answer, cause)


def test_a_command_that_took_the_kernel_down_is_no_answer_of_its_test(commands: Expectations) -> None:
    crash = Crash(probe="mine", cause="it panicked", oops="")
    crashed = command_result(crashes=(crash,))
    assert find("mine", commands).read(crashed).answer == "crashed the kernel"
    assert find("mine/TestBad", commands).read(crashed).cause == "it panicked"


def test_other_files_of_a_command_are_another_question(commands: Expectations) -> None:
    one = find("mine/TestBad", commands)
    (ask,) = one.asks(OLD, fully=False)
    others = ask.model_copy(update={"body": {**ask.body, "tree": "another"}})
    host = ask.model_copy(update={"body": {**ask.body, "settings": {"results": "tap"}}})
    asked = (AskedCell(asks=(it,), modules=(), programs={}) for it in (ask, host, others))
    assert [one.was_asked(it, OLD, {}) for it in (*asked, None)] == [True, True, False, False]


def test_a_claim_whose_program_was_changed_is_another_question() -> None:
    one = target("nat-manip-2:tc")
    asks = one.asks(OLD, fully=False)
    now, same, changed = (
        AskedCell(asks=asks, modules=(), programs={"conntrack.bpf.o": digest * 64, "other.bpf.o": digest * 64})
        for digest in "aab"
    )
    beside = now.model_copy(update={"programs": {**now.programs, "other.bpf.o": "c" * 64}})
    assert [one.was_asked(it, OLD, now.programs) for it in (same, changed, beside)] == [True, False, True]


def test_a_call_at_the_edge_is_asked_about_alone_of_kernels_with_other_calls_too() -> None:
    entry = BoundariesEntry(boundaries=("bpf_skb_ct_*",))
    edges = Expectations.made(ROOT, (ProbeFile("entry-0", entry),))
    found = find("boundaries:tc/bpf_skb_ct_alloc opts of 4 bytes", edges)
    assert found.question.subject == "bpf_skb_ct_alloc opts of 4 bytes"
    (ask,) = found.asks(NEW, fully=True)
    assert (ask.probe, ask.only, ask.careful) == ("boundaries:tc", "bpf_skb_ct_alloc opts of 4 bytes", True)
    crash = Crash(probe="boundaries:tc:bpf_skb_ct_alloc opts of 4 bytes", cause="Oops", oops="")
    result = samples.result("6.12.117").model_copy(update={"crashes": (crash,)})
    assert found.read(result).answer == CRASHED
    with pytest.raises(UserError):
        find("boundaries:tc/bpf_skb_ct_alloc opts of 4 bytes", expectations())


def test_a_kind_that_names_no_files_may_depend_on_any() -> None:
    class Toy(Kind[tuple[()]]):
        """Says nothing of files."""

    (ask,) = target("nat-manip-2:tc").asks(OLD, fully=False)
    pushed = {"conntrack.bpf.o": "a", "other.bpf.o": "b"}
    assert Toy().programs(ask, pushed) == pushed
    assert KINDS[ask.kind].programs(ask, pushed) == {"conntrack.bpf.o": "a"}
