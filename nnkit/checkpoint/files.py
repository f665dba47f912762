"""Every file operation of a checkpoint or a run record: the one place where a write can fail."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

TEMPORARY = ".tmp"


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sync_directory(path: Path) -> None:
    """Make renames inside a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file as a whole: after a crash at any instant it holds the old bytes or the new ones.

    The temporary stands in the same directory, so that the rename never crosses a file system.

    Raises:
        OSError: If the disk is full or the directory cannot be written; no temporary is left then.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically."""
    write_atomic(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def append_lines(path: Path, lines: list[str]) -> None:
    """Append whole lines to a text file in one write."""
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(line + "\n" for line in lines))


def sync_file(path: Path) -> None:
    """Make what was appended to a file survive a power cut; a file that does not exist is passed over."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Delete a file if it is there."""
    path.unlink(missing_ok=True)
