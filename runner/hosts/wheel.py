"""This very program as a wheel, and the wheels that it needs."""

from __future__ import annotations

import sys
from pathlib import Path

from runner.errors import InfraError
from runner.model.deadline import Deadline
from runner.process import run

_ROOT = Path(__file__).parents[2]


def build_wheels(into: Path, *, deadline: Deadline, with_needs: bool) -> tuple[Path, tuple[Path, ...]]:
    """(this program's wheel, all wheels). InfraError when this is not a checkout, or pip's words when that fails.

    What it needs is taken for this machine's own Python and architecture.
    """
    if not (_ROOT / "pyproject.toml").is_file():
        raise InfraError(
            "this runner was not installed from a checkout, so no wheel can be built of it",
            hint="run `runner host prepare` from a checkout (`make setup` makes its environment)",
        )
    options = [] if with_needs else ["--no-deps"]
    run([sys.executable, "-m", "pip", "wheel", "--quiet", *options, "--wheel-dir", into, _ROOT], deadline=deadline)
    wheels = tuple(sorted(into.glob("*.whl")))
    return next(wheel for wheel in wheels if wheel.name.startswith("kfunc_runner-")), wheels
