# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Claim files: the real one, and wrong ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.model import Ask, Attach, ProgType
from runner.model.version import KernelVersion
from runner.probes import KINDS
from runner.probes.census.answers import CensusBody
from runner.probes.claims.answers import ClaimBody
from tests.unit.agent_samples import claims, expectations, expecting, load_claims

GOOD = """\
object: thing
modules: [m]
kfuncs:
  f: {tc: bpf_f, xdp: bpf_f}
claims:
  - id: one
    says: It is so.
    source: {kind: source, ref: here}
    kfunc: f
    program: p
    answer: {load: ok, fields: {error: -EINVAL, count: {min: 1, max: 2}}}
"""


def body(ask: Ask) -> ClaimBody:
    return ClaimBody.model_validate(ask.body)


def load(tmp_path: Path, text: str) -> None:
    (tmp_path / "bpf").mkdir(parents=True)
    (tmp_path / "bpf" / "thing.yaml").write_text(text)
    load_claims(tmp_path, "thing")


def test_a_small_file_loads(tmp_path: Path) -> None:
    load(tmp_path, GOOD)


def test_a_source_may_name_several_places(tmp_path: Path) -> None:
    load(tmp_path, GOOD.replace("ref: here", "ref: [here, there]"))
    (file,) = load_claims(tmp_path, "thing")
    assert file.claims[0].source.ref == ("here", "there")


