# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Object files as users have them: what can be read of them, and what is said of those that cannot be used."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path
from shutil import which

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from runner.errors import UserError
from runner.probes.files import NO_KFUNCS, ProbeFile
from runner.probes.objects.elf import LARGEST, read_object, weakened
from runner.probes.objects.files import objects_of
from runner.probes.objects.written import ObjectEntry, WrittenObject
from runner.project import Project
from tests.samples import ROOT

CAUSES = ROOT / "tests" / "data" / "objects" / "causes.bpf.c"
SMALL = 'int f(void *c) __attribute__((section("xdp"), used)); int f(void *c) { return 2; }\n'


def build(source: Path | str, target: Path, *flags: str) -> Path:
    path = target.with_suffix(".c")
    path.write_text(source if isinstance(source, str) else source.read_text())
    argv: list[str | Path] = [
        which("clang") or "clang",
        "-target",
        "bpf",
        "-O2",
        "-g",
        "-I/usr/include/x86_64-linux-gnu",
        "-c",
        path,
        "-o",
        target,
        *flags,
    ]
    subprocess.run(argv, check=True, capture_output=True)
    return target


def test_programs_and_externs_are_read(tmp_path: Path) -> None:
    found = read_object(build(CAUSES, tmp_path / "causes.bpf.o"))
    assert {"loads", "extern_kfunc", "untyped_section"} <= set(found.programs)
    assert {"bpf_no_such_kfunc", "CONFIG_HZ"} <= set(found.externs)
    assert (found.name, found.byte_order) == ("causes", "little")


def test_a_weak_program_is_one(tmp_path: Path) -> None:
    weak = SMALL.replace("int f(void *c) {", "__attribute__((weak)) int f(void *c) {")
    assert read_object(build(weak, tmp_path / "weak.o")).programs == ("f",)


def test_in_the_copy_every_undefined_symbol_is_weak(tmp_path: Path) -> None:
    found = read_object(build(CAUSES, tmp_path / "causes.bpf.o"))
    bindings = {}
    weak = weakened(found.content)
    for content in (found.content, weak):
        table = ELFFile(io.BytesIO(content)).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        undefined = [it for it in table.iter_symbols() if it["st_shndx"] == "SHN_UNDEF" and it.name]
        bindings[content] = {it.name: it["st_info"]["bind"] for it in undefined}
    assert set(bindings[found.content].values()) == {"STB_GLOBAL"}
    assert set(bindings[weak].values()) == {"STB_WEAK"}
    assert len(weak) == len(found.content)


def test_what_cannot_be_used_is_named_with_what_to_do(tmp_path: Path) -> None:
    refused: list[tuple[Path, str, str]] = []
    text = tmp_path / "text.o"
    text.write_text("int main(void);")
    refused.append((text, "is not an ELF file", "clang -target bpf"))
    host = tmp_path / "host.o"
    build(SMALL, host, "-target", "x86_64-linux-gnu")
    refused.append((host, "is not a BPF object", "clang -target bpf"))
    refused.append((build(SMALL, tmp_path / "plain.o", "-g0"), "has no BTF", "clang -g"))
    legacy = SMALL + 'struct { int a; } m __attribute__((section("maps"), used)) = {1};\n'
    refused.append((build(legacy, tmp_path / "legacy.o"), "as libbpf before 1.0", "own loader"))
    refused.append((build("int g;\n", tmp_path / "empty.o"), "has no programs", "SEC("))
    local = SMALL.replace("int f(", "static int f(")
    refused.append((build(local, tmp_path / "static.o"), "'f' is static", "without `static`"))
    cut = tmp_path / "cut.o"
    cut.write_bytes(build(SMALL, tmp_path / "whole.o").read_bytes()[:300])
    refused.append((cut, "is not an ELF file", ""))
    huge = tmp_path / "huge.o"
    with huge.open("wb") as file:
        file.truncate(LARGEST + 1)
    refused.append((huge, "larger than 64 MiB", "llvm-strip"))
    refused.append((tmp_path / "none.o", "No such file", ""))
    refused.append((tmp_path, "is a folder", "*.o"))
    os.mkfifo(tmp_path / "pipe.o")
    refused.append((tmp_path / "pipe.o", "is no regular file", "copy"))
    refused.append((Path("/dev/zero"), "is no regular file", "copy"))
    for path, what, hint in refused:
        with pytest.raises(UserError, match=what) as raised:
            read_object(path)
        assert hint in (raised.value.hint or "")


