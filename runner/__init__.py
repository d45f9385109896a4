# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A distributed QEMU kernel test-matrix runner: which kfuncs can TC and XDP programs call, on which kernel?"""

__version__ = "0.2.0"  # pyproject.toml takes it from here
