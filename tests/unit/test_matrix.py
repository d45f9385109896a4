# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""matrix.yaml: what it means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from runner.errors import UserError
from runner.kernels import source_of
from runner.kernels.fields import Name
from runner.matrix import MatrixFile, load_matrix, project_root
from runner.matrix.cells import cell_id
from runner.model import CellId, GuestSize, ImagePin, Lock, Pin, Wanted
from runner.project import Project
from tests.samples import DATA, ROOT, pin
from tests.unit.matrix_samples import KERNEL, PACKAGE, folder_with_claims, loaded, lock_for, package, small


def test_the_default_matrix_wants_four_kernels_on_two_architectures(tmp_path: Path) -> None:
    matrix = loaded(tmp_path, (ROOT / "matrix.yaml").read_text())
    assert [(wanted.name, wanted.source, wanted.arch) for wanted in matrix.wanted()] == [
        (series, f"debian:{suite}/{series}", arch)
        for suite, series in (
            ("bookworm", "6.1"),
            ("trixie", "6.12"),
            ("trixie-backports", "6.18"),
            ("trixie-backports", "7"),
        )
        for arch in ("x86_64", "arm64")
    ]
    assert matrix.file.probes[:2] == ("conntrack", "traffic")
    files = {path.stem for path in (ROOT / "bpf").glob("*.yaml")} - {"kfuncs", "known-issues"}
    named = {probe for probe in matrix.file.probes if isinstance(probe, str)}
    assert named == files, "every family is asked by default"


def test_what_the_default_matrix_has_in_comments_is_right_as_well(tmp_path: Path) -> None:
    text = re.sub(
        r"^# (?=(include|exclude|image|guest|limits):|  - )", "", (ROOT / "matrix.yaml").read_text(), flags=re.MULTILINE
    )
    matrix = loaded(tmp_path, text)
    assert len(matrix.wanted()) == 8 + 1 - 1
    assert Wanted(name="sid", source="debian:sid/7", arch="x86_64") in matrix.wanted()
    defaults = MatrixFile(probes=("conntrack", "traffic"))
    assert (matrix.file.image, matrix.file.guest, matrix.file.limits) == (
        defaults.image,
        defaults.guest,
        defaults.limits,
    )


def test_exclude_and_include_change_what_is_wanted(tmp_path: Path) -> None:
    matrix = loaded(tmp_path, (DATA / "matrix-full.yaml").read_text())
    assert [(wanted.name, wanted.arch) for wanted in matrix.wanted()] == [
        ("6.1", "x86_64"),
        ("stable", "x86_64"),
        ("stable", "arm64"),
        ("6.12.107", "arm64"),
    ]
    assert matrix.file.guest.memory_mib == 2048
    assert matrix.file.limits.boot_s == 240
    assert matrix.file.image.suite == "trixie"


def test_cells_carry_what_a_worker_needs(tmp_path: Path) -> None:
    matrix = loaded(tmp_path, small(rest="guest: {memory_mib: 512}\nlimits: {boot_s: 7}"))
    (cell,) = matrix.cells(lock_for(matrix, {"debian:trixie/6.12": "6.12.107"}))
    assert (cell.id, cell.name, cell.arch, cell.probes) == ("6.12.107-x86_64", "6.12", "x86_64", ("conntrack",))
    assert (cell.guest.memory_mib, cell.limits.boot_s) == (512, 7)
    assert (cell.image.suite, cell.kernel.source) == ("trixie", "debian:trixie/6.12")


def test_an_image_with_more_packages_is_another_one(tmp_path: Path) -> None:
    matrix = loaded(tmp_path, small(rest="image: {packages: [python3-pytest, bash, bash]}"))
    plain = lock_for(matrix, {"debian:trixie/6.12": "6.12.107"})
    with pytest.raises(UserError, match="image trixie with bash, python3-pytest for x86_64"):
        matrix.cells(plain)
    (image,) = plain.images
    more = image.model_copy(update={"added": ("bash", "python3-pytest")})
    (cell,) = matrix.cells(plain.model_copy(update={"images": (image, more)}))
    assert cell.image == more


def test_an_image_with_a_container_is_another_one(tmp_path: Path) -> None:
    matrix = loaded(tmp_path, small(rest="image: {oci: 'localhost:5000/x/y:1'}"))
    plain = lock_for(matrix, {"debian:trixie/6.12": "6.12.107"})
    with pytest.raises(UserError, match="image trixie with oci:localhost:5000/x/y:1 for x86_64"):
        matrix.cells(plain)


