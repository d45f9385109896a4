"""An archive on this machine, for every test here."""

from __future__ import annotations

from tests.archive_fixture import archive, mirror

__all__ = ["archive", "mirror"]
