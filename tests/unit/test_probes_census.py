# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Judging a census, on what real kernels answered about some of their kfuncs, and on what can go wrong around it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from runner.engine.transcript import Transcript
from runner.model import CellResult, Crash, Facts, Outcome, ProgType, Row, State
from runner.model.version import KernelVersion
from runner.probes import OPTIONS, Expectations
from runner.probes.census.answers import CensusObservation, taken
from runner.probes.census.judge import CensusNames, absence, read
from runner.probes.files import KfuncList, load_kfuncs
from tests.answers import answers_of, with_answers
from tests.samples import DATA, ROOT
from tests.unit.agent_samples import cell

TC, XDP = ProgType.TC, ProgType.XDP
NEW = "7.3.4-x86_64"
KERNELS = ["6.1.192-x86_64", "6.12.117-x86_64", NEW, f"{NEW}-without-fou"]
FOU = {"bpf_skb_set_fou_encap", "bpf_skb_get_fou_encap"}


@cache
def known() -> KfuncList:
    return load_kfuncs(ROOT)


def expecting(more: KfuncList | None = None) -> Expectations:
    """Of the kfuncs alone, without a claim."""
    return Expectations(Path(), (), {"census": CensusNames(more or known())})


@cache
def census(name: str, **changes: str) -> CellResult:
    """What the agent said of some thirty kfuncs; the config is what Debian's kernels have."""
    version = name.partition("-")[0]
    said = Transcript(expecting().asks(KernelVersion.parse(version)))
    for line in (DATA / f"census-{name}.jsonl").read_text().splitlines():
        said.feed(line)
    assert said.noise == []
    assert said.ended
    assert said.unanswered(said.asks) == ()
    return CellResult(
        cell=cell(version),
        outcome=Outcome.RAN,
        facts=said.facts,
        answers=tuple(said.answers.values()),
        config={**dict.fromkeys(OPTIONS, "m"), **changes},
    )


def all_states(result: CellResult, more: KfuncList | None = None) -> dict[tuple[str, str], Row]:
    return {(it.subject, it.type): it for it in expecting(more).rows(result)}


@cache
def states_of(name: str) -> dict[tuple[str, str], Row]:
    return all_states(census(name))


def state(name: str, kfunc: str, prog_type: ProgType) -> str:
    return states_of(name)[kfunc, prog_type].state


@pytest.mark.parametrize(
    ("kfunc", "prog_type", "by_kernel"),
    [
        # 6.1.192, 6.12.117, 7.3.4
        ("bpf_skb_ct_alloc", TC, "rrr"),
        ("bpf_xdp_ct_alloc", TC, "rrr"),  # registered for both, whatever context it takes
        ("bpf_dynptr_from_skb", TC, "-rr"),
        ("bpf_dynptr_from_skb", XDP, "-xx"),
        ("bpf_dynptr_from_xdp", TC, "-xx"),
        ("bpf_dynptr_from_xdp", XDP, "-rr"),
        ("bpf_xdp_metadata_rx_hash", XDP, "-rr"),  # as a device-bound program
        ("bpf_xdp_metadata_rx_hash", TC, "-xx"),  # which a TC program cannot be
        ("bpf_xdp_flow_lookup", XDP, "-rr"),
        ("bpf_skb_get_xfrm_info", TC, "-rr"),
        ("crash_kexec", TC, "xrr"),  # a function of 6.1 that is a kfunc, but not for these
        ("bpf_key_put", TC, "xxr"),
        ("bpf_copy_from_user_str", TC, "-rr"),  # only in sleepable programs, says 7.3, in words like "is not allowed"
        ("bpf_kfunc_call_test1", TC, "r--"),
        ("bpf_kfunc_call_test1", XDP, "x--"),
        ("__bpf_trap", XDP, "--x"),  # the verifier refuses each call of it
        ("bpf_wq_set_callback_impl", TC, "-rx"),  # 7.3 has it in BTF only
        ("scx_bpf_cid_override", TC, "--x"),  # says so only to a program with an arena
        ("bpf_icmp_send", TC, "--x"),
        ("bpf_modify_return_test2", TC, "-xx"),  # 7.3 stumbles over its arguments first
    ],
)
def test_states_of_real_kernels(kfunc: str, prog_type: ProgType, by_kernel: str) -> None:
    signs = {"r": State.REGISTERED, "x": State.NOT_ALLOWED, "-": State.ABSENT, "?": State.NO_ANSWER}
    assert [state(name, kfunc, prog_type) for name in KERNELS[:3]] == [signs[it] for it in by_kernel]


