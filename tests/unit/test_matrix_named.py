# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels as `--kernel` names them, among those that the default matrix has pinned."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import InfraError, UserError
from runner.kernels import Means
from runner.kernels.archive import Archive
from runner.matrix import load_matrix
from runner.matrix.lock import read_lock
from runner.matrix.named import named_kernels
from runner.model import Plain
from runner.project import Project
from tests.samples import ROOT, soon
from tests.unit.matrix_samples import loaded, lock_for, small

PROBE = Plain()


def cells(tmp_path: Path, *words: str, archs: tuple[str, ...] = ("x86_64",)) -> list[str]:
    matrix, lock = load_matrix(ROOT / "matrix.yaml"), read_lock(ROOT / "matrix.lock")
    means = Means(Archive(tmp_path), tmp_path, soon())
    named = named_kernels(words, archs, matrix, lock, probes=(PROBE,), means=means)
    return [cell.id for cell in named.cells(lock)]


def test_by_default_it_is_the_matrix(tmp_path: Path) -> None:
    everything = cells(tmp_path, archs=())
    assert len(everything) == 8
    assert cells(tmp_path) == [cell for cell in everything if cell.endswith("-x86_64")]


def test_a_version_and_a_range_mean_what_is_pinned(tmp_path: Path) -> None:
    every = cells(tmp_path)
    assert cells(tmp_path, "6.12") == [cell for cell in every if cell.startswith("6.12.")]
    assert cells(tmp_path, "<6.13") == [cell for cell in every if cell.startswith(("6.1.", "6.12."))]
    assert cells(tmp_path, "6.1", "6.12") == cells(tmp_path, "<6.13")


def test_a_source_is_meant_also_where_the_matrix_has_the_same(tmp_path: Path) -> None:
    assert cells(tmp_path, "debian:trixie/6.12") == cells(tmp_path, "6.12")
    assert cells(tmp_path, "6.1", "debian:trixie/6.12") == cells(tmp_path, "<6.13")


def test_what_names_nothing_is_a_users_mistake(tmp_path: Path) -> None:
    for words, said in (
        (("six",), "--kernel six"),
        (("./nothing",), "no such file"),
        (("debian:nowhere/6.1",), "nowhere"),
    ):
        with pytest.raises(UserError, match=said):
            cells(tmp_path, *words)
    with pytest.raises(UserError, match="unknown architecture 'amd64'"):
        cells(tmp_path, archs=("amd64",))


def test_every_flavour_of_a_kernel_is_meant(tmp_path: Path) -> None:
    matrix = loaded(tmp_path, small('[{debian: trixie, series: "6.12", flavours: [generic, rt, cloud]}]'))
    flavours = {"debian:trixie/6.12": "", "debian:trixie/6.12/rt": "rt", "debian:trixie/6.12/cloud": "cloud"}
    lock = lock_for(matrix, dict.fromkeys(flavours, "6.12.107"))
    pins = tuple(it.model_copy(update={"variant": flavours[it.source]}) for it in lock.kernels)
    lock, means = lock.model_copy(update={"kernels": pins}), Means(Archive(tmp_path), tmp_path, soon())
    for words in ((), ("6.12",)):
        named = named_kernels(words, (), matrix, lock, probes=(PROBE,), means=means)
        assert [cell.kernel.variant for cell in named.cells(lock)] == ["", "rt", "cloud"], words
    assert {*matrix.places} == {*flavours}


def test_offline_the_lists_in_the_cache_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path))
    monkeypatch.setenv("RUNNER_MIRROR", "http://127.0.0.1:9/debian")
    monkeypatch.setenv("RUNNER_SECURITY_MIRROR", "http://127.0.0.1:9/debian-security")
    monkeypatch.setattr("runner.kernels.archive.transport", lambda **_: "")
    with pytest.raises(InfraError, match="lists are not in the cache"):
        Project.at(ROOT / "matrix.yaml").naming(("6.5",), ("x86_64",), (PROBE,), offline=True)