def test_a_name_that_a_terminal_would_act_on_is_refused(tmp_path: Path) -> None:
    whole = build(SMALL.replace("f(", "evil_function("), tmp_path / "x.o")
    whole.write_bytes(whole.read_bytes().replace(b"evil_function", b"evil\x1b[31mtion"))
    with pytest.raises(UserError, match="characters"):
        read_object(whole)


def test_a_license_that_forbids_kernel_functions_is_told_before_a_boot(tmp_path: Path) -> None:
    source = """
    extern int bpf_x(void) __attribute__((section(".ksyms"){weak}));
    int f(void *c) __attribute__((section("xdp"), used)); int f(void *c) {{ return bpf_x(); }}
    char _license[] __attribute__((section("license"), used)) = "{license}";
    """
    proprietary = build(source.format(weak="", license="Proprietary"), tmp_path / "p.o")
    with pytest.raises(UserError, match=r"calls kernel functions \(bpf_x\).*'Proprietary'") as raised:
        read_object(proprietary)
    assert 'SEC("license") = "GPL"' in (raised.value.hint or "")
    assert read_object(build(source.format(weak="", license="Dual MIT/GPL"), tmp_path / "g.o")).externs == ("bpf_x",)
    assert read_object(build(source.format(weak=", weak", license="Proprietary"), tmp_path / "w.o")).programs == ("f",)


def test_any_bytes_are_refused_or_read(tmp_path: Path) -> None:
    """One damaged byte at a time, over the headers and tables."""
    good = build(SMALL, tmp_path / "good.o").read_bytes()
    damaged = tmp_path / "damaged.o"
    refused = 0
    for place in range(0, len(good), 7):
        damaged.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        try:
            weakened(read_object(damaged).content)
        except UserError:
            refused += 1
    assert refused


def test_a_pattern_finds_the_file_of_each_architecture(tmp_path: Path) -> None:
    for arch in ("x86_64", "s390x"):
        (tmp_path / arch).mkdir()
        build(SMALL, tmp_path / arch / "lb.bpf.o", *(("-mbig-endian",) if arch == "s390x" else ()))
    (found,) = objects_of(tmp_path, [ProbeFile("", ObjectEntry(object="{arch}/*.bpf.o"))], NO_KFUNCS)
    assert found.id == "lb"
    assert set(found.files) == {"x86_64", "s390x"}
    with pytest.raises(UserError, match="not built for arm64"):
        found.file("arm64")


def test_one_little_endian_file_serves_every_such_architecture(tmp_path: Path) -> None:
    build(SMALL, tmp_path / "lb.bpf.o")
    (found,) = objects_of(tmp_path, [ProbeFile("", WrittenObject(file="lb.bpf.o"))], NO_KFUNCS)
    assert "arm64" in found.files
    with pytest.raises(UserError, match=r"not built for s390x, which is big-endian") as raised:
        found.file("s390x")
    assert "-mbig-endian" in (raised.value.hint or "")


def test_what_names_nothing_is_a_users_mistake(tmp_path: Path) -> None:
    build(SMALL, tmp_path / "lb.bpf.o")
    with pytest.raises(UserError, match="no object file matches"):
        objects_of(tmp_path, [ProbeFile("", ObjectEntry(object="nowhere/*.o"))], NO_KFUNCS)
    with pytest.raises(UserError, match=r"no object file matches 'build/\{arhc\}/\*.o'") as raised:
        objects_of(tmp_path, [ProbeFile("", ObjectEntry(object="build/{arhc}/*.o"))], NO_KFUNCS)
    assert "there is no {arhc}" in raised.value.hint
    with pytest.raises(UserError, match="has no program 'g\\*'") as raised:
        objects_of(tmp_path, [ProbeFile("", ObjectEntry(object="lb.bpf.o", only=("g*",)))], NO_KFUNCS)
    assert "it has: f" in (raised.value.hint or "")


VARIABLES = (
    SMALL
    + """
#define V const volatile
enum color { RED, BLUE = 7 };
V unsigned backends = 1; V short least; V _Bool strict; V enum color color; V int list[2]; static V char letter = 'a';
int changed = 5; int zero;
int g(void *c) __attribute__((section("xdp"), used));
int g(void *c) { return backends + least + strict + color + list[1] + letter + changed + zero++; }
"""
)


