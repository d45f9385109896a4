# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where did an answer change? Few boots instead of one per kernel, and the evidence with the answer."""
