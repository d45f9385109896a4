# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Servers and archives on this machine, for every test here."""

from __future__ import annotations

from tests.archive_fixture import archive, mirror
from tests.integration.web_fixture import web

__all__ = ["archive", "mirror", "web"]
