# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Settings that hold for every test."""

from hypothesis import settings

settings.register_profile("default", deadline=None)  # a loaded machine is no defect of the code
settings.load_profile("default")
