"""What is logged while a request is read, kept for its answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_MOST = 10


class _Collector(logging.Filter):
    def __init__(self, notes: list[str]) -> None:
        super().__init__()
        self._notes, self._thread = notes, threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread:
            return True
        if len(self._notes) < _MOST:
            self._notes.append(record.getMessage())
        return False


@contextmanager
def collected() -> Iterator[list[str]]:
    """Yield the sentences that this thread logs while the block runs, which go to no log."""
    logger, notes = logging.getLogger("nnkit"), list[str]()
    collector = _Collector(notes)
    logger.addFilter(collector)
    try:
        yield notes
    finally:
        logger.removeFilter(collector)
