# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is said about a matrix.yaml that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.matrix import MAX_ENTRIES
from tests.samples import DATA
from tests.unit.matrix_samples import KERNEL, complaint, small


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (small("[{debian: trixie, series: 6.10}]"), 'matrix.yaml:1: kernels[0].series: put it in quotes, like "6.12"'),
        (small("[{debian: trixie, series: 7}]"), "put it in quotes"),
        (small('[{debian: trixe, series: "7"}]'), "unknown suite 'trixe'; did you mean 'trixie'?"),
        (small('[{debian: stretch-lts, series: "7"}]'), "unknown suite 'stretch-lts'; known: bookworm, "),
        (small('[{debian: trixie, series: "6.x"}]'), "'6.x' is not a kernel series: like \"6.12\""),
        (small('[{debian: trixie, series: "6.12.1.2"}]'), "is not a kernel series"),
        (small('[{debian: trixie, series: "6.12\\n"}]'), "is not a kernel series"),
        (small('[{debian: trixie, series: "7", name: "a;reboot"}]'), "'a;reboot' is not a name: letters"),
        (small('[{debian: trixie, series: "7", name: "$(id)"}]'), "is not a name"),
        (small('[{debian: trixie, series: "7", name: "../x"}]'), "is not a name"),
        (small('[{debian: trixie, series: "7", name: 7.1}]'), "kernels[0].name: put it in quotes"),
        (small('[{debain: trixie, series: "7"}]'), "kernels[0].debain: unknown key; did you mean 'debian'?"),
        (small("[{debian: trixie}]"), "kernels[0]: the key 'series' is missing"),
        (
            small(architectures="[x86]"),
            "matrix.yaml:2: architectures[0]: unknown architecture 'x86'; did you mean 'x86_64'?",
        ),
        (small(architectures="x86_64"), 'architectures: should be a list, not "x86_64"'),
        (small(architectures="[x86_64, x86_64]"), "architectures[1]: 'x86_64' is there already"),
        (small(probes="[contrack]"), "matrix.yaml:3: probes[0]: no claims called 'contrack'"),
        (small(probes="[contrack]"), "did you mean 'conntrack'?"),
        (small(probes="[conntrack, conntrack]"), "probes[1]: 'conntrack' is there already"),
        (small(probes="[../conntrack]"), "is not a name"),
        (small(probes="[]"), "probes: needs at least 1"),
        (small("[]"), "matrix.yaml:1: kernels: the matrix is empty"),
        (small(architectures="[]"), "matrix.yaml:2: architectures: the matrix is empty"),
        ("probes: [conntrack]", "the matrix is empty: there must be kernels and architectures"),
        (small(rest='exclude: [{kernel: "*"}]'), "matrix.yaml:4: exclude: the matrix is empty: everything is excluded"),
        (small(rest='exclude: [{kernel: "5.*"}]'), "exclude[0]: excludes nothing; kernels: 6.12"),
        (small(f"[{KERNEL}, {KERNEL}]"), "kernels[1].series: two kernels are called '6.12'"),
        (
            small(f'[{KERNEL}, {{debian: sid, series: "7", name: "6.12"}}]'),
            "kernels[1].name: two kernels are called '6.12'",
        ),
        (
            small('[{debian: sid, series: "7", name: A}, {debian: sid, series: "6", name: a}]'),
            "two kernels are called 'a'",
        ),
        (
            small(rest='include: [{debian: trixie, series: "6.12", architectures: [arm64, x86_64]}]'),
            "include[0].series: '6.12' is wanted on x86_64 already",
        ),
        (
            small(rest='include: [{debian: sid, series: "6.12", architectures: [arm64]}]'),
            "include[0].series: two kernels are called '6.12'",
        ),
        (small(rest='include: [{debian: sid, series: "7"}]'), "include[0]: the key 'architectures' is missing"),
        (small(rest="image: {suite: trixie-backports}"), "unknown suite for an image 'trixie-backports'"),
        (small(rest="image: {packages: [Make]}"), "image.packages[0]: 'Make' is not a Debian package: like"),
        (small(rest="image: {oci: busybox}"), "image.oci: 'busybox' is not an image: with its registry and a tag or"),
        (small(rest="image: {oci: ./layout}"), "or a layout's whole path"),
        (small(rest="guest: {cpus: 0}"), "guest.cpus: should be greater than or equal to 1, not 0"),
        (small(rest='guest: {memory_mib: "1024"}'), "guest.memory_mib: should be a whole number"),
        (small(rest="limits: {boot_s: -1}"), "limits.boot_s: should be greater than 0, not -1"),
        (small(rest="limits: {boot_s: 1.0e+300}"), "limits.boot_s: should be less than or equal to 86400"),
        (small(rest="schema: 2"), "schema: should be 1, not 2"),
        (small(f"[{', '.join([KERNEL] * (MAX_ENTRIES + 1))}]"), f"kernels: at most {MAX_ENTRIES} are allowed"),
        (
            small("[{name: x}]"),
            "kernels[0]: a kernel has one source: exactly one of the keys debian, ubuntu,",
        ),
        (small('[{debian: sid, path: /x, series: "7"}]'), "kernels[0]: a kernel has one source"),
        (small("[7]"), "kernels[0]: should be a mapping (key: value), not 7"),
        (
            small('[{debian: sid, versions: ">=7", series: "7"}]'),
            "'series' and 'versions' exclude each other",
        ),
        (small('[{debian: sid, versions: "7"}]'), "kernels[0].versions: '7' is not a range of versions: like"),
        (
            small('[{debian: sid, series: "7", which: all}]'),
            "'which' says what is meant of a range",
        ),
        (
            small('[{debian: sid, versions: ">=7", which: every}]'),
            "which: should be 'newest-of-series' or 'all'",
        ),
        (small('[{debian: sid, series: "7", flavours: [r]}]'), "kernels[0].flavours[0]: unknown flavour 'r'"),
        (small('[{debian: sid, series: "7", flavours: [16k]}]'), "kernels[0]: it has no such build for x86_64"),
        (
            small('[{debian: sid, versions: ">=7"}, {debian: sid, versions: "<7"}]'),
            "kernels[1].versions: two kernels are called 'sid'",
        ),
        (small("[{path: here}]"), "kernels[0].path: 'here' is not a path: it must begin with /"),
        (small("[{path: '/a;id'}]"), "is not a path"),
        (small("[{path: /a, cmdline: 'a=\"b\"'}]"), "printable ASCII"),
        (small("[{path: /a, cmdline: 'quiet init=/x'}]"), "'init=/x' is set by virtme-ng"),
        (small("[{path: /a, guest: {memory: 1}}]"), "guest.memory: unknown key; did you mean 'memory_mib'?"),
        (small("[{path: /a, mdline: x}]"), "mdline: unknown key; did you mean 'cmdline'?"),
        (small("[{tre: /a}]"), "kernels[0].tre: unknown key; did you mean 'tree'?"),
        (small("[{installed: 6.1}]"), "kernels[0].installed: should be text, not 6.1"),
        (small("[{installed: oldest}]"), "kernels[0].installed: 'oldest' is not a release"),
        (small("[{path: /a/k}, {tree: /b/k}]"), "kernels[1].tree: two kernels are called 'k'"),
        (small(probes="[{obejct: a.o}]"), "obejct: unknown key; did you mean 'object'?"),
        ("kernls: []\n" + small(), "matrix.yaml:1: kernls: unknown key; did you mean 'kernels'?"),
    ],
)
def test_a_wrong_matrix_is_refused_with_line_and_remedy(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(tmp_path, text)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    said = complaint(tmp_path, (DATA / "matrix-wrong.yaml").read_text())
    assert said == (DATA / "matrix-wrong.expected").read_text().rstrip("\n")


def test_of_two_forms_that_a_value_may_have_the_one_that_is_written_is_meant(tmp_path: Path) -> None:
    said = complaint(tmp_path, small(probes="[{object: x.o, programs: {p: {device: 'a b'}, q: skipp}}]"))
    assert "probes[0].programs.p.device: String should match pattern" in said
    assert "probes[0].programs.q: should be 'skip', not \"skipp\"" in said
    assert said.count("programs.p") == said.count("programs.q") == 1
