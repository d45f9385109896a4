# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a person or a script sees of a run: one module per format, pure functions of a JudgedRun."""
