# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Runs cells: what happens to one on a worker, how they are spread over workers, and what comes back."""
