"""Where a run's metrics are shown: loggers kept below the run directory, guarded, and whole after a resume."""

from nnkit.loggers.guard import Guarded
from nnkit.loggers.journal import Journal, Point
from nnkit.loggers.placing import begins_anew, named, placed

__all__ = ["Guarded", "Journal", "Point", "begins_anew", "named", "placed"]
