"""The IDX file format of MNIST: a header of big-endian sizes, then bytes (LeCun's MNIST page)."""

import math
import struct
from typing import Any

import numpy as np

# The only type MNIST-like data use: unsigned byte.
_UNSIGNED_BYTE = 8
_MAX_DIMENSIONS = 3
# Larger than any data set of this format; a header that declares more is a lie or an attack.
_MAX_BYTES = 2**30

HEADER_BYTES = 4 + 4 * _MAX_DIMENSIONS


def declared_size(header: bytes) -> int:
    """Return how many bytes a whole file has according to its header.

    Args:
        header: At least the first `HEADER_BYTES` of the file (or all of a shorter file).

    Raises:
        ValueError: If this is no IDX header, or it declares too much.
    """
    start, shape = _header(header)
    return start + math.prod(shape)


def parse(content: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the array of an IDX file without copying it.

    Args:
        content: The whole file, uncompressed.

    Raises:
        ValueError: If the header is wrong or does not fit the size of the file.
    """
    start, shape = _header(content)
    if len(content) != start + math.prod(shape):
        raise ValueError(
            f"its header declares {math.prod(shape):,} bytes of data, but {len(content) - start:,} follow"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def serialise(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """Return an array of bytes, of 1 to 3 dimensions, as an IDX file."""
    return struct.pack(f">HBB{array.ndim}I", 0, _UNSIGNED_BYTE, array.ndim, *array.shape) + array.tobytes()


def _header(content: bytes) -> tuple[int, tuple[int, ...]]:
    if len(content) < 4:
        raise ValueError(f"it is no IDX file: it has {len(content)} bytes")
    zero, kind, dimensions = struct.unpack_from(">HBB", content)
    if zero != 0 or kind != _UNSIGNED_BYTE or not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise ValueError(f"it is no IDX file of bytes: it begins with {content[:4].hex()}")
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ValueError(f"its header ends after {len(content)} of {start} bytes")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if math.prod(shape) > _MAX_BYTES:
        raise ValueError(f"its header declares {' x '.join(map(str, shape))} bytes, more than {_MAX_BYTES:,}")
    return start, shape
