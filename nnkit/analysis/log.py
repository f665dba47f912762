"""The lines that a run has logged, read to be drawn."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from nnkit.errors import UserError
from nnkit.files.json_limits import parse_json
from nnkit.files.layout import METRICS
from nnkit.runs.metrics_log import log_lines

# Bytes of a log, tens of thousands of lines, whose steps of training are all read; how one of these lines can be told.
_READ_WHOLE = 4_000_000
_TRAINING = b'"split": "train"'


def read_log(directory: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log; where it is long, all but those of training and some of these.

    Args:
        directory: The run directory; one without a log has no lines.

    Raises:
        UserError: If the file cannot be read.
    """
    path = directory / METRICS
    if not path.exists():
        return []
    # A power of two, so that seeds whose logs differ a little in size have steps in common.
    every = 1 << (path.stat().st_size // _READ_WHOLE).bit_length()
    found = []
    try:
        for number, line in enumerate(log_lines(path)):
            if number % every and _TRAINING in line:
                continue
            # One that is being written, or was torn by a kill, cannot be parsed.
            with suppress(ValueError):
                row = parse_json(line)
                if isinstance(row, dict):
                    found.append(row)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return found
