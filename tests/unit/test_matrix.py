"""matrix.yaml: what it means, and what is said about a wrong one."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from runner.cellnames import cell_id
from runner.cli.options import Project
from runner.errors import MatrixError
from runner.kernels.entries import Name, Series
from runner.kernels.sources import source_of
from runner.matrix import MAX_ENTRIES, Matrix, MatrixFile, json_schema, load_matrix, project_root
from runner.model import CellId, Lock, LockedImage, LockedKernel, Package, Wanted

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"

PACKAGE = Package(name="linux", version="1", architecture="amd64", suite="sid", sha256="0" * 64, size_bytes=1)
KERNEL = '{debian: trixie, series: "6.12"}'


def folder_with_claims(folder: Path) -> Path:
    (folder / "bpf").mkdir()
    for name in ("conntrack", "traffic"):
        (folder / "bpf" / f"{name}.yaml").touch()
    return folder


def loaded(folder: Path, text: str) -> Matrix:
    path = folder_with_claims(folder) / "matrix.yaml"
    path.write_text(text)
    return load_matrix(path)


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(MatrixError) as caught:
        loaded(folder, text)
    return str(caught.value).replace(f"{folder}/", "")


def small(
    kernels: str = f"[{KERNEL}]", rest: str = "", architectures: str = "[x86_64]", probes: str = "[conntrack]"
) -> str:
    return f"kernels: {kernels}\narchitectures: {architectures}\nprobes: {probes}\n{rest}\n"


def package(content: str) -> Package:
    return PACKAGE.model_copy(update={"sha256": hashlib.sha256(content.encode()).hexdigest()})


def lock_for(matrix: Matrix, versions: dict[str, str]) -> Lock:
    """A lock with the version that `versions` gives to each source."""
    kernels = tuple(
        LockedKernel(
            source=w.source, arch=w.arch, version=versions[w.source], release="r", packages=(package(w.source),)
        )
        for w in matrix.wanted()
    )
    archs = dict.fromkeys(wanted.arch for wanted in matrix.wanted())
    images = tuple(LockedImage(suite=matrix.file.image.suite, arch=arch, packages=(PACKAGE,)) for arch in archs)
    return Lock(kernels=kernels, images=images)


# --- what it means -------------------------------------------------------------------------------------------------


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
    assert matrix.file.probes == ("conntrack", "traffic")


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
  - {tree: /home/me/linux, architectures: [x86_64]}
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
        ("linux", "tree:/home/me/linux", "x86_64", None),
    ]
    for one in matrix.wanted():
        source_of(one.source).check(one.source)


def test_a_range_becomes_a_cell_for_each_pin_but_for_those_that_are_excluded(tmp_path: Path) -> None:
    rest = 'exclude: [{kernel: "6.16*"}, {kernel: sid-7.0}]'
    matrix = loaded(tmp_path, small('[{debian: sid, versions: ">=6.12"}]', rest))
    (wanted,) = matrix.wanted()
    pins = tuple(
        LockedKernel(
            source=wanted.source, arch=wanted.arch, version=version, release=version, packages=(package(version),)
        )
        for version in ("6.12.9", "6.16.3", "6.18.1", "7.0.4")
    )
    images = (LockedImage(suite="trixie", arch="x86_64", packages=(PACKAGE,)),)
    cells = matrix.cells(Lock(kernels=pins, images=images))
    assert [(cell.id, cell.name) for cell in cells] == [("6.12.9-x86_64", "sid-6.12"), ("6.18.1-x86_64", "sid-6.18")]
    with pytest.raises(MatrixError, match="everything is excluded"):
        matrix.cells(Lock(kernels=pins[3:], images=images))


def test_a_lock_that_lacks_something_says_how_to_renew_it(tmp_path: Path) -> None:
    matrix = loaded(tmp_path, small(architectures="[x86_64, arm64]"))
    whole = lock_for(matrix, {"debian:trixie/6.12": "6.12.107"})
    with pytest.raises(MatrixError, match=r"debian:trixie/6\.12 for arm64\n.*runner kernels lock"):
        matrix.cells(Lock(kernels=whole.kernels[:1], images=whole.images))
    with pytest.raises(MatrixError, match=r"image trixie for arm64\n.*runner kernels lock"):
        matrix.cells(Lock(kernels=whole.kernels, images=whole.images[:1]))


@given(version=st.from_regex(r"[1-9]\.[0-9]{1,3}(\.[0-9]{1,3})?([-~]rc[0-9])?", fullmatch=True), name=st.from_type(str))
def test_a_cell_id_is_safe_as_a_path(version: str, name: str) -> None:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        name = "Some-Name"
    kernel = LockedKernel(source="debian:sid/7", arch="x86_64", version=version, release="r", packages=())
    TypeAdapter(CellId).validate_python(cell_id(kernel, name))


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


def test_without_claims_anywhere_the_folder_of_the_matrix_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "matrix.yaml"
    path.write_text(small())
    with pytest.raises(MatrixError, match="no claim files beside the matrix or above it"):
        load_matrix(path)
    assert project_root(path) == tmp_path


@pytest.mark.parametrize("path", ["matrix.yaml", "matrices/nightly.yaml"])
def test_the_matrices_of_this_project_are_pinned(path: str) -> None:
    project = Project.at(ROOT / path)
    matrix = project.matrix
    cells = matrix.cells(project.lock())
    assert {(cell.kernel.source, cell.arch) for cell in cells} == {(one.source, one.arch) for one in matrix.wanted()}


# --- what is wrong -------------------------------------------------------------------------------------------------


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
        (small(rest="guest: {cpus: 0}"), "guest.cpus: should be greater than or equal to 1, not 0"),
        (small(rest='guest: {memory_mib: "1024"}'), "guest.memory_mib: should be a whole number"),
        (small(rest="limits: {boot_s: -1}"), "limits.boot_s: should be greater than 0, not -1"),
        (small(rest="limits: {boot_s: 1.0e+300}"), "limits.boot_s: should be less than or equal to 86400"),
        (small(rest="schema: 2"), "schema: should be 1, not 2"),
        (small(f"[{', '.join([KERNEL] * (MAX_ENTRIES + 1))}]"), f"kernels: at most {MAX_ENTRIES} are allowed"),
        (small("[{name: x}]"), "kernels[0]: a kernel has one source: exactly one of the keys debian, mainline"),
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
        (small("[{path: /a, config: /b}]"), "kernels[0]: 'config' needs 'modules' as well"),
        (small("[{tre: /a}]"), "kernels[0].tre: unknown key; did you mean 'tree'?"),
        (small("[{installed: 6.1}]"), "kernels[0].installed: should be text, not 6.1"),
        (small("[{installed: oldest}]"), "kernels[0].installed: 'oldest' is not a release"),
        (small("[{path: /a/k}, {tree: /b/k}]"), "kernels[1].tree: two kernels are called 'k'"),
        ("kernls: []\n" + small(), "matrix.yaml:1: kernls: unknown key; did you mean 'kernels'?"),
    ],
)
def test_a_wrong_matrix_is_refused_with_line_and_remedy(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(tmp_path, text)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    said = complaint(tmp_path, (DATA / "matrix-wrong.yaml").read_text())
    assert said == (DATA / "matrix-wrong.expected").read_text().rstrip("\n")


# --- its schema ----------------------------------------------------------------------------------------------------


def test_the_committed_schema_is_the_code() -> None:
    assert json.loads((ROOT / "matrix.schema.json").read_text()) == json_schema(), "`make schema` writes it again"


def test_every_key_of_the_schema_is_described() -> None:
    schema = TypeAdapter(dict[str, object]).validate_python(json_schema())
    definitions = TypeAdapter(dict[str, dict[str, object]]).validate_python(schema["$defs"])
    for name, definition in {"matrix.yaml": schema, **definitions}.items():
        properties = TypeAdapter(dict[str, dict[str, object]]).validate_python(definition["properties"])
        bare = [key for key, value in properties.items() if not value.get("description")]
        assert not bare, f"{name}: {bare}"


@given(st.from_regex(r"[1-9][0-9]{0,2}(\.[0-9]{1,5}){0,2}", fullmatch=True) | st.text(max_size=8))
def test_the_schemas_pattern_of_a_series_is_the_codes(text: str) -> None:
    adapter = TypeAdapter(Series)
    pattern = str(adapter.json_schema()["pattern"])
    try:
        adapter.validate_python(text)
        taken = True
    except ValidationError:
        taken = False
    assert taken == bool(re.fullmatch(pattern.removesuffix("$"), text))


def test_the_matrix_knows_the_digest_of_its_file(tmp_path: Path) -> None:
    one = loaded(tmp_path, small())
    one.path.write_text(small() + "# changed\n")
    assert load_matrix(one.path).sha256 != one.sha256
    assert len(one.sha256) == 64