@pytest.mark.parametrize("order", ["little", "big"])
def test_a_constant_is_set_in_a_copy(tmp_path: Path, order: str) -> None:
    path = build(VARIABLES, tmp_path / "v.o", f"-m{order}-endian")
    values = {"backends": 16, "least": -2, "strict": True, "color": 7, "letter": 66, "changed": 9}
    (whole,) = objects_of(tmp_path, [ProbeFile("", WrittenObject(file="v.o"))], NO_KFUNCS)
    (found,) = objects_of(tmp_path, [ProbeFile("", WrittenObject(file="v.o", constants=values))], NO_KFUNCS)
    arch = "x86_64" if order == "little" else "s390x"
    new, old = found.file(arch).content, whole.file(arch).content
    assert old == path.read_bytes()
    changed = bytes(after for after, before in zip(new, old, strict=True) if after != before)
    assert changed == bytes((16, *((0xFE, 0xFF) if order == "little" else (0xFF, 0xFE)), 1, 7, 66, 9))
    assert found.digests[arch] != whole.digests[arch]


@pytest.mark.parametrize(
    ("constants", "what"),
    [
        ({"backends": 1 << 32}, "backends takes 0 to 4294967295, not 4294967296"),
        ({"least": -32769}, "least takes -32768 to 32767, not -32769"),
        ({"strict": 2}, "strict takes 0 to 1, not 2"),
        ({"list": 1}, "list is an array, and only a number can be set"),
        ({"zero": 1}, "zero has no bytes in the object\n  declare it `const volatile`"),
        ({"nr": 1}, "no variable 'nr' that can be set\n  it has: backends, changed, color"),
    ],
)
def test_what_is_no_constant_of_an_object_is_told(tmp_path: Path, constants: dict[str, int], what: str) -> None:
    build(VARIABLES, tmp_path / "v.o")
    with pytest.raises(UserError) as raised:
        objects_of(tmp_path, [ProbeFile("", WrittenObject(file="v.o", constants=constants))], NO_KFUNCS)
    assert what in str(raised.value)


MAPS = """
struct { int (*type)[1]; int (*key)[4]; int (*value)[4]; int (*max_entries)[1]; } m __attribute__((section(".maps")));
"""
MATRIX = """\
kernels: [{debian: trixie, series: "6.12"}]
architectures: [x86_64]
probes:
  - lb
  - ENTRY
"""


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("{file: none.o}", ".file: no object file matches 'none.o'\n  paths are relative"),
        ("{file: bad.o}", ".file: ROOT/bad.o is not an ELF file"),
        ('{file: lb.o, programs: {"g*": skip}}', ".programs.g*: object lb has no program 'g*'\n  it has: f"),
        ("{file: lb.o, maps: {n: {max_entries: 1}}}", ".maps.n: object lb has no map 'n'\n  it has: m"),
        ("{file: lb.o, one_of: [[f, g]]}", ".one_of[0]: object lb has no program 'g'\n  it has: f"),
        (
            '{file: "[lx]b.o", programs: {"h*": skip}}',
            ".programs.h*: object lb or xb has no program 'h*'",
        ),
        ("{file: lb.o, constants: {x: true}}", ".constants: ROOT/lb.o has no variable 'x'"),
        (
            '{file: lb.o, expect: [{programs: [f], why: x}, {programs: ["map:x"], why: x}]}',
            ".expect[1].programs: object lb has no program or map 'map:x'\n  it has: @together, f, map:m",
        ),
    ],
)
def test_a_mistake_about_an_object_is_told_with_its_line(tmp_path: Path, entry: str, what: str) -> None:
    build(SMALL + MAPS, tmp_path / "lb.o")
    build(SMALL.replace("f(", "x("), tmp_path / "xb.o")
    (tmp_path / "bad.o").write_text("no object")
    (tmp_path / "bpf").mkdir()
    written, matrix = tmp_path / "bpf/lb.yaml", tmp_path / "matrix.yaml"
    in_matrix, said = entry.replace("file:", "object:"), what.replace("ROOT", str(tmp_path))
    for text, begins in (
        (f"objects:\n  - {entry}\n", f"{written}:2: objects[0]{said}"),
        ("objects:\n  - {file: lb.o, id: first}\n", f"{matrix}:5: probes[1]{said.replace('.file', '.object')}"),
    ):
        written.write_text(text)
        matrix.write_text(MATRIX.replace("ENTRY", in_matrix))
        with pytest.raises(UserError) as raised:
            _ = Project.at(matrix).expectations
        assert str(raised.value).startswith(begins)
