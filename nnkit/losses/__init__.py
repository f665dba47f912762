"""Losses that torch.nn lacks."""