def test_what_no_program_can_call_says_why() -> None:
    cause = states_of(NEW)["bpf_modify_return_test2", TC].cause
    assert cause.startswith("no program can pass its arguments: R5 pointer type UNKNOWN  must point to scalar")
    assert not [it.subject for it in states_of(NEW).values() if it.hidden]


@pytest.mark.parametrize("name", KERNELS)
def test_every_other_open_state_has_a_cause_that_can_be_removed(name: str) -> None:
    states = states_of(name).values()
    assert {bool(found.cause) for found in states} == {True}
    open_ = {(found.subject, found.cause) for found in states if found.state is State.NO_ANSWER and not found.hidden}
    assert {subject for subject, _ in open_} == (FOU if "without-fou" in name else set())
    assert not [cause for _, cause in open_ if "module fou did not load: modprobe: ERROR" not in cause]


def test_a_module_that_does_not_load_is_not_an_absence() -> None:
    assert state(NEW, "bpf_skb_set_fou_encap", TC) is State.REGISTERED
    assert state(f"{NEW}-without-fou", "bpf_skb_set_fou_encap", TC) is State.NO_ANSWER
    built_without = census(f"{NEW}-without-fou", NET_FOU="n")
    found = all_states(built_without)["bpf_skb_set_fou_encap", TC]
    assert (found.state, found.cause) == (State.ABSENT, "CONFIG_NET_FOU is not set")


def test_prototypes_objects_and_flags() -> None:
    found = states_of(NEW)
    assert found["bpf_dynptr_from_skb", TC].details["prototype"] == (
        "int bpf_dynptr_from_skb(struct __sk_buff *s, u64 flags, struct bpf_dynptr *ptr__uninit)"
    )
    assert found["bpf_skb_set_fou_encap", TC].details["object"] == "fou"
    assert found["bpf_copy_from_user_str", TC].details["flags"] == ["KF_SLEEPABLE"]
    assert found["bpf_cast_to_kern_ctx", TC].details["flags"] == ["KF_FASTCALL"]
    assert found["bpf_iter_num_new", TC].details["flags"] == ["KF_ITER_NEW"]
    assert found["bpf_ct_release", XDP].details["flags"] == ["KF_RELEASE"]
    assert found["bpf_kfunc_call_test1", TC].details["prototype"] == "", "absent: there is none"


def test_a_call_that_loads_is_not_usable() -> None:
    found = states_of(NEW)["bpf_cast_to_kern_ctx", TC]
    assert (found.state, found.errno, found.cause) == (State.REGISTERED, 0, "a call of it loads; no claim runs it")


def test_kernels_with_and_without_tags() -> None:
    assert not taken(census("6.1.192-x86_64")).tagged
    assert ("bpf_skb_set_fou_encap", "fou") in taken(census(NEW)).tagged
    assert "bpf_wq_set_callback_impl" not in {name for name, _ in taken(census(NEW)).tagged}


def test_what_became_known_later_is_absent_only_where_btf_names_all_kfuncs() -> None:
    more = known().grown([("bpf_brand_new", "vmlinux")])
    old, new = (
        {it.subject: it for it in all_states(census(name), more).values() if it.type == TC}
        for name in ("6.1.192-x86_64", "6.12.117-x86_64")
    )
    assert "bpf_brand_new" not in old, "it was not asked, and its BTF has no tags"
    assert new["bpf_brand_new"].state is State.ABSENT
    assert "calls no function of this name a kfunc" in new["bpf_brand_new"].cause


def test_a_kfunc_that_crashed_the_kernel_has_no_answer() -> None:
    crash = Crash(probe="census:tc:bpf_deadly")
    seen = census("6.1.192-x86_64").model_copy(update={"crashes": (crash,), "cause": "Oops"})
    found = {it.subject: it for it in all_states(seen).values() if it.type == TC}
    assert found["bpf_deadly"].state is State.NO_ANSWER
    assert found["bpf_deadly"].cause == "asking crashed the kernel: Oops"
    assert found["bpf_skb_ct_alloc"].state is State.REGISTERED


