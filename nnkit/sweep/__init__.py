"""Sweeps: many runs of one command, in parallel, each by itself, resumable."""
