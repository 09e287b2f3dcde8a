"""Measurements against named peers, beside them, in one run. Linux only."""
