"""A search over commits, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from runner.model import Observation
from runner.reports.drawing import section
from runner.results.bisectcommits import CommitAnswer, CommitBisection, NamedCommit
from runner.text import plain


def commits_report(done: CommitBisection) -> RenderableType:
    """The commit, both answers, every commit that was looked at, and how to see it."""
    parts: list[RenderableType] = [_headline(done), _answers(done), _tested(done)]
    parts += [Text(f"git -C {done.repository} show {done.first_bad.short}", "bold")] if done.first_bad else []
    return Group(*parts)


def _headline(done: CommitBisection) -> Text:
    if done.first_bad:
        return Text.assemble("First bad commit: ", (_name(done.first_bad), "bold red"))
    if done.candidates:
        names = "\n".join(f"  {_name(commit)}" for commit in done.candidates)
        return Text(f"Only skipped commits are left, each of these may be the first bad one:\n{names}", "yellow")
    return Text(f"Both ends answer alike: {plain(done.good_answer)}", "yellow")


def _answers(done: CommitBisection) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for word, commit, answer in (("good", done.good, done.good_answer), ("bad", done.bad, done.bad_answer)):
        table.add_row(Text(word, "dim"), Text(_name(commit)), Text(plain(answer)))
    return section(f"{plain(done.question)} on {done.arch}", table)


def _tested(done: CommitBisection) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for one in done.tested:
        word = "skipped" if not one.answer else "good" if one.answer == done.good_answer else "bad"
        table.add_row(Text(one.commit[:12]), Text(word), Text(_how(one), "dim"), Text(_said(one)))
    boots = sum(one.booted for one in done.tested)
    return section(f"Commits: {len(done.tested)} looked at, {boots} booted, {len(done.skipped)} skipped", table)


def _how(one: CommitAnswer) -> str:
    return "did not build" if one.kernel is None else "booted" if one.booted else "the same kernel as another"


def _said(one: CommitAnswer) -> str:
    if not one.answer:
        return plain(one.cause, 100)
    errno = isinstance(one.observation, Observation) and one.observation.load_errno
    return plain(one.answer if not errno else f"{one.answer} (errno {errno})", 100)


def _name(commit: NamedCommit) -> str:
    return f"{commit.short} {plain(commit.subject, 80)}"
