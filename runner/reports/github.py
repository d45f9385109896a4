"""GitHub Actions: a job summary in Markdown, and annotations that stand beside the claims they are about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runner.reports.findings import WRONG, Finding, findings
from runner.reports.markdown import availability_markdown
from runner.reports.summary import sentences
from runner.results.availability import availability
from runner.results.model import JudgedRun
from runner.text import markdown, plain

Places = Mapping[str, tuple[str, int]]  # claim -> file and line where it is written

_SHOWN = 10  # GitHub shows no more annotations of one kind and step
SUMMARY_BYTES = 1_000_000  # GitHub refuses more than 1 MiB


def job_summary(judged: JudgedRun, limit_bytes: int = SUMMARY_BYTES) -> str:
    """Markdown for $GITHUB_STEP_SUMMARY: the figures, then the availability tables. Fits GitHub's limit."""
    figures = "\n".join(f"- {markdown(sentence)}" for sentence in sentences(judged))
    text = availability_markdown(judged)
    head, _, rest = text.partition("\n\n")
    whole = f"{head}\n\n{figures}\n\n{rest}"
    if len(whole.encode()) <= limit_bytes:
        return whole
    return f"{head}\n\n{figures}\n\nTables too large for this page: `runner report export --format markdown`.\n"


def workflow_commands(judged: JudgedRun, places: Places) -> str:
    """Workflow commands, a line per finding, what is wrong before what is unknown; empty when all is well.

    `places` says where a claim is written, as a path in the repository and a line.
    """
    found = findings(availability(judged), judged.known_issues, "" if judged.sources else judged.run.id)
    wrong = [finding for finding in found if finding.about in WRONG]
    unknown = [finding for finding in found if finding.about not in WRONG]
    return "".join(f"{line}\n" for group in (wrong, unknown) for line in _group(group, places))


def _group(found: list[Finding], places: Places) -> Iterator[str]:
    """As many as are shown; the last one counts the others."""
    shown = found if len(found) <= _SHOWN else found[: _SHOWN - 1]
    for finding in shown:
        yield _command(finding, places)
    if more := len(found) - len(shown):
        yield f"::{_level(found[0])} title={more} more::{_data('`runner report show` lists them all')}"


def _command(finding: Finding, places: Places) -> str:
    said = [f"{finding.what}, on {finding.where}"]
    said += [f"{word}: {plain(text, 300) or 'nothing'}" for word, text in finding.details]
    said.append(finding.command)
    properties = {"title": f"{finding.about}: {plain(finding.what, 100)}"}
    place = places.get(finding.what.partition(":")[0])
    if place:
        properties = {"file": place[0], "line": str(place[1]), **properties}
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{_level(finding)} {written}::{_data(chr(10).join(said))}"


def _level(finding: Finding) -> str:
    return "error" if finding.about in WRONG else "warning"


def _data(text: str) -> str:
    """As the runner's own toolkit escapes a message: nothing in it can end the line and begin a command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
