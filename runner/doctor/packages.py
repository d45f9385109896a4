"""Debian packages: which are missing, and installing them. packages.txt beside this package is the only list."""

from __future__ import annotations

import subprocess
from pathlib import Path

from runner.errors import InfraError
from runner.model.deadline import Deadline
from runner.process import run, spawn

_SCRIPT = Path(__file__).parents[1] / "packages.sh"  # a shell script, as it must work before Python is there


def missing_packages(*, deadline: Deadline) -> tuple[str, ...]:
    """The Debian packages that are not installed. InfraError where there is no dpkg."""
    return tuple(run(["sh", _SCRIPT, "--missing"], deadline=deadline).stdout.split())


def fix(*, deadline: Deadline) -> None:
    """Install the missing Debian packages, as root or with sudo; what apt says goes to this program's own output.

    Raises InfraError when that is not allowed or fails; the line to run by hand has been printed then.
    """
    with spawn(["sh", _SCRIPT], end_s=deadline.end_s) as installing:
        try:
            status = installing.wait(timeout=deadline.remaining_s)
        except subprocess.TimeoutExpired:
            raise InfraError(f"installing packages did not end within {deadline.what}") from None
    if status != 0:
        raise InfraError("Debian packages are missing and were not installed", hint="what is needed stands above")
