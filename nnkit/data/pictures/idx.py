"""The IDX format (LeCun's MNIST page), and datasets published as four IDX files: pictures and labels of two parts."""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from nnkit.data.download.sources import DataFile, collect, own_copy
from nnkit.data.pictures.published import Bytes, Part, PublishedPictures
from nnkit.errors import UserError

SIDE = 28
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


def parse(content: bytes) -> Bytes:
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


def serialise(array: Bytes) -> bytes:
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


def four_files(hashes: tuple[str, str, str, str]) -> tuple[DataFile, ...]:
    """Return the files of a dataset of MNIST's size and names.

    Args:
        hashes: SHA-256 of training pictures, training labels, test pictures and test labels.
    """
    names = [f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    sizes = (16 + 60_000 * SIDE**2, 8 + 60_000, 16 + 10_000 * SIDE**2, 8 + 10_000)
    return tuple(DataFile(*file) for file in zip(names, sizes, hashes, strict=True))


@dataclass(kw_only=True, eq=False)
class IdxPictures(PublishedPictures):
    """Base of MNIST and its relatives: grey pictures of 28x28 in 10 classes, in four files, plain or .gz."""

    val_fraction: float = 1 / 12

    shape = (1, SIDE, SIDE)
    num_train: ClassVar[int] = 60_000

    def read_parts(self, paths: dict[str, Path] | None) -> tuple[list[Part], list[bytes]]:
        """Read the four files."""
        if paths is None:
            found = collect(self.published)
            contents = [found[file.name] for file in self.published.files]
        else:
            limit = (None, 0) if self.verify else (declared_size, HEADER_BYTES)
            contents = [own_copy(file, paths[file.name], *limit) for file in self.published.files]
        arrays = [
            _parse(file.name, content) for file, content in zip(self.published.files, contents, strict=True)
        ]
        for pictures, part in zip(arrays[::2], ("training", "test"), strict=True):
            if pictures.shape[1:] != (SIDE, SIDE):
                size = "x".join(map(str, pictures.shape[1:])) or "no size"
                raise UserError(
                    f"{self.published.title}'s {part} part has pictures of {size}, not of {SIDE}x{SIDE}"
                )
        train_pictures, train_labels, test_pictures, test_labels = arrays
        return [(train_pictures[:, None], train_labels), (test_pictures[:, None], test_labels)], contents


def _parse(name: str, content: bytes) -> Bytes:
    try:
        return parse(content)
    except ValueError as error:
        raise UserError(f"{name} cannot be used: {error}") from error
