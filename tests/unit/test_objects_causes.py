# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What libbpf and the verifier say, and the cause that it is. The texts are of real kernels: 6.1.192, 6.12.117."""

from __future__ import annotations

import pytest

from runner.model.words import ERRNO
from runner.probes.objects.causes import cause_of, not_attached, trouble

EXTERN = "libbpf: extern (func ksym) 'bpf_no_such_kfunc': not found in kernel or module BTFs\n"
TARGET = (
    "libbpf: prog 'target_function': failed to find kernel BTF type ID of 'no_such_function': -3\n"
    "libbpf: prog 'target_function': failed to prepare load attributes: -3\n"
)
SLOT = "libbpf: map 'calls': failed to initialize slot [1] to prog 'of_xdp' fd=9: -22\n"
NO_OPS = "Qdisc_ops is not found in kernel BTF"
OTHER = """\
libbpf: prog 'enqueue': BPF program load failed: Invalid argument
libbpf: prog 'enqueue': -- BEGIN PROG LOAD LOG --
0: R1=ctx() R10=fp0 refs=1
libbpf: prog 'enqueue': failed to load: -22
"""
UNTYPED = "libbpf: prog 'untyped_section': missing BPF prog type, check ELF section name 'socket1'\n"
MAP = "libbpf: Error in bpf_create_map_xattr(odd):-EINVAL. Retrying.\nlibbpf: map 'odd': failed to create: -EINVAL\n"
CORE = "failed to resolve CO-RE relocation <byte_off> [47] struct task_struct.no_such_field (0:0 @ offset 0)\nprocessed"


@pytest.mark.parametrize(
    ("words", "log", "word", "name"),
    [
        (EXTERN, "", "extern", "bpf_no_such_kfunc"),
        ("", "kfunc 'bpf_x' is referenced but wasn't resolved\nprocessed 1 insns", "extern", "bpf_x"),
        ("", "BPF map 'odd' is referenced but wasn't created\nprocessed 5 insns", "map", "odd"),
        (MAP, "", "map", "odd"),
        (TARGET, "", "target", "no_such_function"),
        (SLOT, "", "tail-call", "calls"),
        (UNTYPED, "", "untyped", "untyped_section"),
        (f"libbpf: struct_ops init_kern: struct bpf_struct_ops_{NO_OPS}\n", "", "target", "Qdisc_ops"),
        ("libbpf: prog 'ext': attach program FD is not set\n", "", "target", "ext"),
        ("", CORE, "core", "struct task_struct.no_such_field"),
        ("", "unknown func bpf_skb_store_bytes#9\nprocessed 8 insns", "helper", "bpf_skb_store_bytes#9"),
        ("", "program of this type cannot use helper bpf_skb_store_bytes#9\n", "helper", "bpf_skb_store_bytes#9"),
        ("", "BPF program is too large. Processed 1000001 insn\nprocessed 1000001 insns", "too-large", "1000001"),
        ("", "The sequence of 8193 jumps is too complex.\nstack depth 0\nprocessed 24580 insns", "too-large", "8193"),
        ("", "R1 offset is outside of the packet\nprocessed 2 insns", "refused", ""),
    ],
)
def test_the_cause_has_a_word_and_a_name(words: str, log: str, word: str, name: str) -> None:
    cause = cause_of(ERRNO["EINVAL"], words, log, supported=True)
    assert (cause.word, cause.name) == (word, name)


def test_the_words_are_the_line_that_says_it() -> None:
    log = "The sequence of 8193 jumps is too complex.\nstack depth 0\nprocessed 24580 insns"
    assert cause_of(ERRNO["E2BIG"], "", log, supported=True).words == "The sequence of 8193 jumps is too complex."
    assert cause_of(ERRNO["EINVAL"], UNTYPED, "", supported=True).words.startswith("prog 'untyped_section': missing")
    of_other = cause_of(ERRNO["EINVAL"], OTHER, "", supported=True)  # one that it cannot be loaded without
    assert of_other.words == "prog 'enqueue': BPF program load failed: Invalid argument"
    slot = cause_of(ERRNO["EINVAL"], SLOT, "", supported=True)
    other = "libbpf: extern (func ksym) 'bpf_x': func_proto [41] incompatible with vmlinux [69294]\n"
    assert cause_of(ERRNO["EINVAL"], other, "", supported=True).words.endswith("func_proto incompatible with vmlinux")
    assert slot.words == "map 'calls': failed to initialize slot [1] to prog 'of_xdp': -22"


def test_without_the_verifiers_words_libbpfs_last_ones_count() -> None:
    said = "Error loading .BTF into kernel: -2. BTF is mandatory, can't proceed."
    cause = cause_of(ERRNO["ENOENT"], f"libbpf: {said}\nlibbpf: failed to load object 'x'\n", "", supported=True)
    assert (cause.word, cause.words) == ("refused", said)
    assert cause_of(ERRNO["ENOENT"], "", "", supported=True).words == "-ENOENT"


def test_a_type_that_the_kernel_lacks_is_not_the_programs_fault() -> None:
    assert cause_of(ERRNO["EINVAL"], "", "", supported=False).word == "type"
    assert cause_of(ERRNO["EINVAL"], "", "", supported=None).word == "refused"
    assert cause_of(ERRNO["EINVAL"], "", "invalid bpf_context access\n", supported=False).word == "refused"


def test_no_memory_says_nothing_about_a_program() -> None:
    assert trouble(ERRNO["ENOMEM"], "", "")
    assert not trouble(ERRNO["EINVAL"], "", "R1 offset is outside of the packet")


def test_without_the_kernels_configuration_nothing_is_said_of_an_object_that_asks_for_it() -> None:
    words = "libbpf: failed to open system Kconfig\nlibbpf: failed to load object 'lb'\n"
    assert trouble(ERRNO["EINVAL"], words, "") == "the kernel's configuration is not known"


def test_what_loads_and_does_not_attach_has_libbpfs_first_words() -> None:
    words = "libbpf: prog 'trace': failed to create kprobe 'no_such+0x0' perf event: -ENOENT\nlibbpf: more\n"
    cause = not_attached(ERRNO["ENOENT"], words)
    assert cause.word == "attach"
    assert cause.words.startswith("prog 'trace': failed to create kprobe 'no_such+0x0'")
    assert not_attached(ERRNO["EINVAL"], "").words == "-EINVAL"
