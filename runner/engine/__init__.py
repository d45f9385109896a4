"""Runs cells: what happens to one on a worker, how they are spread over workers, and what comes back."""
