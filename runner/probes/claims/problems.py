# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is wrong with a file of claims that only all of it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from runner.probes.claims.written import NOT, Claim, ClaimKeys, Reason, Refusal
from runner.text import nearest
from runner.yamlfile import Location

# What a kernel then answers; the claim must name one: words of the verifier, or an errno that the call returns.
EVIDENCE: Mapping[Reason, tuple[str, ...]] = {
    Reason.DEVICE: ("metadata kfuncs require device-bound program",),
    Reason.DRIVER: ("-EOPNOTSUPP",),
    Reason.GPL: ("cannot call kernel function from non-GPL compatible program",),
    # a trusted pointer of a type that nothing hands out, or the context of another program type
    Reason.ARGUMENT: (
        "must be referenced or trusted",
        "must be a rcu pointer",
        "STRUCT __sk_buff",
        "R1 type=ctx expected=fp",
    ),
    Reason.TEST: ("net/bpf/test_run.c",),  # which the source must name
    Reason.DEADLY: ("loads",),  # it is not run
    Reason.SLEEPABLE: ("must be sleepable to call sleepable kfunc",),
}


def problems(file: ClaimKeys) -> Iterable[tuple[Location, str]]:
    """What only the whole file shows."""
    ids = Counter(claim.id for claim in file.claims)
    for index, claim in enumerate(file.claims):
        place: Location = ("claims", index)
        if ids[claim.id] > 1:
            yield (*place, "id"), f"there are {ids[claim.id]} claims called {claim.id!r}"
        if len(set(claim.types)) != len(claim.types):
            yield (*place, "types"), "a program type is there twice"
        if claim.flow and not (claim.attach or file.attach):
            yield (*place, "flow"), "neither the claim nor the file says how to `attach`"
        yield from (((*place, key), why) for key, why in _unfounded(claim))
        if claim.kfunc not in file.kfuncs:
            yield (*place, "kfunc"), f"not among `kfuncs`; {nearest(claim.kfunc, file.kfuncs)}"
            continue
        for prog_type in claim.types:
            if prog_type not in file.kfuncs[claim.kfunc]:
                yield (*place, "kfunc"), f"`kfuncs` has no {claim.kfunc} for {prog_type}"
    for key in file.since.keys() - file.kfuncs.keys():
        yield ("since", key), f"not among `kfuncs`; {nearest(key, file.kfuncs)}"
    yield from _page_problems(file, ids)


def _page_problems(file: ClaimKeys, ids: Collection[str]) -> Iterable[tuple[Location, str]]:
    for page, sentences in file.pages.items():
        if page not in file.kfunc_names:
            yield ("pages", page), f"not among `kfuncs`; {nearest(page, file.kfunc_names)}"
        for sentence, deciding in sentences.items():
            for claim_id in (it.removeprefix(NOT) for it in deciding):
                if claim_id not in ids:
                    yield ("pages", page, sentence), f"no claim {claim_id}; {nearest(claim_id, ids)}"


def _unfounded(claim: Claim) -> Iterable[tuple[str, str]]:
    """Keys of the claim that its answer does not support, and why."""
    if claim.later and "done" not in claim.answer.fields:
        yield "later", "the answer's `fields` have no `done`, by which a callback shows that it ran"
    if claim.unusable and (why := _unshown(claim, claim.unusable)):
        yield "unusable", why


def _unshown(claim: Claim, reason: Reason) -> str:
    """Why the claim's answer is no evidence of that reason; empty when it is."""
    if claim.usable:
        return "the kfunc is `usable` as well"
    evidence, said = EVIDENCE[reason], list(claim.source.refs)
    for answer in claim.answers:
        said += answer.load.texts if isinstance(answer.load, Refusal) else [answer.load]
        said += map(str, answer.fields.values())
    if any(words in one for one in said for words in evidence):
        return ""
    return f"neither the answer nor the source has {' or '.join(map(repr, evidence))}"
