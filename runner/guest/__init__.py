"""Guests: how one is booted with virtme-ng, spoken to over ssh, and watched on its console."""