def test_two_kernels_of_one_version_are_told_apart_by_name(tmp_path: Path) -> None:
    kernels = f'[{KERNEL}, {{debian: trixie-security, series: "6.12", name: Sec}}, {{debian: sid, series: "7"}}]'
    matrix = loaded(tmp_path, small(kernels))
    versions = {"debian:trixie/6.12": "6.12.107", "debian:trixie-security/6.12": "6.12.107", "debian:sid/7": "7.3~rc7"}
    ids = [cell.id for cell in matrix.cells(lock_for(matrix, versions))]
    assert ids == ["6.12.107-6.12-x86_64", "6.12.107-sec-x86_64", "7.3-rc7-x86_64"]


def test_every_source_has_its_own_words(tmp_path: Path) -> None:
    kernels = """
  - {debian: sid, versions: ">=6.12,<7", which: all, flavours: [generic, rt]}
  - {debian: trixie, series: "6.12", flavours: [16k], name: big}
  - {installed: all, architectures: [x86_64]}
  - {path: /srv/k+1/vmlinuz, modules: /srv/k/6.9.1, architectures: [x86_64]}
  - {tree: /srv/jobs/night@2/linux, architectures: [x86_64]}
"""
    matrix = loaded(tmp_path, small(kernels, architectures="[x86_64, arm64]"))
    assert [(one.name, one.source, one.arch, one.which) for one in matrix.wanted()] == [
        ("sid", "debian:sid/>=6.12,<7/all", "x86_64", "all"),
        ("sid-rt", "debian:sid/>=6.12,<7/all/rt", "x86_64", "all"),
        ("sid", "debian:sid/>=6.12,<7/all", "arm64", "all"),
        ("sid-rt", "debian:sid/>=6.12,<7/all/rt", "arm64", "all"),
        ("big-16k", "debian:trixie/6.12/16k", "arm64", None),
        ("installed", "installed:all", "x86_64", "all"),
        ("vmlinuz", "path:/srv/k+1/vmlinuz,/srv/k/6.9.1", "x86_64", None),
        ("linux", "tree:/srv/jobs/night@2/linux", "x86_64", None),
    ]
    texts = [one.source for one in matrix.wanted()]
    assert [source_of(text).text for text in texts] == texts


def test_a_range_becomes_a_cell_for_each_pin_but_for_those_that_are_excluded(tmp_path: Path) -> None:
    rest = 'exclude: [{kernel: "6.16*"}, {kernel: sid-7.0}]'
    matrix = loaded(tmp_path, small('[{debian: sid, versions: ">=6.12"}]', rest))
    (wanted,) = matrix.wanted()
    pins = tuple(
        Pin(source=wanted.source, arch=wanted.arch, version=version, release=version, packages=(package(version),))
        for version in ("6.12.9", "6.16.3", "6.18.1", "7.0.4")
    )
    images = (ImagePin(suite="trixie", arch="x86_64", packages=(PACKAGE,)),)
    cells = matrix.cells(Lock(kernels=pins, images=images))
    assert [(cell.id, cell.name) for cell in cells] == [("6.12.9-x86_64", "sid-6.12"), ("6.18.1-x86_64", "sid-6.18")]
    with pytest.raises(UserError, match="everything is excluded"):
        matrix.cells(Lock(kernels=pins[3:], images=images))


def test_a_lock_that_lacks_something_says_how_to_renew_it(tmp_path: Path) -> None:
    matrix = loaded(tmp_path, small(architectures="[x86_64, arm64]"))
    whole = lock_for(matrix, {"debian:trixie/6.12": "6.12.107"})
    with pytest.raises(UserError, match=r"debian:trixie/6\.12 for arm64\n.*runner kernels lock"):
        matrix.cells(Lock(kernels=whole.kernels[:1], images=whole.images))
    with pytest.raises(UserError, match=r"image trixie for arm64\n.*runner kernels lock"):
        matrix.cells(Lock(kernels=whole.kernels, images=whole.images[:1]))


@given(version=st.from_regex(r"[1-9]\.[0-9]{1,3}(\.[0-9]{1,3})?([-~]rc[0-9])?", fullmatch=True), name=st.from_type(str))
def test_a_cell_id_is_safe_as_a_path(version: str, name: str) -> None:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        name = "Some-Name"
    TypeAdapter(CellId).validate_python(cell_id(pin(version), name))


