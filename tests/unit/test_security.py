# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the code must never do with text that came from elsewhere. docs/security.md says why."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from pathlib import Path

from runner.cli.options import _Formatter
from runner.guest.ssh import make_keys
from tests.unit.sources import FILES, nodes

# they run what they read
FORBIDDEN_MODULES = frozenset({"pickle", "marshal", "shelve", "dill", "cloudpickle", "code", "pty"})
FORBIDDEN_CALLS = frozenset({"eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "yaml.load"})
TEXT_ONLY = frozenset({"yaml.BaseLoader"})  # a YAML loader that makes nothing but text, lists and mappings


def called(file: Path) -> Iterator[str]:
    for node in nodes(file):
        if isinstance(node, ast.Call) and not any(ast.unparse(word.value) in TEXT_ONLY for word in node.keywords):
            yield ast.unparse(node.func)


def imported(file: Path) -> Iterator[str]:
    for node in nodes(file):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_nothing_that_was_read_is_run() -> None:
    modules = {(name, file) for file in FILES for name in imported(file)}
    calls = {(name, file) for file in FILES for name in called(file)}
    assert "json.loads" in {name for name, _ in calls}
    assert not [it for it in modules | calls if it[0] in FORBIDDEN_MODULES | FORBIDDEN_CALLS]


def test_the_site_escapes_by_itself() -> None:
    environments = [
        node
        for file in FILES
        for node in nodes(file)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Environment")
    ]
    assert environments
    escape = [{word.arg: ast.unparse(word.value) for word in call.keywords}.get("autoescape") for call in environments]
    assert escape == ["True"] * len(environments)


def test_keys_are_their_owners_alone(tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys")
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "keys").iterdir()} == {0o600}
    written = b"".join(file.read_bytes() for file in (tmp_path / "keys").iterdir())
    assert keys.client_private.encode() not in written, "the guest gets our public key alone"


def test_nothing_has_a_fixed_name_in_a_folder_that_users_share() -> None:
    texts = {
        (node.value, file)
        for file in FILES
        if file.parent.name != "agent"  # a guest is its user's alone
        for node in nodes(file)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert [text for text, _ in texts if text.startswith("/proc")], "places are found this way"
    assert not [it for it in texts if it[0].startswith(("/tmp", "/var/tmp", "/dev/shm"))]


def test_what_is_logged_acts_on_no_terminal() -> None:
    """A worker's traceback, a host's last words: another machine wrote them."""
    record = logging.LogRecord("runner", logging.INFO, "", 0, "%s", ("birch: \x1b]0;title\x07gone\x1b[2J",), None)
    assert _Formatter().format(record) == "birch: gone"
