"""What this machine can do, and what it lacks."""

from runner.doctor.checks import Finding, Level, examine
from runner.doctor.packages import fix, missing_packages

__all__ = ["Finding", "Level", "examine", "fix", "missing_packages"]
