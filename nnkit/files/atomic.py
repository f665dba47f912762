"""Every file operation of a checkpoint or a run record: the one place where a write can fail.

All of them go through this module's `os`, so that a test can make the n-th of them fail.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nnkit.errors import EnvironmentFault

TEMPORARY = ".tmp"

_READ_BYTES = 1 << 24


class WriteFault(EnvironmentFault):
    """A file cannot be written: no space, no permission, a limit on its size."""


class ReadFault(EnvironmentFault):
    """A file that is there cannot be read: no permission, a fault of the disk.

    Args:
        path: The file.
        reason: What the system says.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{path} cannot be read: {reason}")


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file as a whole: after a crash at any instant it holds the old bytes or the new ones.

    The temporary is in the same directory, so that the rename never crosses a file system.

    Raises:
        WriteFault: If the disk is full or the directory cannot be written; no temporary is left then.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    with _explained(path, len(data)):
        try:
            _write(temporary, os.O_TRUNC, data, sync=True)
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _sync(path.parent, os.O_RDONLY)


def canonical(value: Any) -> bytes:
    """Return plain data as bytes that are the same however they were ordered or indented, for hashing."""
    return json.dumps(value, sort_keys=True).encode()


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically."""
    write_atomic(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Append whole lines to a text file in one write.

    Raises:
        WriteFault: If they cannot be written; a part of them may stand there then.
    """
    data = "".join(line + "\n" for line in lines).encode()
    with _explained(path, len(data)):
        _write(path, os.O_APPEND, data, sync=False)


def create(path: Path, data: bytes) -> bool:
    """Make a file that is not there yet; return False where it is.

    Of several processes one makes it, also if they are on several machines that share a network file system.

    Raises:
        WriteFault: If it cannot be written; it is not there then.
    """
    with _explained(path, len(data)):
        try:
            _write(path, os.O_EXCL, data, sync=True)
        except FileExistsError:
            return False
        except OSError:
            with suppress(OSError):
                os.unlink(path)
            raise
        _sync(path.parent, os.O_RDONLY)
    return True


def sync_file(path: Path) -> None:
    """Make what was appended to a file survive a power cut; a file that does not exist is passed over."""
    with _explained(path), suppress(FileNotFoundError):
        _sync(path, os.O_RDWR)


def make_directory(path: Path) -> None:
    """Make a directory, and those above it, so that a power cut does not take it away with all that is in it.

    Raises:
        WriteFault: If it cannot be made.
    """
    if not path.parent.exists():
        make_directory(path.parent)
    with _explained(path, what="made"):
        if not path.is_dir():
            try:
                os.mkdir(path)
            except FileExistsError:
                # Another process may have made it just now.
                if not path.is_dir():
                    raise
        # Also if it is there: whoever made it may have been killed before this.
        _sync(path.parent, os.O_RDONLY)


def read(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        FileNotFoundError: If there is none.
        ReadFault: If it cannot be read.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ReadFault(path, error.strerror or str(error)) from error


def remove(path: Path) -> None:
    """Delete a file if it is there.

    Raises:
        WriteFault: If it is there and cannot be deleted.
    """
    with _explained(path, what="deleted"), suppress(FileNotFoundError):
        os.unlink(path)


def remove_temporaries(directory: Path) -> None:
    """Delete what a killed writer left in a directory that this process holds."""
    for leftover in directory.glob("*" + TEMPORARY):
        remove(leftover)


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, _READ_BYTES):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def _write(path: Path, flags: int, data: bytes, *, sync: bool) -> None:
    # A link in a run directory from elsewhere could lead to any file of the user's.
    flags |= getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o666)
    try:
        rest = memoryview(data)
        # The system may take a part only, and says so.
        while len(rest):
            rest = rest[os.write(descriptor, rest) :]
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(path: Path, flags: int) -> None:
    """Flush a file, or the names in a directory, to the disk."""
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(path: Path, num_bytes: int | None = None, what: str = "written") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        size = "" if num_bytes is None else f" ({num_bytes:,} bytes)"
        raise WriteFault(f"{path} cannot be {what}{size}: {error.strerror or error}") from error
