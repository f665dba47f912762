"""The lines that a run has logged, read as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnkit.errors import UserError
from nnkit.files.json_limits import MAX_BYTES, parse_json
from nnkit.files.layout import METRICS
from nnkit.files.paths import check_file


def read_log(directory: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log; none where there is no such file.

    Args:
        directory: The run directory.

    Raises:
        UserError: If the file cannot be read, or is too large.
    """
    path = directory / METRICS
    if not path.exists():
        return []
    try:
        check_file(path, MAX_BYTES)
        lines = path.read_bytes().splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    found = []
    for line in lines:
        try:
            row = parse_json(line)
        except ValueError:
            # One that is being written, or was torn by a kill.
            continue
        if isinstance(row, dict):
            found.append(row)
    return found