def test_a_census_that_failed_has_no_answers_and_says_why() -> None:
    seen = census(NEW)
    only_xdp = tuple(it for it in taken(seen).answers if it.prog_type is XDP)
    failed = with_answers(seen, census=only_xdp, ended={TC: "OSError: no BTF", XDP: ""})
    found = all_states(failed)
    assert {(it.state, it.cause) for it in found.values() if it.type == TC} == {(State.NO_ANSWER, "OSError: no BTF")}
    assert found["bpf_dynptr_from_xdp", XDP].state is State.REGISTERED


GOOD = Facts(btf=("fou", "vmlinux"), modules={"fou": ""})


@pytest.mark.parametrize(
    ("facts", "config", "what", "words"),
    [
        (GOOD, {}, State.ABSENT, "not in the kernel's BTF"),
        (Facts(), {}, State.NO_ANSWER, "the kernel has no BTF"),
        (Facts(btf=("vmlinux",)), {}, State.NO_ANSWER, "module fou was not loaded"),
        (Facts(btf=("vmlinux",)), {"NET_FOU": "n"}, State.ABSENT, "CONFIG_NET_FOU is not set"),
        (Facts(btf=("vmlinux",)), {"NET_FOU": "m"}, State.NO_ANSWER, "module fou was not loaded"),
        (Facts(btf=("vmlinux",), modules={"fou": ""}), {"NET_FOU": "y"}, State.ABSENT, "not in the kernel's BTF"),
        (Facts(btf=("vmlinux",), modules={"fou": ""}), {}, State.NO_ANSWER, "module fou has no BTF in this kernel"),
        (
            Facts(btf=("vmlinux",), modules={"fou": ""}),
            {"NET_FOU": "m", "DEBUG_INFO_BTF_MODULES": "n"},
            State.ABSENT,
            "CONFIG_DEBUG_INFO_BTF_MODULES is not set: no module has kfuncs",
        ),
    ],
)
def test_absence_needs_evidence(facts: Facts, config: dict[str, str], what: State, words: str) -> None:
    seen = CellResult(
        cell=cell("6.1.192"),
        outcome=Outcome.RAN,
        facts=facts,
        config=config,
        answers=answers_of(ended={TC: ""}, missing=("bpf_skb_get_fou_encap",)),
    )
    assert absence(seen, taken(seen), "bpf_skb_get_fou_encap", known(), ("fou",)) == (what, words)


CALL = "0: R1=ctx() R10=fp0\n4: (85) call f#1\n"
METADATA = "metadata kfuncs require device-bound program\n"


def answer(prog_type: ProgType, again_errno: int | None, again_log: str = "") -> CensusObservation:
    return CensusObservation(
        kfunc="f",
        prog_type=prog_type,
        object="vmlinux",
        load_errno=22,
        log=METADATA,
        again="" if again_errno is None else "bound to eth0",
        again_errno=again_errno,
        again_log=again_log,
    )


@pytest.mark.parametrize(
    ("seen", "what"),
    [
        (answer(XDP, 13, f"{CALL}Possibly NULL pointer passed to trusted R2\n"), State.REGISTERED),
        (answer(XDP, 13, f"{CALL}calling kernel function f is not allowed\n"), State.NOT_ALLOWED),
        (answer(XDP, 0), State.REGISTERED),
        (answer(XDP, 22), State.NO_ANSWER),  # a device that takes no programs
        (answer(XDP, 95), State.NO_ANSWER),
        (answer(XDP, None), State.NO_ANSWER),  # no device
        (answer(TC, 22), State.NOT_ALLOWED),
        (answer(TC, 95), State.NO_ANSWER),
        (answer(TC, 12), State.NO_ANSWER),
        (answer(TC, None), State.NO_ANSWER),
    ],
)
def test_what_was_asked_again(seen: CensusObservation, what: State) -> None:
    reading = read(seen)
    assert reading.state is what
    assert reading.hidden is (what is State.NO_ANSWER)
