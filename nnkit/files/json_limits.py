"""What a JSON file of a run directory may be before it is parsed: a plain file, bounded in size and depth."""

import json
from pathlib import Path
from typing import Any

from nnkit.files.paths import check_file

# Far more than a vocabulary needs; the largest that is parsed within a second or two.
MAX_BYTES = 64_000_000
# Each becomes an object of Python of a hundred bytes.
MAX_VALUES = 1_000_000


def check_cost(data: bytes, most: int = MAX_VALUES) -> None:
    """Refuse JSON that would take far more memory than its size once it is parsed.

    Args:
        data: The text.
        most: Values that it may have, counted by their punctuation.

    Raises:
        ValueError: If it has too many bytes or values.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has {len(data):,} bytes of JSON, more than the {MAX_BYTES:,} that are read")
    if data.count(b",") + data.count(b"[") + data.count(b"{") > most:
        raise ValueError(f"it holds more than {most:,} values")


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
