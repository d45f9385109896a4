# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The parsers of text that a guest, a server, a file of the user or another program wrote: how each is called."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
import xml.etree.ElementTree as Xml
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from runner.agent.btf import BtfError, sections
from runner.bisect.changelog import mentions
from runner.bisect.commits import _ended
from runner.engine.plan import Delivery
from runner.engine.transcript import Transcript
from runner.errors import InfraError, RunnerError, UserError
from runner.guest import console
from runner.guest.splats import ConsoleParser
from runner.hosts.hostsfile import load_hosts
from runner.kernels import rpm
from runner.kernels.aptroot import kernel_stanzas, paragraphs
from runner.kernels.archive import listed
from runner.kernels.config import config_of, decompressed, machine_of, options_in, release_of, upstream_version
from runner.kernels.layers import Layers
from runner.kernels.registry import Config, Manifest
from runner.kernels.served import NotWholeError, kernel_of
from runner.matrix import load_matrix
from runner.matrix.lock import read_lock
from runner.model.architecture import architecture
from runner.model.version import KernelVersion
from runner.probes import verifier
from runner.probes.commands.binary import check_stream
from runner.probes.commands.judge import parse
from runner.probes.commands.results import ResultsKind
from runner.probes.objects.causes import cause_of
from runner.probes.objects.elf import checked, with_values
from runner.text import markdown, plain
from tests import fakes
from tests.samples import ROOT

DATA = ROOT / "tests/data"
_HOME = "https://example.org"


@dataclass(frozen=True, slots=True)
class Parser:
    """`run` takes any bytes; it returns, or raises one of `refuses`. Anything else is a finding."""

    run: Callable[[bytes], object]
    refuses: tuple[type[Exception], ...] = (UserError,)
    seeds: Callable[[], Iterable[bytes]] = tuple  # what it is made for, as far as the tree has any
    words: tuple[bytes, ...] = ()  # that the fuzzer puts in


def _text(content: bytes) -> str:
    return content.decode(errors="replace")


def _files(pattern: str) -> Iterable[bytes]:
    return (path.read_bytes() for path in sorted(ROOT.glob(pattern)) if path.stat().st_size < 20_000)


def _console(content: bytes) -> None:
    parser, text = ConsoleParser(), _text(content)
    for start in range(0, len(text), 61):
        parser.feed(text[start : start + 61])
    assert parser.splats is not None
    console.last_lines(text)
    console.last_words(text)
    console.kernel_started(text)


def _agent(content: bytes) -> None:
    transcript = Transcript(fakes.asks())
    for line in _text(content).split("\n"):
        transcript.feed(line)
    assert all(answer.probe.startswith("claim-") for answer in transcript.answers.values())


def _results(kind: ResultsKind, content: bytes) -> None:
    for found in (parse(kind, _text(content), 1, {}), parse(kind, "", None, {"a.xml": content})):
        names = [it.name for it in found.tests]
        assert len(set(names)) == len(names)
        for text in (*names, *(it.why for it in found.tests), found.incomplete, found.skipped):
            assert plain(text) == text


def _file(load: Callable[[Path], object], content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder) / "file.yaml").write_bytes(content)
        load(path)


def _packages(content: bytes) -> None:
    stanzas = b"\n\n".join(kernel_stanzas(io.BytesIO(content)))
    for paragraph in paragraphs(stanzas):
        listed(paragraph, "trixie")


def _manifest(content: bytes) -> None:
    for document in (Manifest, Config):
        with suppress(InfraError):
            assert document.of(content, _HOME)
    Config.of(content, _HOME).environment  # noqa: B018  computed


