# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The verifier's texts, and patterns held against observations."""

from __future__ import annotations

import pytest

from runner.model import State
from runner.probes.claims.answers import Observation, expected_words, matches, observed_words
from runner.probes.claims.written import Pattern, Range, Refusal
from runner.probes.verifier import calls_missing, permission, says, steady, verdict_line
from tests.answers import seen_of
from tests.unit.agent_samples import result

CALL = "0: R1=ctx() R10=fp0\n4: (85) call bpf_x#1234\n"
PROSE = "Verification failed: Execution Context Safety: Operation is not allowed in this context\n\nReason:\n  ..."


@pytest.mark.parametrize(
    ("refused", "log", "state"),
    [
        (0, "", State.REGISTERED),
        (13, "calling kernel function bpf_x is not allowed\n", State.NOT_ALLOWED),
        (22, "calling kernel function bpf_x is not allowed\nVerification failed: Policy\n...", State.NOT_ALLOWED),
        (22, "cannot find address for kernel function bpf_x_impl\n", State.NOT_ALLOWED),
        (13, f"{CALL}Possibly NULL pointer passed to trusted arg0\n", State.REGISTERED),
        (13, f"{CALL}program must be sleepable to call sleepable kfunc bpf_x\n", State.REGISTERED),
        (13, f"{CALL}program must be sleepable to call sleepable kfunc bpf_x\n\n{PROSE}", State.REGISTERED),
        (22, f"{CALL}R1 type=ctx expected=fp\n", State.REGISTERED),
        (22, "R5 pointer type UNKNOWN  must point to scalar, or struct with scalar\n", State.NOT_ALLOWED),
        (14, "0: (85) call __bpf_trap#1\nunexpected __bpf_trap() due to uninitialized variable?\n", State.NOT_ALLOWED),
        (524, "JIT does not support calling kernel function\n", State.NO_ANSWER),
        (22, "4: (85) call unknown#20432\nBPF_CALL uses reserved fields\n", State.ABSENT),
        (524, "", State.NO_ANSWER),
        (22, "metadata kfuncs require device-bound program\n", State.NO_ANSWER),
        (22, "R1 arena pointer requires a program with an associated arena\n", State.NO_ANSWER),
        (22, "cannot call kernel function from non-GPL compatible program\n", State.NO_ANSWER),
        (71, "kfunc offset > 0 without fd_array is invalid\n", State.NO_ANSWER),
        (22, "", State.NO_ANSWER),
        (12, "", State.NO_ANSWER),
        (1, "", State.NO_ANSWER),
        (28, "cut", State.NO_ANSWER),
    ],
)
def test_permission(refused: int, log: str, state: State) -> None:
    reading = permission(refused, log)
    assert reading.state is state
    assert bool(reading.cause) is (state is not State.REGISTERED)


@pytest.mark.parametrize(
    ("refused", "log", "hidden"),
    [
        (22, "R5 pointer type UNKNOWN  must point to scalar, or struct with scalar\n", False),  # for every program
        (22, "R5 pointer type STRUCT sock must point to scalar, or struct with scalar\n", True),
        (22, "metadata kfuncs require device-bound program\n", True),
        (22, "R1 arena pointer requires a program with an associated arena\n", True),
        (22, f"{CALL}R5 pointer type UNKNOWN  must point to scalar, or struct with scalar\n", False),
        (524, "JIT does not support calling kernel function\n", False),
        (12, "", False),
    ],
)
def test_a_refusal_before_the_call_hides_the_answer(refused: int, log: str, hidden: bool) -> None:
    """What the verifier says once it is at the call comes after the question whether the program type may call it."""
    assert permission(refused, log).hidden is hidden


@pytest.mark.parametrize("version", ["6.1.192", "6.12.117", "6.18.15", "7.3.4"])
def test_the_verifiers_reason_is_found_in_real_logs(version: str) -> None:
    observations = {one.probe: one for one in seen_of(result(version))}
    assert verdict_line(observations["alloc-leak:tc"].log).startswith("Unreleased reference id=")
    assert verdict_line(observations["alloc-tc-context:tc"].log) == "R1 type=ctx expected=fp"
    lines = {probe: verdict_line(it.log) for probe, it in observations.items() if it.load_errno}
    assert lines
    assert not [probe for probe, line in lines.items() if not line or line.startswith(("processed", ";"))]


