"""The cache directory: locks, atomic files, and prepared arrays that open in milliseconds."""

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from platformdirs import user_cache_dir

from nnkit.errors import EnvironmentFault
from nnkit.files.paths import expand

logger = logging.getLogger("nnkit")

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]

# Raised when the meaning of prepared arrays changes, so that older ones are prepared again.
_FORMAT = 1
_MANIFEST = "prepared.json"
_TEMPORARY = ".part"
# Bytes that are hashed faster than a note of the hash is found.
_QUICKLY_HASHED = 1 << 24


def cache_dir() -> Path:
    """Return the directory of downloads and prepared arrays: $NNKIT_CACHE, or the platform's own."""
    chosen = os.environ.get("NNKIT_CACHE")
    return expand(chosen).absolute() if chosen else Path(user_cache_dir("nnkit", appauthor=False))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder of the cache for this process; the lock is the kernel's, so it ends with its owner.

    Temporaries found under the lock were left by an owner that was killed, and are removed.

    Args:
        folder: Folder to hold; made if it does not exist.

    Raises:
        EnvironmentFault: If the folder cannot be written.
    """
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0.2)
        except Timeout:
            logger.warning("Waiting for another process that prepares %s", folder)
            lock.acquire()
    try:
        for path in folder.glob(f"*{_TEMPORARY}"):
            path.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


@contextmanager
def explained(path: Path, num_bytes: int | None = None) -> Iterator[None]:
    """Turn an OSError on the cache into an EnvironmentFault that names the path, the bytes and the way out.

    Args:
        path: What is being written.
        num_bytes: How much is being written, if known.
    """
    try:
        yield
    except OSError as error:
        size = "" if num_bytes is None else f" ({num_bytes:,} bytes)"
        reason = "no space is left" if error.errno == errno.ENOSPC else (error.strerror or str(error))
        raise EnvironmentFault(
            f"cannot write {path}{size}: {reason}. NNKIT_CACHE=FOLDER moves the cache elsewhere."
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary beside `path` that takes its place, flushed to disk, when the block ends well.

    Args:
        path: The file to write; its folder must exist.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}{_TEMPORARY}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_array(folder: Path, name: str, shape: tuple[int, ...], dtype: str) -> Iterator[np.ndarray[Any, Any]]:
    """Yield an array on disk to fill; it takes its place in `folder` when the block ends well.

    Args:
        folder: Folder of the prepared arrays, held by `locked`.
        name: Name of the array.
        shape: Its shape; no size may be 0.
        dtype: Its type, as NumPy writes it.

    Raises:
        EnvironmentFault: If there is no room for it, before anything is written.
    """
    path = folder / f"{name}.npy"
    num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    with explained(path, num_bytes):
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < num_bytes:
            # Asked beforehand: a write to a mapped page that has no room ends the process with a bus error.
            raise OSError(errno.ENOSPC, "no space is left")
        with replacing(path) as temporary:
            array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.dtype(dtype), shape=shape)
            yield array
            array.flush()


@contextmanager
def growing_array(
    folder: Path, name: str, dtype: np.dtype[Any]
) -> Iterator[Callable[[np.ndarray[Any, Any]], None]]:
    """Yield what appends values to an array on disk; it takes its place in `folder` when the block ends well.

    Nothing of it is mapped, so that memory does not grow with it.

    Args:
        folder: Folder of the prepared arrays, held by `locked`.
        name: Name of the array, which has one axis.
        dtype: Its type.

    Raises:
        EnvironmentFault: If it cannot be written.
    """
    path = folder / f"{name}.npy"
    with explained(path):
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:

            def write_head(count: int) -> int:
                # NumPy leaves room for a longer first axis: the head has one size.
                file.seek(0)
                head = {"descr": dtype.str, "fortran_order": False, "shape": (count,)}
                np.lib.format.write_array_header_1_0(file, head)
                return file.tell()

            def append(values: np.ndarray[Any, Any]) -> None:
                file.write(np.ascontiguousarray(values, dtype).data)

            start = write_head(0)
            yield append
            count = (file.seek(0, os.SEEK_END) - start) // dtype.itemsize
            assert write_head(count) == start


def commit(folder: Path, key: object, facts: dict[str, Any], arrays: Arrays | None = None) -> None:
    """Declare the arrays of a folder complete.

    Args:
        folder: Folder of the prepared arrays, held by `locked`.
        key: What they were prepared from; JSON data.
        facts: What else is known about them; JSON data.
        arrays: Further arrays in memory to write before.
    """
    for name, values in (arrays or {}).items():
        with new_array(folder, name, values.shape, values.dtype.str) as array:
            array[:] = values
    stamps = {path.stem: [*_stamp(path), sha256_of(path)] for path in sorted(folder.glob("*.npy"))}
    _write_manifest(folder, {"format": _FORMAT, "key": key, "facts": facts, "arrays": stamps})


class Prepared(NamedTuple):
    """Prepared arrays as they lie in the cache.

    Attributes:
        arrays: Memory-mapped arrays by name.
        facts: What was stored with them.
        hashes: SHA-256 of each array's file, by name.
    """

    arrays: Arrays
    facts: dict[str, Any]
    hashes: dict[str, str]


def prepared(folder: Path, key: object, prepare: Callable[[], None]) -> Prepared:
    """Open prepared arrays; where there are none, hold the folder and prepare them.

    Args:
        folder: Folder of the prepared arrays.
        key: What they must have been prepared from; JSON data.
        prepare: Makes them with `new_array` and ends with `commit`.

    Raises:
        EnvironmentFault: If the folder cannot be written.
    """
    opened = open_arrays(folder, key)
    if opened is None:
        with locked(folder):
            # Another process may have prepared them while this one waited.
            opened = open_arrays(folder, key)
            if opened is None:
                prepare()
                opened = open_arrays(folder, key)
    if opened is None:
        raise EnvironmentFault(f"{folder} was changed while it was being prepared; start again")
    return opened


def open_arrays(folder: Path, key: object) -> Prepared | None:
    """Open prepared arrays, memory-mapped copy-on-write, without reading them.

    Size and modification time vouch for an array; where they changed (a copied cache), its SHA-256 does.

    Args:
        folder: Folder they were committed in.
        key: What they must have been prepared from.

    Returns:
        The arrays, or None where they are missing, outdated or damaged.
    """
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        if manifest["format"] != _FORMAT or manifest["key"] != json.loads(json.dumps(key)):
            return None
        arrays: Arrays = {}
        for name, stamp in manifest["arrays"].items():
            path = folder / f"{name}.npy"
            if _stamp(path) != stamp[:2]:
                if sha256_of(path) != stamp[2]:
                    logger.warning("%s is damaged and will be prepared again", path)
                    return None
                stamp[:2] = _stamp(path)
                with suppress(OSError):  # a cache that is only readable still serves
                    _write_manifest(folder, manifest)
            # "c" maps writable memory that never reaches the file: torch takes it without a warning.
            arrays[name] = np.load(path, mmap_mode="c", allow_pickle=False)
        hashes = {name: stamp[2] for name, stamp in manifest["arrays"].items()}
        return Prepared(arrays, manifest["facts"], hashes)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read (%s) and will be prepared again", folder, error)
        return None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: Path) -> str:
    """Return the SHA-256 of a file; that of a large one is read again only if its size or time has changed."""
    if path.stat().st_size < _QUICKLY_HASHED:
        return sha256_of(path)
    stamp = _stamp(path)
    folder = cache_dir() / "hashes" / hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]

    def prepare() -> None:
        commit(folder, stamp, {"sha256": sha256_of(path)})

    try:
        return str(prepared(folder, stamp, prepare).facts["sha256"])
    except EnvironmentFault:
        # Without a cache it takes longer.
        return sha256_of(path)


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    path = folder / _MANIFEST
    with explained(path), replacing(path) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1))
