"""Trained networks as files that other programs run, compared with the run before they are written."""