def _layers(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (layer := Path(folder) / "layer").write_bytes(content)
        layers = Layers([layer])
        for path in layers:
            layers.names(path)
            layers.below(path)
            if layers.has(path):
                layers.extract(path, Path(folder) / "out", limit_bytes=1 << 20)


def _image(content: bytes) -> None:
    release_of(content)
    machine_of(content)
    text = config_of(content) or _text(content)
    options_in(text, ("BPF", "MODULES"))
    upstream_version(text, "6.1.0")


def _rpm(content: bytes) -> None:
    rpm._primary(content, _HOME)
    for element in Xml.fromstring(content).iter():  # noqa: S314  expat limits entities
        rpm._package(element)


def _git(content: bytes) -> None:
    text = _text(content)
    _ended(text)
    with suppress(ValueError):
        mentions(text, "6.1.100-1", "6.1.200-1", ["a.c"], ["dynptr"])


def _verifier(content: bytes) -> None:
    log = _text(content)
    verifier.permission(13, log)
    verifier.platform_trouble(22, log)
    verifier.calls_missing(log)
    verifier.steady(log)
    verifier.verdict_line(verifier.plain_words(log))
    cause_of(22, log, log, supported=None)
    markdown(plain(log))


def _program(content: bytes) -> None:
    check_stream("program", io.BytesIO(content), architecture("x86_64"), {"libc6": "2.41-12"})


def _checksums(content: bytes) -> None:
    kernel_of(_text(content), KernelVersion.parse("6.6.12"), "amd64")


def _btf_seed() -> Iterable[bytes]:
    from tests.unit.test_agent_btf import blob

    return [blob()]


def _program_seed() -> Iterable[bytes]:
    from tests.unit.test_commands_binary import elf

    return [elf(), b"#!/usr/bin/env -S bash -e\n"]


def _delivery_seed() -> Iterable[bytes]:
    from tests.unit.test_deliveries import result_of

    return [Delivery().packed(), result_of()]


def _layer_seed() -> Iterable[bytes]:
    for packed in (bytes, gzip.compress):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for name, kind, target in (
                ("etc", tarfile.DIRTYPE, ""),
                ("etc/passwd", tarfile.REGTYPE, ""),
                ("lib", tarfile.SYMTYPE, "usr/lib"),
                ("usr/lib/x", tarfile.REGTYPE, ""),
                ("y", tarfile.LNKTYPE, "etc/passwd"),
                ("etc/.wh.passwd", tarfile.REGTYPE, ""),
            ):
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, target
                archive.addfile(info)
        yield packed(out.getvalue())


_HEX = b"a" * 64
_REPOMD = b"""<repomd xmlns="http://linux.duke.edu/metadata/repo"><data type="primary">
<checksum type="sha256">aa</checksum><location href="repodata/p.xml.gz"/></data></repomd>"""
_MANIFEST = b'{"schemaVersion": 2, "layers": [{"digest": "sha256:%s", "size": 7}], "config": null}' % _HEX
_INDEX = b'{"manifests": [{"digest": "sha256:%s", "size": 7, "platform": {"architecture": "arm64"}}]}' % _HEX
_CHANGELOG = b"""linux (6.1.150-1) bookworm; urgency=medium

  * bpf: fix a.c
    - dynptr

 -- A <a@b.c>  Mon, 1 Jan 2024 00:00:00 +0000
"""
_ANSWER = b"""{"event": "begin", "probe": "claim-0:tc"}
{"event": "answer", "probe": "claim-0:tc", "body": {"x": 1}}
{"event": "end", "probe": "claim-0:tc"}"""
_LOG = b"0: (85) call pc+1\ncalling kernel function bpf_x is not allowed\nprocessed 1 insns"
_RESULTS = (
    b"ok 1 - a", b"not ok 2", b"1..2", b"    ", b"  ---\n", b"  ...\n", b"# Subtest: x", b"KTAP version 1\n", b"&#0;",
    b"=== RUN   TestA\n", b"--- FAIL: TestA (0.00s)\n", b"panic: x", b"\x16", b"test a ... ok\n", b"failures:\n",
    b'{"Action":"run","Test":"x"}\n', b'{ "type": "test", "event": "ok", "name": "x" }\n', b"<testsuite>",
    b"<testcase name='a'>", b"</testcase>", b"<failure>",
)  # fmt: skip
_MATRIX = (
    b"kernels:", b"- ", b"&a", b"*a", b"!!int", b"{", b"architectures: [x86_64]", b"probes:", b"object: ", b"include:",
)  # fmt: skip
_KERNEL = (b"HdrS", b"IKCFG_ST", b"\x1f\x8b\x08", b"Linux version ")
_MAGIC = (b"\x1f\x8b", b"BZh9", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x02!L\x18")
_CONSOLE = (b"[    1.0] ", b"BUG: ", b"Kernel panic - not syncing: ", b"Call Trace:", b"\x1b[31m", b"\r", b"---[ end")
_EVENT = (b'"event"', b'"probe"', b'"item"', b'"begin"', b'"end"', b'"claim-1:tc"', b"\n", b"[" * 40, b"1e999")
_STANZA = (b"\n\nPackage: linux-image-", b"\nDepends: ", b" (= 1)", b"\nSize: ", b" | ")

PARSERS: dict[str, Parser] = {
    "agent": Parser(_agent, seeds=lambda: [_ANSWER], words=_EVENT),
    "btf": Parser(sections, (BtfError,), _btf_seed),
    "checksums": Parser(
        _checksums,
        (NotWholeError,),
        lambda: _files("tests/data/mainline/*/amd64/CHECKSUMS"),
        (b"linux-image-", b".deb"),
    ),
    "compressed": Parser(decompressed, (ValueError,), _delivery_seed, _MAGIC),
    "console": Parser(_console, seeds=lambda: _files("tests/data/console/*.log"), words=_CONSOLE),
    "delivery": Parser(Delivery.unpacked, (ValueError,), _delivery_seed),
    "git": Parser(
        _git,
        seeds=lambda: [b"# first bad commit: [%s] x\n" % (b"b" * 40), _CHANGELOG],
        words=(b"linux (", b"; urgency=", b"\n -- ", b"  * "),
    ),
    "hosts": Parser(
        partial(_file, load_hosts), seeds=lambda: [b"hosts:\n  - {name: a, ssh: root@a, slots: {x86_64: 2}}\n"]
    ),
    "image": Parser(
        _image,
        seeds=lambda: [b"\0" * 0x202 + b"HdrS" + b"\0" * 40, b"Linux version 6.1.0 (x)", b"CONFIG_BPF=y\n"],
        words=_KERNEL,
    ),
    "layers": Parser(_layers, (InfraError,), _layer_seed, (b".wh.", b"../", b"/etc", b".wh..wh..opq")),
    "lock": Parser(partial(_file, read_lock), (RunnerError,), lambda: [(ROOT / "matrix.lock").read_bytes()[:3000]]),
    "manifest": Parser(
        _manifest, (InfraError,), lambda: [_MANIFEST, _INDEX, b'{"config": {"Env": ["A=b"]}}'], (b'"Env"',)
    ),
    "matrix": Parser(partial(_file, load_matrix), seeds=lambda: _files("tests/data/matrix-*.yaml"), words=_MATRIX),
    "object": Parser(lambda content: (checked("x.o", content), with_values("x.o", content, {"seen": 1}))),
    "packages": Parser(
        _packages,
        (ValueError, KeyError),
        lambda: [(DATA / "kernels/trixie-backports-amd64.Packages").read_bytes()[:4000]],
        _STANZA,
    ),
    "program": Parser(_program, seeds=_program_seed),
    "rpm": Parser(_rpm, (InfraError, Xml.ParseError), lambda: [_REPOMD], (b"<!DOCTYPE", b"<!ENTITY a", b"&a;")),
    "verifier": Parser(_verifier, seeds=lambda: [_LOG]),
    **{
        kind: Parser(partial(_results, kind), seeds=lambda: _files("tests/data/commands/output/*"), words=_RESULTS)
        for kind in get_args(ResultsKind)
    },
}
