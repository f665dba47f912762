"""Everything typed: the command line, one file a verb."""

from nnkit.cli.command import main

__all__ = ["main"]