def test_a_matrix_in_a_folder_belongs_to_the_project_above_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder_with_claims(tmp_path) / "matrices" / "deep" / "nightly.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(small())
    project = Project.at(path)
    assert project.root.samefile(tmp_path)
    assert project.lock_path == path.with_name("nightly.lock")
    assert project.table.relative_to(project.root) == Path("reports/nightly.md")

    monkeypatch.chdir(path.parent)
    assert Project.at(Path("nightly.yaml")).database == tmp_path.resolve() / "reports" / "results.db"
    monkeypatch.chdir(tmp_path / "matrices")
    (tmp_path / "matrices" / "bpf").mkdir()
    assert project_root(Path("deep/nightly.yaml")) == tmp_path.resolve() / "matrices"  # the nearest


def test_the_claims_beside_a_matrix_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder_with_claims(tmp_path) / "matrix.yaml"
    path.write_text(small())
    monkeypatch.chdir(tmp_path)
    project = Project.at(Path("matrix.yaml"))
    assert (project.root, project.table) == (Path(), Path("reports/availability.md"))


def test_a_projects_own_claims_come_beside_the_shipped_ones(tmp_path: Path) -> None:
    path = tmp_path / "matrix.yaml"
    path.write_text(small())
    assert load_matrix(path).file.probe_names == ("conntrack",)
    assert project_root(path) == tmp_path
    (tmp_path / "bpf").mkdir()
    (tmp_path / "bpf/own.yaml").write_text('objects: [{file: "*.bpf.o"}]\n')
    path.write_text(small(probes="[own, conntrack]"))
    assert load_matrix(path).file.probe_names == ("own", "conntrack")
    (tmp_path / "bpf/conntrack.yaml").write_bytes((ROOT / "bpf/conntrack.yaml").read_bytes())
    assert load_matrix(path).file.probe_names == ("own", "conntrack")  # the same file is no clash


def test_a_claim_file_with_the_name_of_a_shipped_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "matrix.yaml"
    (tmp_path / "bpf").mkdir()
    (tmp_path / "bpf/conntrack.yaml").write_text("claims: []\n")
    path.write_text(small())
    with pytest.raises(
        UserError, match=r"matrix\.yaml:3: .*bpf/conntrack\.yaml: runner brings another .*: rename yours"
    ):
        load_matrix(path)
    (tmp_path / "bpf/kfuncs.yaml").write_text("objects: {}\n")  # a copy of this project brings everything itself
    assert load_matrix(path).file.probe_names == ("conntrack",)


@pytest.mark.parametrize("path", ["matrix.yaml", "matrices/nightly.yaml"])
def test_the_matrices_of_this_project_are_pinned(path: str) -> None:
    project = Project.at(ROOT / path)
    matrix = project.matrix
    cells = matrix.cells(project.lock())
    assert {(cell.kernel.source, cell.arch) for cell in cells} == {(one.source, one.arch) for one in matrix.wanted()}


def test_the_matrix_knows_the_digest_of_its_file(tmp_path: Path) -> None:
    one = loaded(tmp_path, small())
    one.path.write_text(small() + "# changed\n")
    assert load_matrix(one.path).sha256 != one.sha256
    assert len(one.sha256) == 64


def test_a_kernel_has_its_own_size_limits_and_words_for_its_command_line(tmp_path: Path) -> None:
    own = KERNEL.replace("}", ', name: locked, guest: {memory_mib: 4096}, limits: {boot_s: 300}, cmdline: "a=b,c d"}')
    matrix = loaded(
        tmp_path, small(f"[{KERNEL}, {own}]", rest="guest: {memory_mib: 512, cpus: 2}\nlimits: {probe_s: 9}")
    )
    plain, special = matrix.cells(lock_for(matrix, {"debian:trixie/6.12": "6.12.107"}))
    assert (plain.id, special.id) == ("6.12.107-6.12-x86_64", "6.12.107-locked-x86_64"), "one kernel, two cells"
    assert (plain.guest, plain.limits.boot_s, plain.cmdline) == (GuestSize(memory_mib=512, cpus=2), 120, "")
    assert (special.guest, special.cmdline) == (GuestSize(memory_mib=4096, cpus=2), "a=b,c d")
    assert (special.limits.boot_s, special.limits.probe_s) == (300, 9)


def test_an_archive_of_packages_is_named_as_its_line_in_sources_list(tmp_path: Path) -> None:
    apt = "{uri: 'http://127.0.0.1/debian', suites: [a, b], keyring: /k.gpg, package: 'linux-image-*-amd64'}"
    (wanted,) = loaded(tmp_path, small(f"[{{apt: {apt}, series: '5.10'}}]")).wanted()
    assert "suites=a,b" in wanted.source
