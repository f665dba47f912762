"""A directory held by one process alone: the lock is the kernel's, so it ends with its owner."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nnkit.errors import EnvironmentFault, UserError

LOCK = ".lock"


@contextmanager
def locked(directory: Path, busy: Callable[[], str]) -> Iterator[None]:
    """Hold a directory for this process alone.

    Args:
        directory: The directory, which exists.
        busy: Returns the sentence for a directory that another process holds.

    Raises:
        UserError: If another process holds it.
        EnvironmentFault: If the lock file cannot be written.
    """
    lock = FileLock(directory / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(busy()) from error
    except OSError as error:
        raise EnvironmentFault(
            f"{directory} cannot be locked for this process: {error.strerror or error}\n"
            "    make the directory writable, or copy it to where you can write"
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_held(directory: Path) -> bool:
    """Return whether a process holds a directory."""
    lock = FileLock(directory / LOCK)
    if not (directory / LOCK).exists():
        return False
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False
