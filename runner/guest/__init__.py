# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Guests: how one is booted with virtme-ng, spoken to over ssh, and watched on its console."""
