"""What a JSON file of a run directory may be before it is parsed: a plain file, bounded in size and depth."""

import json
import stat
from pathlib import Path
from typing import Any

# Far more than a vocabulary needs; the largest that is parsed within a second or two.
MAX_BYTES = 64_000_000


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


def parse_json(data: bytes) -> Any:
    """Parse JSON of any origin.

    Raises:
        ValueError: If it is none, or nested too deeply.
    """
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_json(path: Path, limit: int = MAX_BYTES) -> Any:
    """Read a JSON file of any origin.

    Raises:
        ValueError: If it is none, too large, nested too deeply, or no plain file.
        OSError: If it cannot be read.
    """
    check_file(path, limit)
    return parse_json(path.read_bytes())
