# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Functions of the kernel: taken out of an object when it is compiled, put into its programs in the guest."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Literal

import pytest

from runner.agent.btf import FUNC, STRUCT, Btf
from runner.agent.claimobject import slot_of
from runner.agent.externs import POISON, TYPES, CoreBtf, Externs, alike, names_in
from runner.agent.kernelbtf import Kfunc
from runner.agent.libbpf import Libbpf
from runner.agent.structs import instruction
from runner.model.deadline import Deadline
from runner.probes import compile_objects, compile_program
from runner.probes.externs import MARK, Elf, taken_out

SOURCE = """\
struct one { int a; };
struct two { long b; };
enum three { THREE };
typedef struct one named;
#define KSYM __attribute__((section(".ksyms")))
#define WEAK KSYM __attribute__((weak))
extern int second(struct one *) WEAK;
extern int first(struct one *, unsigned long) WEAK;
extern int same(const named *, long) WEAK;
extern int other_struct(struct two *, int) WEAK;
extern int fewer(struct one *) WEAK;
extern int number(long, long) WEAK;
extern int counted(enum three *, long) WEAK;
extern void nothing(struct one *, long) WEAK;
extern int first___6_17(struct one *) WEAK;
extern int must_be(void) KSYM;
extern const int variable WEAK;
struct inner { int a; union { long b; struct { short c, d; }; }; };
struct outer {
	struct outer *next;
	const named list[3];
	struct inner inner;
	enum three three;
	int (*call)(struct two *);
	unsigned bits : 3;
} __attribute__((preserve_access_index));
struct outer___old { int three; } __attribute__((preserve_access_index));
int sum = 0;
__attribute__((section("tc"))) int tc_program(void *context)
{
	struct one one = {};

	if (second)
		sum += second(&one) + first(&one, 1);
	sum += same(&one, 1) + other_struct(0, 1) + fewer(&one) + number(1, 1) + counted(0, 1) + must_be() + variable;
	nothing(&one, 1);
	first___6_17(&one);
	sum += ((struct outer *)context)->inner.d + ((struct outer___old *)context)->three;
	return 0;
}
"""
CALL, LOAD, BEHIND = 0x85, 0x18, 0  # opcodes
NAMES = sorted(["counted", "fewer", "first", "first___6_17", "nothing", "number", "other_struct", "same", "second"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The object as clang makes it, `whole.bpf.o`, and as guests get it, of both byte orders."""
    root = tmp_path_factory.mktemp("externs")
    limit = Deadline.after(120, "the test's limit")
    (root / "bpf").mkdir()
    source = root / "bpf" / "taken.bpf.c"
    source.write_text(SOURCE)
    compile_program(source, ["x86_64"], root, deadline=limit)
    (root / "x86_64" / "taken.bpf.o").rename(root / "whole.bpf.o")
    for order, made in compile_objects(root, ["taken"], ["little", "big"], root / "cache", deadline=limit).items():
        (root / f"{order}.bpf.o").write_bytes(made["taken.bpf.o"])
    return root


def btf_of(folder: Path, name: str) -> Btf:
    libbpf = Libbpf()
    handle = ctypes.c_void_p(libbpf.c.bpf_object__open_file(bytes(folder / name), None))
    assert handle, libbpf.take_words()
    return Btf(libbpf, ctypes.c_void_p(libbpf.c.bpf_object__btf(handle)))


def test_weak_functions_are_taken_out(folder: Path) -> None:
    btf = btf_of(folder, "little.bpf.o")
    assert names_in(btf) == NAMES
    assert len(btf.variables(".ksyms")) == 2, "what has to be there, and variables, are libbpf's"


@pytest.mark.parametrize("order", ["little", "big"])
def test_their_calls_are_marked(folder: Path, order: Literal["little", "big"]) -> None:
    elf = Elf.of((folder / f"{order}.bpf.o").read_bytes())
    code = elf.content(b"tc")
    words = [int.from_bytes(code[at : at + 4], order) for at in range(4, len(code), 8)]
    calls = [word for word, opcode in zip(words, code[::8], strict=True) if opcode == CALL]
    assert sorted(calls) == [*range(MARK, MARK + len(NAMES)), 0xFFFFFFFF], "the last one stays a relocation"
    assert words[words.index(MARK) - 1] == MARK + NAMES.index("second"), "whether it is there"
    assert not [name for _, name, _ in elf.weak() if name.decode() in NAMES]


def test_nothing_is_done_twice(folder: Path) -> None:
    made = (folder / "little.bpf.o").read_bytes()
    assert taken_out(made) == made
    assert len(made) < len((folder / "whole.bpf.o").read_bytes()), "a guest has no debugger"


def test_prototypes_are_compared_as_libbpf_does(folder: Path) -> None:
    btf = btf_of(folder, "whole.bpf.o")

    def proto(name: str) -> int:
        found = btf.find(name, FUNC)
        assert found
        return btf.target(found)

    fits = {name for name in NAMES if alike(btf, proto("first"), btf, proto(name))}
    assert fits == {"first", "same", "other_struct"}, "names of types do not count, their kinds do"


def test_what_is_there_is_put_in(folder: Path) -> None:
    btf = btf_of(folder, "little.bpf.o")
    externs = Externs(Libbpf())
    externs._modules = [7, 9]
    functions = [Kfunc("a", "vmlinux", btf, 11, 0), None, Kfunc("b", "module", btf, 12, 9)]
    calls = [instruction(CALL, 0, 0, 0, MARK + number) for number in range(4)] + [instruction(CALL, 0, 0, 0, 1)]
    there = [instruction(LOAD, 3, 0, 0, MARK + number) + instruction(BEHIND, 0, 0, 0, MARK) for number in range(3)]
    made, uses_modules = externs.settled(b"".join(calls + there), functions)
    assert uses_modules
    assert made == b"".join([
        instruction(CALL, 0, 2, 0, 11), instruction(CALL, 0, 0, 0, POISON + 1), instruction(CALL, 0, 2, 2, 12),
        *calls[3:],
        instruction(LOAD, 3, 3, 0, 11), instruction(BEHIND, 0, 0, 0, 0),
        instruction(LOAD, 3, 0, 0, 0), instruction(BEHIND, 0, 0, 0, 0),
        instruction(LOAD, 3, 3, 0, 12), instruction(BEHIND, 0, 0, 0, 9),
    ])  # fmt: skip
    assert externs.settled(calls[0], functions) == (instruction(CALL, 0, 2, 0, 11), False)


class Kernel:
    """What has the structures of the object, and its function `first`, as `prototype` is declared there."""

    def __init__(self, btf: Btf, prototype: str = "first") -> None:
        self._btf = btf
        self._first = Kfunc("first", "vmlinux", btf, btf.find(prototype, FUNC) or 0, 0)

    def has_word(self, name: str) -> bool:
        return name == "first"

    def functions(self, names: frozenset[str]) -> dict[str, Kfunc]:
        return {"first": self._first} if "first" in names else {}

    def structure(self, name: str) -> tuple[Btf, int] | None:
        found = self._btf.find(name, STRUCT)
        return (self._btf, found) if found else None


@pytest.mark.parametrize("declared", ["first", "first___6_17"])
def test_a_flavour_of_a_name_is_the_same_function_with_another_prototype(folder: Path, declared: str) -> None:
    btf = btf_of(folder, "little.bpf.o")
    externs = Externs(Libbpf())
    externs._kernel = Kernel(btf, declared)  # type: ignore[assignment]
    found = dict(zip(NAMES, externs.of(btf), strict=True))
    assert {name: it.name for name, it in found.items() if it} == {declared: "first"}


def test_structures_are_copied_for_relocations(folder: Path, tmp_path: Path) -> None:
    btf = btf_of(folder, "little.bpf.o")
    assert names_in(btf, TYPES) == ["outer"], "by the name that the kernel has"
    made = CoreBtf(str(tmp_path))
    for _ in range(2):
        made.add(Kernel(btf), ["outer", "nowhere"])  # type: ignore[arg-type]
    copy = Btf.of_file(Libbpf(), made.path)
    for path in (["inner", "d"], ["list", "2", "a"], ["three"]):
        offsets = [slot_of(it, 0, it.find("outer", STRUCT) or 0, path).offset for it in (btf, copy)]
        assert offsets[0] == offsets[1]
    assert [*copy.members(copy.find("outer", STRUCT) or 0)][-1][2:] == [*btf.members(btf.find("outer", STRUCT) or 0)][
        -1
    ][2:]
    assert copy.find("inner", STRUCT)
    assert copy.find("two", STRUCT) is None, "what is only pointed to is left out"
