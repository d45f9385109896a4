# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What eBPF Docs says besides: since when there are helpers and types, and which errors a kfunc returns."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner import userfile
from runner.model import Row
from runner.model.version import KernelVersion
from runner.probes import Said
from runner.probes.kinds import KINDS
from runner.results.availability import is_beside
from runner.results.docscheck import Brought, Disagreement, Dispute, disagreement
from runner.results.model import JudgedRun
from runner.results.series import KnownBuild
from runner.results.stories import filled

_ERROR = re.compile(r"-E[A-Z][A-Z0-9]+\b")
_CODE = re.compile(r"^[ \t]*```.*?^[ \t]*```", re.MULTILINE | re.DOTALL)
_NOT_RUN = ("load refused", "run failed")  # then it is another error than the kfunc's


# --- helpers and types ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FeaturesCheck:
    """`agreements` counts answers: a name, a kernel build. `points` of `all_points` versions have a kernel on both
    sides, which agree."""

    agreements: int
    disagreements: tuple[Disagreement, ...]
    points: int
    all_points: int
    unknown: tuple[str, ...]  # kernels have them, and the documentation does not


def features_check(docs: Mapping[str, Brought], known: Sequence[KnownBuild]) -> FeaturesCheck:
    """Is a name in the BTF of kernels from the documented version on? `known` is of runner.results.series.builds."""
    known = filled([it for it in known if it.build.vendor.follows_upstream])
    topics = {topic.subject: topic for it in known for topic in sorted(it.states) if is_beside(topic.kind)}
    agreements, points, wrong = 0, 0, list[Disagreement]()
    for topic in (topics[name] for name in sorted(topics.keys() & docs.keys())):
        since = KernelVersion.parse(docs[topic.subject].version)
        answered = [(it, row) for it in known if (row := it.states.get(topic)) is not None and row.answered]
        sides = {it.build.upstream.series >= since.series for it, _ in answered}
        differing: dict[Dispute, list[tuple[KnownBuild, Row]]] = defaultdict(list)
        for it, row in answered:
            due = it.build.upstream.series >= since.series
            if due != (row.state != KINDS[topic.kind].states[0].word):
                differing[Dispute.ABSENT if due else Dispute.EARLIER].append((it, row))
        agreements += len(answered) - sum(map(len, differing.values()))
        points += not differing and len(sides) == 2
        wrong += [disagreement(kind, topic, f"since {since}", found) for kind, found in differing.items()]
    return FeaturesCheck(
        agreements=agreements,
        disagreements=tuple(wrong),
        points=points,
        all_points=len(topics.keys() & docs.keys()),
        unknown=tuple(sorted(topics.keys() - docs.keys())),
    )


# --- errors -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PageErrors:
    """Of a kfunc whose page lists errors: `unlisted` ones that programs got, each with a cell and a probe; and those of
    the page that none got."""

    kfunc: str
    listed: tuple[str, ...]
    unlisted: Mapping[str, tuple[str, str]]
    unseen: tuple[str, ...]


def load_errors(folder: Path) -> dict[str, frozenset[str]]:
    """By kfunc, the errors that its page names outside of examples; pages without errors are left out."""
    pages = sorted((folder / "docs" / "linux" / "kfuncs").glob("*.md"))
    found = {page.stem: frozenset(_ERROR.findall(_CODE.sub("", userfile.read(page).decode()))) for page in pages}
    return {name: errors for name, errors in found.items() if errors}


def errors_check(
    pages: Mapping[str, frozenset[str]], judged: JudgedRun, said: Iterable[Said]
) -> tuple[PageErrors, ...]:
    """Held against the errors that claims say and programs got."""
    says = {it.probe: set(_ERROR.findall(it.says)) for it in said}
    got: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for cell in judged.cells:
        for row in (row for row in cell.rows if row.verdict and not row.observed.startswith(_NOT_RUN)):
            for error in says.get(row.probe, set()).intersection(_ERROR.findall(row.observed)):
                got[row.subject].setdefault(error, (cell.id, row.probe))
    asked = {row.subject for cell in judged.cells for row in cell.rows if row.verdict}
    return tuple(
        PageErrors(
            kfunc=name,
            listed=tuple(sorted(errors)),
            unlisted={error: at for error, at in sorted(got[name].items()) if error not in errors},
            unseen=tuple(sorted(errors - got[name].keys())),
        )
        for name, errors in sorted(pages.items())
        if name in asked
    )
