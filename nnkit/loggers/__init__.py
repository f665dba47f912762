"""Where a run's metrics are shown: loggers kept below the run directory, guarded, and whole after a resume."""

from nnkit.loggers.guard import Guarded, begins_anew, named, placed
from nnkit.loggers.journal import Journal, Point

__all__ = ["Guarded", "Journal", "Point", "begins_anew", "named", "placed"]
