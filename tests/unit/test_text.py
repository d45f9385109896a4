# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Hostile text from guests does no harm in a terminal, in rich, in Markdown."""

from __future__ import annotations

import io
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from rich.text import Text

from runner.text import closest, counted, lines, markdown, plain

HOSTILE = [
    "\x1b[2J\x1b[1;1Hcleared",
    "\x1b]0;title\x07after",
    "\x1b]8;;http://evil.example/\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;ZXZpbA==\x07clipboard",
    "\x1bP+q544e\x1b\\dcs",
    "\x9b31mC1 colour \x9d0;C1 title\x9c.",
    "\x1b(0charset\x1bc reset",
    "\x1b]0;never ends",
    "\x1b[", "\x1b", "\x1b\x00[31mred",
    "[bold red]rich[/bold red] [/] :smile: [link=http://x]y[/link]",
    "a | b || c", "`code` ``` fence", "<script>alert(1)</script> <b>&lt;&amp;",
    "*bold* _emph_ __strong__ ~~gone~~ nf_conn___init _x",
    "![i](http://x) [l](javascript:x) [r]: http://x https://a.b www.c.d a@b.c <http://x>",
    "# head", "- item", "1. item", "12) item", "+ x", "====", "\\ back\\slash \\|",
    "\u202egnp.exe \u200bzero \u2028line", "a\rb\r\nc\nd\te",
]  # fmt: skip


def shown(text: str) -> str:
    """What a reader of the Markdown sees, in a table's field and in a list."""
    source = f"| a | b |\n| --- | --- |\n| x{text} | y |\n\n- **k**: {text}\n"
    html = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(source)
    fields = re.findall(r"<td>(.*?)</td>", html, re.DOTALL)
    assert len(fields) == 2, html
    assert fields[1] == "y"
    assert html.count("<li>") == 1
    inside: str = fields[0]
    assert "<" not in inside, inside
    for entity, char in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        inside = inside.replace(entity, char)
    return inside[1:]


def is_harmless(text: str) -> bool:
    return not any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text(text: str) -> None:
    assert is_harmless(plain(text))
    assert shown(markdown(text)).split() == plain(text).split()


def test_escape_sequences_go_with_what_they_say() -> None:
    assert plain("\x1b[1;31mred\x1b[0m") == "red"
    assert plain("\x1b]0;title\x07after") == "after"
    assert plain("\x1b]8;;http://evil.example/\x1b\\link\x1b]8;;\x1b\\") == "link"
    assert plain("\x9d0;title\x9cafter") == "after"
    # an unfinished sequence must not swallow the lines that follow it
    assert lines("\x1b]0;never\nsecond") == ["0;never", "second"]


def test_lines_keep_indentation_and_drop_returns() -> None:
    assert lines("[ 0.1] a\r\n\tb  \nc\x00d") == ["[ 0.1] a", "        b", "cd"]


def test_plain_is_cut_with_a_sign() -> None:
    assert plain("a verifier log that goes on", 10) == "a verifie…"
    assert plain("short", 10) == "short"


def test_rich_takes_no_markup_from_it() -> None:
    out = io.StringIO()
    Console(file=out, force_terminal=True, width=200).print(Text(plain("[red]x[/red] [/] :smile:")))
    assert out.getvalue() == "[red]x[/red] [/] :smile:\n"


def test_markdown_leaves_common_words_readable() -> None:
    for text in ("nf_conn___init", "6.12.117 (x86_64, arm64)", "error -EINVAL", "bpf_ct_release args#0"):
        assert markdown(text) == text


def test_markdown_makes_no_links() -> None:
    made = markdown("see http://evil.example and www.evil.example")
    assert "http://" not in made
    assert "www." not in made


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
@example("\x1b[\x1b[31m")
def test_plain_never_holds_a_control_character(text: str) -> None:
    assert is_harmless(plain(text))
    assert plain(plain(text)) == plain(text)


@given(st.text(alphabet="ab_*`<>[]()|\\~&!#-+=.:/@1 \x1b\n", max_size=40))
def test_markdown_shows_what_plain_shows(text: str) -> None:
    assert shown(markdown(text)).split() == plain(text).split()


def test_one_is_not_many() -> None:
    assert [counted(number, "cell") for number in (0, 1, 2)] == ["0 cells", "1 cell", "2 cells"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [("serie", "series"), ("sreies", "series"), ("x86", "x86_64"), ("identityfile", "IdentityFile"), ("cmdline", "")],
)
def test_only_what_is_near_is_offered(word: str, meant: str) -> None:
    assert closest(word, ["series", "mainline", "x86_64", "IdentityFile"]) == meant
