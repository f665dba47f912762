"""Large tables: read once into files of the cache, which later starts open without reading the table again."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.data.cache import cache_dir, commit, explained, new_array, open_arrays, prepared
from nnkit.data.reading.cells import MakeSink, Sink
from nnkit.data.splits import SPLITS, Split
from nnkit.data.tables.columns import Features, MakeArray, cardinalities, num_features

# Bytes of its files from which a table is large; smaller ones are read faster than they are looked up.
LARGE = 1 << 25
# Raised when features are computed in another way, so that tables are prepared again.
_FORMAT = 1

_logger = logging.getLogger("nnkit")


class PreparedTable(NamedTuple):
    """A table as it is trained on.

    Attributes:
        features: Features of all rows.
        targets: Target of each row, (n,) int64 or (n, outputs) float32.
        rows: Rows of each split, int64.
    """

    features: Features
    targets: Tensor
    rows: dict[Split, Tensor]


# What makes a prepared table: given where columns and features go, returns it with what was learnt.
Make = Callable[[MakeSink, MakeArray], tuple[PreparedTable, dict[str, Any]]]


class _FileSink:
    """Values of a column in a file, beyond what fits into memory."""

    def __init__(self, path: Path, dtype: str) -> None:
        self._path, self._dtype = path, np.dtype(dtype)
        self._file = path.open("wb")

    def append(self, values: NDArray[Any]) -> None:
        """Take the next values."""
        self._file.write(np.ascontiguousarray(values, self._dtype).data)

    def finish(self) -> NDArray[Any]:
        """Return all of them, memory-mapped."""
        self._file.close()
        return np.memmap(self._path, self._dtype, mode="c")


@contextmanager
def _file_sinks(folder: Path) -> Iterator[MakeSink]:
    """Yield what makes sinks in a folder; their files are gone when the block ends."""
    paths: list[Path] = []
    numbers = count()

    def make_sink(name: str, dtype: str) -> Sink:
        # The ending is that of files that a process leaves behind if it is killed; see `nnkit.data.cache.locked`.
        paths.append(folder / f"column-{next(numbers)}.part")
        return _FileSink(paths[-1], dtype)

    try:
        yield make_sink
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


class _Recorder(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.said: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.said.append((record.levelno, record.getMessage()))


def stored(key: Mapping[str, Any], make: Make) -> tuple[PreparedTable, dict[str, Any]]:
    """Return a prepared table from the cache; where it is not there, it is made.

    What was logged while it was made is logged again when it is found in the cache.

    Args:
        key: What it is made from, JSON data.
        make: Makes it.

    Returns:
        The table, its arrays memory-mapped, and what was learnt.

    Raises:
        EnvironmentFault: If the cache cannot be written.
    """
    folder, key = _place(key)
    made = False

    def write() -> None:
        nonlocal made
        made = True
        recorder = _Recorder()
        _logger.addHandler(recorder)
        try:
            _write(folder, key, make, recorder)
        finally:
            _logger.removeHandler(recorder)

    found = prepared(folder, key, write)
    for level, sentence in () if made else found.facts["said"]:
        _logger.log(level, "%s", sentence)
    return _opened(found.arrays, found.facts["learnt"]), found.facts["learnt"]


def find(key: Mapping[str, Any]) -> tuple[PreparedTable, dict[str, Any]] | None:
    """Return what `stored` would, nothing logged; None if it is not in the cache."""
    found = open_arrays(*_place(key))
    return None if found is None else (_opened(found.arrays, found.facts["learnt"]), found.facts["learnt"])


def _place(key: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a key, and the key with the format of what is stored."""
    whole = {**key, "format": _FORMAT}
    name = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
    return cache_dir() / "tables" / name[:16], whole


def _write(folder: Path, key: Mapping[str, Any], make: Make, recorder: _Recorder) -> None:
    with ExitStack() as stack:

        def make_array(name: str, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
            if 0 in shape:
                return np.empty(shape, dtype)
            return stack.enter_context(new_array(folder, name, shape, dtype))

        with explained(folder), _file_sinks(folder) as make_sink:
            table, learnt = make(make_sink, make_array)
            targets = table.targets.numpy()
            make_array("targets", targets.shape, targets.dtype.str)[:] = targets
            splits = make_array("splits", (len(targets),), "i1")
            splits[:] = -1
            for place, split in enumerate(SPLITS):
                splits[table.rows[split].numpy()] = place
    commit(folder, key, {"learnt": learnt, "said": recorder.said})


def _opened(arrays: Mapping[str, NDArray[Any]], learnt: Mapping[str, Any]) -> PreparedTable:
    num_rows = len(arrays["splits"])
    empty = {"numbers": np.empty((num_rows, 0), "f4"), "codes": np.empty((num_rows, 0), "i4")}
    numbers, codes, targets = (
        torch.from_numpy(({**empty, **arrays})[name]) for name in ("numbers", "codes", "targets")
    )
    features = Features(
        numbers, codes, num_features(learnt["columns"])[1], len(cardinalities(learnt["columns"]))
    )
    rows = {
        split: torch.from_numpy(np.flatnonzero(arrays["splits"] == place))
        for place, split in enumerate(SPLITS)
    }
    return PreparedTable(features, targets, rows)