def test_what_may_crash_a_kernel_is_asked_last(tmp_path: Path) -> None:
    second = GOOD.partition("claims:\n")[2].replace("id: one", "id: two")
    load(tmp_path, GOOD.replace("    program: p", "    program: p\n    risky: true") + second)
    asks = expecting(load_claims(tmp_path, "thing")).asks(KernelVersion.parse("6.12"))
    assert [ask.probe for ask in asks] == ["census:tc", "census:xdp", "two:tc", "two:xdp", "one:tc", "one:xdp"]
    load(tmp_path / "alone", GOOD)
    alone = expecting(load_claims(tmp_path / "alone", "thing")).asks(KernelVersion.parse("6.12"))
    of_one = [{ask.probe: body(ask).inputs for ask in every if ask.probe.startswith("one:")} for every in (asks, alone)]
    assert of_one[0] == of_one[1], "a question stays the same wherever it is, and whatever is asked besides"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("    says: It is so.", "    say: It is so.", 7, "unknown key; did you mean 'says'?"),
        ("error: -EINVAL", "error: -EINVALID", 11, "'-EINVALID' is not the name of an errno"),
        ("    kfunc: f", "    kfunc: g", 9, "not among `kfuncs`"),
        ("f: {tc: bpf_f, xdp: bpf_f}", "f: {tc: bpf_f}", 9, "`kfuncs` has no f for xdp"),
        ("    program: p", "    program: p\n    types: [tc, tc]", 11, "a program type is there twice"),
        ("    program: p", "    program: p\n    types: []", 11, "at least 1"),
        ("    program: p", '    program: p\n    since: ["six"]', 11, "not a kernel version"),
        ("    program: p", '    program: p\n    sysctl: {../../etc/passwd: "1"}', 11, "pattern"),
        ("    program: p", "    program: p\n    inputs: {flow: many}", 11, 'whole number, not "many"'),
        ("load: ok", "load: refused", 11, "a program that does not run has no fields"),
        ("    program: p", "    program: p\n    load_as: socket", 11, "'cgroup_skb'"),
        ("    program: p", "    program: p\n    netns: -1", 11, "0"),
        ("    program: p", "    program: p\n    flow: {protocol: sctp}", 11, "'tcp' or 'udp'"),
        ("load: ok", "load: maybe", 11, "'ok', 'loads' or 'refused', not \"maybe\""),
        ("load: ok, fields: {error: -EINVAL, count: {min: 1, max: 2}}", "load: {errno: EWRONG}", 11, "not the name"),
        ("load: ok, fields: {error: -EINVAL, count: {min: 1, max: 2}}", "load: {log: f#71234}", 11, "BTF id"),
        ("load: ok, fields: {error: -EINVAL, count: {min: 1, max: 2}}", "load: {log: [no 0xffff88801234]}", 11, "boot"),
        ("{min: 1, max: 2}", "{min: 3, max: 2}", 11, "min 3 is above max 2"),
        ("modules: [m]", 'since: {g: ["6.4"]}', 2, "not among `kfuncs`"),
        ("modules: [m]", "pages: {bpf_g: {It is so: [one]}}", 2, "not among `kfuncs`; did you mean 'bpf_f'"),
        ("modules: [m]", "pages: {bpf_f: {It is so: [not on]}}", 2, "no claim on; did you mean 'one'"),
        ("    program: p", "    program: p\n    later: true", 11, "have no `done`"),
        ("    program: p", "    program: p\n    unusable: too hard", 11, "'sleepable only'"),
        ("    program: p", "    program: p\n    unusable: needs a driver", 11, "neither the answer nor the source has"),
        ("    program: p", "    program: p\n    usable: true\n    unusable: sleepable only", 12, "`usable` as well"),
        ("    program: p", "    program: p\n    packet: {hex: 0g}", 11, "pattern"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD
    with pytest.raises(UserError) as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert words in caught.value.what
    assert f"thing.yaml:{line}:" in caught.value.what


REASONS = {
    "needs a driver": "{load: ok, fields: {ret: -EOPNOTSUPP}}",
    "takes the kernel down by design": "{load: loads}",
    "sleepable only": "{load: {errno: EACCES, log: [must be sleepable to call sleepable kfunc, other words]}}",
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_stands_beside_what_shows_it(tmp_path: Path, reason: str) -> None:
    text = GOOD.partition("    answer:")[0] + f"    unusable: {reason}\n    answer: {REASONS[reason]}\n"
    load(tmp_path, text)
    (ask, _) = expecting(load_claims(tmp_path, "thing")).asks(KernelVersion.parse("6.12"))[-2:]
    assert body(ask).run == (reason != "takes the kernel down by design")


def test_a_claim_is_about_the_kernels_that_have_its_kfunc(tmp_path: Path) -> None:
    second = (
        GOOD.partition("claims:\n")[2].replace("id: one", "id: two").replace("kfunc: f", 'kfunc: f\n    since: ["6.9"]')
    )
    load(tmp_path, GOOD.replace("modules: [m]", 'since: {f: ["6.4"]}') + second)
    files = load_claims(tmp_path, "thing")
    asked = {version: expecting(files).asks(KernelVersion.parse(version)) for version in ("6.3", "6.4", "6.9")}
    probes = {version: [ask.probe for ask in asks if ask.kind == "claims"] for version, asks in asked.items()}
    assert probes == {"6.3": [], "6.4": ["one:tc", "one:xdp"], "6.9": ["one:tc", "one:xdp", "two:tc", "two:xdp"]}


def test_a_kfunc_that_was_renamed_has_the_name_that_the_kernel_has(tmp_path: Path) -> None:
    load(tmp_path, GOOD.replace("tc: bpf_f,", "tc: [bpf_f, bpf_f_impl],"))
    (file,) = load_claims(tmp_path, "thing")
    names = [
        file.kfunc(file.claims[0], ProgType.TC, present) for present in ({"bpf_f_impl"}, {"bpf_f", "bpf_f_impl"}, ())
    ]
    assert names == ["bpf_f_impl", "bpf_f", "bpf_f"]
    assert file.kfunc_names == ("bpf_f", "bpf_f_impl")


def test_commands_are_pushed_with_what_needs_them(tmp_path: Path) -> None:
    load(tmp_path, GOOD.replace("modules: [m]", "setup: link add d0 type veth peer name d1"))
    files = load_claims(tmp_path, "thing")
    assert expecting(files).pushed("x86_64") == {"thing.ip": b"link add d0 type veth peer name d1"}
    ask = expecting(files).asks(KernelVersion.parse("6.12"))[-1]
    setting = body(ask).setting
    assert setting is not None
    assert setting.namespace == "thing"
    assert set(KINDS["claims"].files(ask) or ()) == {"thing.bpf.o", "thing.ip"}


def test_two_claims_of_one_name(tmp_path: Path) -> None:
    again = GOOD[GOOD.index("  - id") :]
    with pytest.raises(UserError, match="2 claims called 'one'"):
        load(tmp_path, GOOD + again)


def test_the_real_file_covers_the_family() -> None:
    file = claims()[0]
    assert len(file.kfunc_names) == 11
    count = Counter(prog_type for claim in file.claims for prog_type in claim.types)
    assert min(count[ProgType.TC], count[ProgType.XDP]) >= 60
    shown = {file.kfunc(claim, t) for claim in file.claims if claim.usable for t in claim.types}
    assert shown == set(file.kfunc_names), "every kfunc has a claim that shows it at work"


def test_known_differences_say_why() -> None:
    entries = [(claim, entry) for claim in claims()[0].claims for entry in claim.expect]
    assert entries
    assert not [claim.id for claim, entry in entries if entry.answer == claim.answer], "no exception"
    assert not [claim.id for claim, entry in entries if len(entry.why) <= 20]


def test_expectations_by_version() -> None:
    sized = next(claim for claim in claims()[0].claims if claim.id == "alloc-opts-size-must-be-12")
    assert sized.expected(KernelVersion.parse("6.10.9")).fields["error"] == "-EINVAL"
    assert sized.expected(KernelVersion.parse("6.11")).fields["acquired"] == 1


def test_every_question_has_a_connection_of_its_own() -> None:
    asks = expectations().asks(KernelVersion.parse("7.3.4"))
    flows = [body(ask).inputs["flow"] for ask in asks if ask.kind == "claims"]
    assert len(set(flows)) == len(flows)
    assert 0 not in flows


def test_a_question_is_the_same_on_every_kernel() -> None:
    new = {ask.probe: ask for ask in expectations().asks(KernelVersion.parse("7.3.4"))}
    old = {ask.probe: ask for ask in expectations().asks(KernelVersion.parse("6.18.15"))}
    assert old.items() <= new.items()
    assert {probe.partition(":")[0] for probe in new.keys() - old.keys()} == {"nat-manip-2", "nat-manip-3"}, (
        "kernels without the fix are not asked what might crash them"
    )


def test_the_census_asks_each_type_about_all() -> None:
    asks = expectations().asks(KernelVersion.parse("6.12"))
    census = [ask for ask in asks if ask.kind == "census"]
    assert [ask.probe for ask in census] == ["census:tc", "census:xdp"]
    assert [len(CensusBody.model_validate(ask.body).kfuncs) for ask in census] == [11] * 2
    assert expecting(()).asks(KernelVersion.parse("6.12")) == ()


def test_modules_once() -> None:
    once = expectations().modules
    assert expecting(claims() * 2).modules == once
    assert once[:2] == ("nf_conntrack", "nf_nat")
    assert len(set(once)) == len(once) == len(claims()[1].modules)


TRAFFIC = GOOD.replace("    program: p\n", "    program: p\n    flow: {protocol: tcp, tracked: true}\n")
ATTACH = "attach: {native: {}, clsact: {}, tcx: {since: ['6.6']}}\nclaims:\n"


def test_a_claim_about_traffic_is_one_for_each_way_to_attach(tmp_path: Path) -> None:
    load(tmp_path, TRAFFIC.replace("claims:\n", ATTACH))
    (file,) = load_claims(tmp_path, "thing")
    assert [(claim.id, claim.types) for claim in file.claims] == [
        ("one-native", (ProgType.XDP,)),
        ("one-clsact", (ProgType.TC,)),
        ("one-tcx", (ProgType.TC,)),
    ]
    old, new = (expecting((file,)).asks(KernelVersion.parse(version)) for version in ("6.5", "6.6"))
    assert [ask.probe for ask in old if ask.kind == "claims"] == ["one-native:xdp", "one-clsact:tc"]
    asked = [body(ask).traffic for ask in new if ask.kind == "claims"]
    assert [(flow.attach, flow.protocol, flow.tracked, flow.virtual) for flow in asked if flow] == [
        (attach, "tcp", True, False) for attach in ("native", "clsact", "tcx")
    ]


def test_traffic_needs_a_way_to_attach(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"thing\.yaml:11: .*neither the claim nor the file says how to `attach`"):
        load(tmp_path, TRAFFIC)


def test_a_claim_of_one_type_is_attached_by_what_suits_it(tmp_path: Path) -> None:
    load(tmp_path, TRAFFIC.replace("claims:\n", ATTACH).replace("    kfunc: f", "    kfunc: f\n    types: [xdp]"))
    assert [claim.id for claim in load_claims(tmp_path, "thing")[0].claims] == ["one-native"]


def test_the_real_traffic_is_asked_for_every_way_to_attach() -> None:
    ids = [claim.id for claim in claims()[1].claims]
    stems = {attach: [one.removesuffix(f"-{attach}") for one in ids if one.endswith(f"-{attach}")] for attach in Attach}
    assert len(stems[Attach.CLSACT]) >= 20
    assert all(stem == stems[Attach.CLSACT] for stem in stems.values())


def test_a_program_under_another_type_license_or_namespace(tmp_path: Path) -> None:
    more = "    load_as: sock_ops\n    license: BSD\n    netns: 7\n    object: other\n"
    load(tmp_path, GOOD.replace("    program: p\n", "    program: p\n" + more))
    (file,) = load_claims(tmp_path, "thing")
    assert file.objects == ("thing", "other")
    ask = body(expecting((file,)).asks(KernelVersion.parse("6.12"))[-1])
    assert (ask.load_as, ask.license, ask.netns, ask.object) == ("sock_ops", "BSD", 7, "other")
