"""What stands in for `os` in `nnkit.files.atomic`: counts the operations and lets one of them fail."""

import errno
import os
import threading
from pathlib import Path

KILL = "kill"
SHORT = "short write"
FULL = "disk full from then on"
ENOSPC, EIO = errno.ENOSPC, errno.EIO


class Killed(Exception):
    """The process is dead: nothing it does afterwards reaches the disk.

    An Exception, so that the thread that writes hands it to the one that trains, as if both had died.
    """


class WatchedOs:
    """Passes everything on to `os`, but for fsync, and keeps a list of the operations.

    Nothing that only fails one operation needs to wait for the disk.

    Attributes:
        operations: Name of each operation and the file it belongs to.
    """

    def __init__(self):
        self.operations = []
        self._files = {}
        self._lock = threading.RLock()

    def __getattr__(self, name):
        real = getattr(os, name)
        if not callable(real):
            return real

        def operate(*arguments):
            self.before(name)
            with self._lock:
                path = self._files.get(arguments[0]) if name != "open" else None
                path = Path(arguments[0]) if path is None else path
                self.operations.append((name, path))
                result = self.perform(name, path, real, arguments)
                if name == "open":
                    self._files[result] = path
                return result

        return operate

    def before(self, name):
        """Do what comes before an operation."""

    def perform(self, name, path, real, arguments):
        """Perform one operation."""
        return None if name == "fsync" else real(*arguments)


class FailingOs(WatchedOs):
    """Lets the n-th operation that is counted fail.

    Args:
        n: Number of the operation, from 1.
        fault: KILL, SHORT, FULL or an error number.
        counts: Whether an operation, given by its name and path, is counted; of SHORT and FULL only writes are.

    Attributes:
        failed: Name and path of the operation that failed; None if there was none.
    """

    def __init__(self, n, fault, counts=lambda name, path: True):
        super().__init__()
        self.n, self.fault, self.counts = n, fault, counts
        self.counted = 0
        self.failed = None

    def perform(self, name, path, real, arguments):
        if not self._fails(name, path):
            return super().perform(name, path, real, arguments)
        if name == "write" and self.fault in (KILL, SHORT):
            descriptor, data = arguments
            written = real(descriptor, data[: max(len(data) // 2, 1)])
            if self.fault == SHORT:
                return written
        if name == "close":
            # Also a process that dies gives its descriptors back.
            real(*arguments)
        if self.fault == KILL:
            raise Killed(f"{name} {path}")
        number = ENOSPC if self.fault == FULL else self.fault
        raise OSError(number, os.strerror(number))

    def _fails(self, name, path):
        writes = self.fault in (SHORT, FULL)
        if writes and name != "write":
            return False
        if self.failed is not None:
            # The dead stay dead, and a full disk full.
            return self.fault in (KILL, FULL)
        self.counted += self.counts(name, path)
        if self.counted < self.n:
            return False
        self.failed = (name, path)
        return True
