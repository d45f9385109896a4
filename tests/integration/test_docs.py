# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The commands in README, CONTRIBUTING and docs/: this program understands its own; each is run, or said not to be."""

from __future__ import annotations

import re
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.main import get_command

from runner import cli
from runner.cli.app import app
from runner.errors import UserError
from runner.results.store import ResultStore
from tests.samples import ROOT
from tests.unit import agent_samples
from tests.unit import results_samples as samples

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```(console|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ENDS = {"|", "||", "&&", ";", "&", ">", "<", ">>", "2>"}  # of a command in a line of a shell


def lines(page: Path) -> Iterator[str]:
    """Of a console what is behind the prompt, of a script every line."""
    for kind, block in BLOCK.findall(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ ") or kind == "sh":
                yield line.removeprefix("$ ")


def commands(line: str) -> Iterator[list[str]]:
    """The words of each command in the line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word not in ENDS:
            words.append(word)
        elif words:
            yield words
            words = []


def own(words: list[str]) -> list[str] | None:
    """What follows `runner`, also behind another program such as timeout. None: it is no command of ours."""
    at = next((at for at, word in enumerate(words) if Path(word).name == "runner"), None)
    return None if at is None else words[at + 1 :]


FOUND = [(page.name, line, words) for page in PAGES for line in lines(page) for words in commands(line)]
OURS = [(f"{name}: {line}", mine) for name, line, words in FOUND if (mine := own(words)) is not None]


@pytest.mark.parametrize(("line", "words"), OURS, ids=[line for line, _ in OURS])
def test_it_understands_its_commands_in_the_docs(line: str, words: list[str]) -> None:
    """Parsed: of those that boot guests, words may differ from what the test in RUN_BY has."""
    here, name = get_command(app), "runner"
    context = here.make_context(name, [], resilient_parsing=True)
    while words and (sub := getattr(here, "get_command", lambda *_: None)(context, words[0])):
        try:
            here, name, words = sub, words[0], words[1:]
            context = here.make_context(
                name,
                list(words) if not hasattr(here, "commands") else [],
                parent=context,
                resilient_parsing=hasattr(here, "commands"),
            )
        except UserError as error:
            pytest.fail(f"{line}: {error}")
    assert not hasattr(here, "commands") or not words or words[0].startswith("-"), line


# How each command is run: here, for real; by another test, with the same options and other values; or not, and why.
# The first row whose pattern a command begins with counts.
HERE = "here"
NETWORK = "not run: needs the network"
KVM_HOURS = "not run: takes hours"
SHOWN = "tests/integration/test_load_shown.py::test_numbers_are_shown_in_the_grid_and_printed_for_veristat"
PLACE = "not run: it names a file, a host or a run of the reader's"
RUN_BY: tuple[tuple[str, str], ...] = (
    (r"do runner report veristat", SHOWN),
    (r"runner kfunc NAME", PLACE),
    (r"runner cell show .*boundaries:", "not run: no recorded answers have boundaries"),
    (r"runner (report|kfunc|matrix list|cell show 6\.18|results merge)", HERE),
    (r"runner doctor --fix", "not run: changes the machine"),
    (r"runner doctor", HERE),
    (r"runner init 'build/\*\.bpf\.o'$", HERE),
    (r"runner init", "tests/integration/test_init.py::test_what_it_writes_is_a_project_of_exactly_these_kernels"),
    (r"runner kernels lock", "tests/integration/test_kernels_lock.py"),
    (r"runner kernels fetch", "tests/integration/test_kernels_lock.py::test_a_kernel_is_fetched_unpacked_and_kept"),
    (r"runner kernels build", "tests/integration/test_cli_commits.py::test_a_commit_is_built_in_the_cache"),
    (r"runner bisect .*--git", "tests/integration/test_bisect_objects.py::test_over_the_commits_of_the_kernel"),
    (r"runner bisect \S*(lb|calls).*--from", "not run: --series, of whose range a test runs it, picks these kernels"),
    (r"runner bisect \S*(lb|calls)", "tests/integration/test_bisect_objects.py"),
    (r"runner bisect", "tests/integration/test_cli_bisect.py::test_where_it_changed_with_its_evidence"),
    (r"runner load .*--stats", SHOWN),
    (r"runner load", "tests/guest/test_load.py::test_each_reason_is_told_and_costs_its_own_program_alone"),
    (r"runner exec .*--(image|env)", "tests/guest/test_exec_image.py::test_a_container_image_is_the_root_of_a_command"),
    (r"runner exec .*--package", "tests/guest/test_exec_image.py"),
    (r"runner exec", "tests/guest/test_exec.py::test_a_command_costs_its_own_row_alone"),
    (r"runner cell repro .*--from", "tests/integration/test_cli_repro_exports.py"),
    (r"runner cell repro", "tests/guest/test_repro.py::test_a_cell_answers_again_what_it_answered"),
    (r"runner cell shell .*--with", "tests/guest/test_exec.py::test_a_shell_opens_where_the_command_would_run"),
    (r"runner cell shell .*--run", PLACE),
    (r"runner cell shell .*--gdb", "not run: a debugger waits for a person"),
    (r"runner cell shell", "tests/guest/test_matrix_run.py::test_a_shell_in_a_cell"),
    (r"runner matrix run .*--hosts", "tests/hosts/test_three_hosts.py"),
    (r"runner matrix run .*--recheck", "not run: --recheck and --baseline are, each by itself"),
    (r"runner matrix run .*--shard", "tests/integration/test_kept.py::test_a_new_claim_asks_itself"),
    (r"runner matrix run .*--baseline", "tests/integration/test_cli_tracking.py"),
    (r"timeout .* runner matrix run", KVM_HOURS),
    (r"runner matrix run", "tests/guest/test_matrix_run.py::test_two_architectures_and_two_runs_answer_the_same"),
    (r"make (run|test|lint)", "not run: it runs the tests"),
    (r"\.venv/bin/pytest", "not run: it runs the tests"),
    (r"podman", "not run: needs podman"),
    (r"pipx|apt-get", "not run: changes the machine"),
    (r"gpg|mainline\.gpg", NETWORK),
    (r"git bisect", "not run: needs a repository with a broken commit"),
    (r"veristat", "not run: needs the files of the line before"),
    (r"export|for|do|done|echo", "not run: words of the shell"),
)  # fmt: skip


def how(command: str) -> str:
    """Where a command is run; empty when no row is about it."""
    return next((where for pattern, where in RUN_BY if re.match(pattern, command)), "")


EVERY = [(f"{name}: {line}", shlex.join(words)) for name, line, words in FOUND]
RUN_HERE = sorted({command for _, command in EVERY if how(command) == HERE})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs with the recorded answers of four kernels, and a third in another store."""
    root = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "bpf", root / "bpf")
    for name in ("matrix.yaml", "matrix.lock"):
        shutil.copy(ROOT / name, root / name)
    cells = tuple(
        agent_samples.cell(version).model_copy(update={"name": version.rpartition(".")[0]})
        for version in ("6.1.192", "6.12.117", "6.18.15", "7.3.4")
    )
    for night, part in enumerate(("", "", "part")):
        with ResultStore(root / part / "reports" / "results.db") as store:
            run = samples.run(cells=cells, run_id=f"night-{night}")
            store.begin(run.model_copy(update={"started": samples.STARTED + timedelta(days=night)}))
            for cell in cells:
                store.add(run.id, agent_samples.result(cell.kernel.version).model_copy(update={"cell": cell}))
            store.finish(run.id, samples.STARTED + timedelta(days=night, minutes=1))
    return root


@pytest.mark.parametrize("command", RUN_HERE)
def test_what_boots_nothing_is_run(
    command: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path if command.startswith("runner init") else project)
    words = [file for word in own(shlex.split(command)) or () for file in (expanded(word) if "*/" in word else [word])]
    status = cli.run(words)
    said = capsys.readouterr()
    # a recorded run lacks answers to newer claims: what shows it ends with EXIT_NO_ANSWER
    assert status in {cli.EXIT_OK, cli.EXIT_BROKEN, cli.EXIT_NO_ANSWER}, said.err
    assert "error:" not in said.err
    assert said.out or Path(words[words.index("--output") + 1]).exists()


def expanded(word: str) -> list[str]:
    """As a shell does it."""
    return [str(path) for path in sorted(Path().glob(word))] or [word]


def test_every_command_has_a_row_and_every_row_a_command() -> None:
    assert [f"{line}: add a row to RUN_BY" for line, command in EVERY if not how(command)] == []
    for pattern, where in RUN_BY:
        mine = [it for _, it in EVERY if re.match(pattern, it) and how(it) == where]
        assert mine, f"{pattern}: no command of the docs begins so"
        if where.startswith("tests/"):
            file, _, test = where.partition("::")
            assert f"def {test}" in (ROOT / file).read_text(), where


def test_another_test_that_runs_a_command_has_its_options() -> None:
    for line, command in EVERY:
        mine, (file, found, _) = own(shlex.split(command)), how(command).partition(".py")
        if mine is None or not found:
            continue
        options = {word for word in mine[: mine.index("--") if "--" in mine else None] if word.startswith("--")}
        text = (ROOT / f"{file}.py").read_text()
        assert not [it for it in options if not re.search(rf'{it}[" =]', text)], f"{line}: not in {file}.py"


def test_the_commands_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    number = Counter(
        "as another test runs its like" if where.startswith("tests/") else where
        for where in (how(command) for _, command in EVERY)
    )
    with capsys.disabled():
        counts = ", ".join(f"{count} {where}" for where, count in number.most_common())
        print(f"\n{len(EVERY)} commands in the docs, {len(OURS)} of runner: run {counts}")  # noqa: T201
    assert number[HERE] >= 10
