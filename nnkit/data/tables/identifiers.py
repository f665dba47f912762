"""Columns that number or label the rows: nothing that could be learnt from them holds for other rows."""

import re
from collections.abc import Iterable
from itertools import islice

import numpy as np
from numpy.typing import NDArray

# Names of columns that number or label the rows; "unnamed" is what a column without a name is called.
_ID_NAME = re.compile(
    r"(.*[_\s.-])?(id|idx|index|nr|no|obs|observation|row|rowid|uuid|guid|unnamed)([:_\s]*\d+)?|.*[a-z](Id|ID)",
    re.ASCII,
)
_UUID = re.compile(r"\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?", re.IGNORECASE)
_MIN_ROWS = 5
_EXAMINED = 1_000


def numbers_rows(name: str, values: NDArray[np.float64]) -> bool:
    """Return whether a column of that name with these numbers, none missing, numbers the rows: whole, each once."""
    if len(values) < _MIN_ROWS or not (_ID_NAME.fullmatch(name) or _ID_NAME.fullmatch(name.lower())):
        return False
    return bool((values == np.floor(values)).all()) and len(np.unique(values)) == len(values)


def counts_rows(values: NDArray[np.float64], rows: NDArray[np.int64]) -> bool:
    """Return whether the numbers of some rows are the places of these rows, counted from 0 or 1.

    Args:
        values: A number for each row of the table.
        rows: The rows.
    """
    first = values[rows[:1]] - rows[:1]
    return len(rows) >= _MIN_ROWS and first[0] in (0, 1) and bool((values[rows] - rows == first).all())


def are_uuids(texts: Iterable[str]) -> bool:
    """Return whether texts, at least one, are universally unique identifiers; the first ones decide."""
    examined = list(islice(texts, _EXAMINED))
    return bool(examined) and all(map(_UUID.fullmatch, examined))


def label_rows(num_different: int, num_rows: int) -> bool:
    """Return whether there are so many different texts that they label the rows."""
    return num_different >= _MIN_ROWS and num_different > num_rows / 2
