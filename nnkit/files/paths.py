"""Paths as users type them, and what they may lead to."""

import stat
from pathlib import Path

from nnkit.errors import UserError


def expand(given: str | Path) -> Path:
    """Return a path with a leading ``~`` or ``~user`` replaced by that home directory.

    Args:
        given: A path as typed.

    Raises:
        UserError: If there is no such user.
    """
    path = Path(given)
    try:
        return path.expanduser()
    # pathlib's answer to a home directory that nobody has.
    except RuntimeError as error:
        user = path.parts[0].removeprefix("~")
        raise UserError(
            f"{given}: there is no user {user!r}; a path that is called so is ./{given}"
        ) from error


def check_file(path: Path, limit: int | None = None) -> None:
    """Refuse what must not be read whole: a pipe or a device, which may never end, or a file that is too large.

    Args:
        path: The file.
        limit: Bytes it may have; None: any number.

    Raises:
        ValueError: If it is one of these, saying which.
        OSError: If it cannot be looked at.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no plain file")
    if limit is not None and status.st_size > limit:
        raise ValueError(f"it has {status.st_size:,} bytes, more than the {limit:,} that are read")
