"""The IDX format (LeCun's MNIST page), and datasets published as four IDX files: pictures and labels of two parts."""

import hashlib
import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from nnkit.data.cache import cache_dir, commit, new_array, open_arrays, prepared
from nnkit.data.download.sources import (
    DataFile,
    Published,
    collect,
    fingerprint,
    locate,
    own_copy,
)
from nnkit.data.pictures.base import PictureData, PictureSet, picture_statistics
from nnkit.errors import UserError
from nnkit.files.paths import expand

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

SIDE = 28
NUM_CLASSES = 10
_CHUNK = 2000
_NUM_TRAIN = 60_000
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
class IdxPictures(PictureData):
    """Base of MNIST and its relatives: grey pictures of 28x28 in 10 classes.

    Attributes:
        root: Folder with the four files, plain or .gz; None: cache, system folders, mirrors, package index.
        verify: Whether files in `root` must be the published ones; False admits others of the same format.

    Raises:
        ValueError: If an option is out of range.
    """

    root: str | None = None
    verify: bool = True
    val_fraction: float = 1 / 12
    test_fraction: float = field(default=0.0, init=False)

    shape = (1, SIDE, SIDE)
    published: ClassVar[Published]
    class_names: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.root is None and not self.verify:
            raise ValueError("verify can be false only where root names a folder")

    def open(self) -> PictureSet:
        """Open the prepared arrays, prepared from the four files if need be."""
        folder, key, paths = self._where()
        opened = prepared(folder, key, lambda: self._prepare_arrays(folder, key, paths))
        arrays, num_train = opened.arrays, opened.facts["num_train"]
        return PictureSet(
            title=self.published.title,
            pixels=torch.from_numpy(arrays["pixels"]),
            targets=torch.from_numpy(arrays["targets"]),
            statistics=torch.from_numpy(arrays["statistics"]),
            class_names=list(self.class_names),
            fingerprint=opened.facts["fingerprint"],
            parts={
                "train": torch.arange(num_train),
                "test": torch.arange(num_train, len(arrays["targets"])),
            },
        )

    def num_train_samples(self) -> int:
        """Return the number of training pictures; from what is published where it is not here yet."""
        folder, key, paths = self._where()
        if self.preprocessing or paths is not None or open_arrays(folder, key) is not None:
            return super().num_train_samples()
        return round((_NUM_TRAIN - round(_NUM_TRAIN * self.val_fraction)) * (self.subset or 1.0))

    def _where(self) -> tuple[Path, Any, dict[str, Path] | None]:
        """Return the folder of the prepared arrays, what they depend on, and the user's own files."""
        home = cache_dir() / self.published.folder
        if self.root is None:
            return home / "prepared", self.published.fingerprint, None
        root = expand(self.root)
        paths = locate(self.published, root)
        statuses = [(path.resolve(), path.stat()) for path in paths.values()]
        stamps = [[str(path), status.st_size, status.st_mtime_ns] for path, status in statuses]
        own = fingerprint([str(root.resolve()), str(self.verify)])[:16]
        return home / f"prepared-{own}", stamps, paths

    def _prepare_arrays(self, folder: Path, key: Any, paths: dict[str, Path] | None) -> None:
        if paths is None:
            contents = collect(self.published)
            hashes = [file.sha256 for file in self.published.files]
        else:
            limit = (None, 0) if self.verify else (declared_size, HEADER_BYTES)
            contents = {file.name: own_copy(file, paths[file.name], *limit) for file in self.published.files}
            hashes = [hashlib.sha256(content).hexdigest() for content in contents.values()]
        parsed = [_parse(file.name, contents.pop(file.name)) for file in self.published.files]
        train_pictures, train_labels, test_pictures, test_labels = parsed
        _check_part(train_pictures, train_labels, f"{self.published.title}'s training part")
        _check_part(test_pictures, test_labels, f"{self.published.title}'s test part")
        num_all = len(train_pictures) + len(test_pictures)
        statistics = []
        with new_array(folder, "pixels", (num_all, 1, SIDE, SIDE), "u1") as pixels:
            pixels[: len(train_pictures), 0] = train_pictures
            pixels[len(train_pictures) :, 0] = test_pictures
            for start in range(0, num_all, _CHUNK):
                statistics.append(picture_statistics(pixels[start : start + _CHUNK]))
        facts = {"num_train": len(train_pictures), "fingerprint": fingerprint(hashes)}
        targets = np.concatenate([train_labels, test_labels]).astype(np.int64)
        commit(folder, key, facts, {"targets": targets, "statistics": np.concatenate(statistics)})


def _check_part(pictures: Bytes, labels: Bytes, origin: str) -> None:
    if pictures.shape[1:] != (SIDE, SIDE):
        size = "x".join(map(str, pictures.shape[1:])) or "no size"
        raise UserError(f"{origin} has pictures of {size}, not of {SIDE}x{SIDE}")
    if labels.ndim != 1:
        raise UserError(f"{origin} has labels of {labels.ndim} dimensions, not of one")
    if len(pictures) == 0:
        raise UserError(f"{origin} holds no pictures")
    if len(labels) != len(pictures):
        raise UserError(f"{origin} holds {len(pictures):,} pictures but {len(labels):,} labels")
    outside = int((labels >= NUM_CLASSES).sum())
    if outside:
        raise UserError(
            f"{outside:,} of {len(labels):,} labels of {origin} lie outside 0 to {NUM_CLASSES - 1}; "
            f"the largest is {int(labels.max())}"
        )


def _parse(name: str, content: bytes) -> Bytes:
    try:
        return parse(content)
    except ValueError as error:
        raise UserError(f"{name} cannot be used: {error}") from error
