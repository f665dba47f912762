"""Data of a Python program, kept as a file that a run finds again: a data frame as Parquet, arrays as .npz."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nnkit.data.cache import cache_dir, explained, sha256_of
from nnkit.data.reading.table_file import as_strings
from nnkit.data.reading.values import parse_number
from nnkit.errors import UserError

_ACCEPTED = "a pandas or polars data frame, an Arrow table, or a dict of NumPy arrays"


def keep(data: Any, *, as_arrays: bool, folder: Path | None = None) -> Path:
    """Write data to a file and return its path, which follows from their contents: equal data have one file.

    Args:
        data: A data frame, or a mapping from names to arrays.
        as_arrays: Whether to write a .npz file of arrays of any shape rather than a table.
        folder: Where to; None: the cache.

    Raises:
        UserError: If the data are of another kind, or cannot be written so.
        EnvironmentFault: If the folder cannot be written.
    """
    content = _arrays(data) if as_arrays else _table(data)
    folder = folder or cache_dir() / "frames"
    temporary = folder / f"{os.getpid()}.part"
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, temporary)
        else:
            with temporary.open("wb") as file:
                np.savez(file, **content)
        path = folder / f"{sha256_of(temporary)[:16]}{'.npz' if as_arrays else '.parquet'}"
        temporary.replace(path)
    return path


def _arrays(data: Any) -> dict[str, np.ndarray[Any, Any]]:
    if not isinstance(data, Mapping):
        raise UserError(
            f"arrays are given as a dict such as {{'x': inputs, 'y': targets}}, not a {type(data).__name__}"
        )
    arrays = {str(name): np.asarray(array) for name, array in data.items()}
    if odd := [name for name, array in arrays.items() if array.dtype.hasobject]:
        raise UserError(f"array {odd[0]!r} holds Python objects: give numbers or texts")
    return arrays


def _table(data: Any) -> pa.Table:
    try:
        return as_table(data)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise UserError(f"the data cannot be made a table: {' '.join(str(error).split())}") from error


def as_table(data: Any) -> pa.Table:
    """Return a data frame as an Arrow table of plain columns, without what belongs to the program that made it.

    The index of a pandas data frame becomes a column if it has a name or holds times.

    Args:
        data: See `keep`.

    Raises:
        UserError: If it is none.
        pa.ArrowException: If a column cannot be converted; also ValueError and TypeError, as pyarrow raises them.
    """
    if type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns"):
        # Periods stand for the time at which they begin.
        periods = [name for name in data.columns if str(data.dtypes[name]).startswith("period")]
        data = data.assign(**{name: data[name].dt.to_timestamp() for name in periods}) if periods else data
        data = data.set_axis(data.index.to_timestamp()) if hasattr(data.index, "to_timestamp") else data
        index = data.index
        keeps = any(name is not None for name in index.names) or index.dtype.kind == "M"
        table = pa.Table.from_pandas(data.reset_index() if keeps else data, preserve_index=False)
    elif isinstance(data, Mapping):
        table = pa.table({str(name): values for name, values in data.items()})
    elif hasattr(data, "__arrow_c_stream__"):
        table = pa.table(data)
    else:
        raise UserError(f"data must be {_ACCEPTED}, not a {type(data).__name__}")
    if not table.num_rows:
        raise UserError("the data have no rows")
    return pa.table(dict(zip(table.column_names, map(_plain, table.columns), strict=True)))


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece, its texts as strings, however the program holds them."""
    if pa.types.is_dictionary(column.type):
        words = [as_strings(_storage(chunk.dictionary)).take(chunk.indices) for chunk in column.chunks]
        column = pa.chunked_array(words, pa.string())
        if all(parse_number(word or "") is not None for word in column.unique().to_pylist()):
            # Else they would be read as numbers.
            column = column.dictionary_encode()
    kind = column.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        column = column.cast(pa.string())
    return column.combine_chunks()


def _storage(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array, pa.ExtensionArray) else array