def test_words_are_whole() -> None:
    log = "expected pointer to STRUCT nf_conn___init but R1 has a pointer to STRUCT nf_conn___init\n"
    assert says(log, "has a pointer to STRUCT nf_conn___init")
    assert not says(log, "has a pointer to STRUCT nf_conn")


def test_poisoned_calls() -> None:
    assert calls_missing("invalid func unknown#2002000004")
    assert calls_missing("invalid func unknown#195896080")
    assert not calls_missing("invalid func unknown#300")


RAN = Observation(probe="p", load_errno=0, run_errno=0, retval=0, fields={"error": -22, "n": 5}, stdout="a line\n")
REFUSED = Observation(probe="p", load_errno=13, log="R2 type=scalar expected=fp\nprocessed 1 insns")


@pytest.mark.parametrize(
    ("answer", "observation", "expected"),
    [
        (Pattern(fields={"error": "-EINVAL"}), RAN, True),
        (Pattern(fields={"error": -22, "n": Range(min=5, max=5)}), RAN, True),
        (Pattern(fields={"error": "-EPERM"}), RAN, False),
        (Pattern(fields={"n": Range(min=6, max=9)}), RAN, False),
        (Pattern(fields={"missing": 0}), RAN, False),
        (Pattern(stdout="a line"), RAN, True),
        (Pattern(fields={"n": 5}, stdout="another"), RAN, False),
        (Pattern(stderr="a line"), RAN, False),
        (Pattern(load="refused"), RAN, False),
        (Pattern(load=Refusal()), RAN, False),
        (Pattern(), REFUSED, False),
        (Pattern(load="refused"), REFUSED, True),
        (Pattern(load=Refusal(errno="EACCES")), REFUSED, True),
        (Pattern(load=Refusal(errno="EINVAL")), REFUSED, False),
        (Pattern(load=Refusal(log=("nothing", "expected=fp"))), REFUSED, True),
        (Pattern(load=Refusal(log=("nothing",))), REFUSED, False),
    ],
)
def test_matches(answer: Pattern, observation: Observation, expected: bool) -> None:
    assert matches(answer, observation) is expected


def test_words() -> None:
    answer = Pattern(fields={"error": "-EINVAL", "n": Range(min=1, max=4)})
    assert expected_words(answer) == "error -EINVAL, n 1..4"
    assert observed_words(answer, RAN) == "error -EINVAL, n 5"
    assert observed_words(answer, REFUSED) == 'load refused: -EACCES, "R2 type=scalar expected=fp"'
    assert expected_words(Pattern(load=Refusal(errno="EACCES", log=("a",)))) == 'load refused: -EACCES, "a"'
    untouched = Pattern(fields={"error": 0x12345678})
    assert expected_words(untouched) == "error not written"
    written = Pattern(fields={"n": 5}, stdout="line")
    assert expected_words(written) == observed_words(written, RAN) == "n 5, stdout 'line'"
    assert observed_words(Pattern(stdout="another"), RAN).endswith("stdout 'a line\\n'")


def test_the_reason_is_not_one_of_the_states_that_are_printed_behind_it() -> None:
    log = (  # of 6.12.117
        "18: (6d) if r1 s> r2 goto pc-11 ; sum += i; @ loop.bpf.c:7\ninfinite loop detected at insn 8\n"
        "cur state: R1=200 R2_w=scalar(smax=smax32=199) R10=fp0 fp-8=mmmm\n"
        "old state: R1_rw=200 R2_w=scalar(smax=smax32=199) R10=fp0 fp-8_r=mmmm\n"
        "processed 61 insns (limit 1000000) max_states_per_insn 1 total_states 3 peak_states 3 mark_read 1\n"
    )
    assert verdict_line(log) == "infinite loop detected at insn 8"


def test_addresses_and_ids_are_not_in_what_is_judged() -> None:
    log = "4: (85) call bpf_x#71234\nR1 of bpf_y#71235 at 0xffff888012345678 is not it\n"
    assert verdict_line(log) == "R1 of bpf_y#ID at 0xADDRESS is not it"
    assert says(log, "R1 of bpf_y")
    assert not says(log, "bpf_y#71235")
    assert steady(log) == steady(log.replace("7123", "8123").replace("5678", "5679"))
