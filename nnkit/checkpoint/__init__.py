"""Checkpoints that are written atomically, verified by hash, and never executed."""
