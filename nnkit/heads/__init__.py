"""Heads: they turn a body's features into outputs."""
