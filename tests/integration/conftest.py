"""Servers and archives on this machine, for every test here."""

from __future__ import annotations

from tests.archive_fixture import archive, mirror
from tests.integration.web_fixture import web

__all__ = ["archive", "mirror", "web"]
