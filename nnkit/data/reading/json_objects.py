"""Rows of JSON: an object on each line, or one array of objects."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from nnkit.data.reading.encodings import find_encoding, to_text
from nnkit.data.reading.part import Part
from nnkit.data.reading.user_files import numbered_lines, open_bytes, refuse_lines
from nnkit.errors import UserError

# Rows that tell which keys there are, and rows that are converted at once.
_SAMPLE = 1_000
_ROWS = 1 << 14


class _Problem(str):
    """What is wrong with a row."""


class JsonPart(Part):
    """A file of JSON lines, or of one JSON array of objects; a row is named by its line, or by its place in the array.

    Args:
        path: The file, plain or .gz.
        title: What messages call it.

    Raises:
        UserError: If none of the first rows is an object.
    """

    def __init__(self, path: Path, title: str) -> None:
        self._path, self._title = path, title
        self._encoding = find_encoding(path).name
        with open_bytes(path) as file:
            self._is_array = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
        rows = list(islice(self._rows(), _SAMPLE))
        self.names = list(dict.fromkeys(key for _, row in rows if isinstance(row, dict) for key in row))
        if not self.names:
            refuse_lines(self._title, [(number, row) for number, row in rows if isinstance(row, str)])
            raise UserError(f"{title} holds no JSON object with a key")

    def _rows(self) -> Iterator[tuple[int, dict[str, Any] | _Problem]]:
        with open_bytes(self._path) as file:
            if self._is_array:
                found = self._parse(file.read().removeprefix(b"\xef\xbb\xbf"))
                if isinstance(found, _Problem):
                    raise UserError(f"{self._title}: {found}")
                yield from ((number, _object(value)) for number, value in enumerate(found, 1))
                return
            for number, line in numbered_lines(self._title, file):
                if line.strip():
                    yield number, _object(self._parse(line))

    def _parse(self, data: bytes) -> Any:
        """Return what the bytes hold, or why they hold nothing."""
        try:
            return json.loads(to_text(data, self._encoding))
        except UserError as error:
            return _Problem(error)
        except json.JSONDecodeError as error:
            return _Problem(f"no JSON: {error.msg} at character {error.pos + 1}")
        except (ValueError, RecursionError):
            return _Problem("no JSON that can be read: a number is too long or brackets are too deep")

    def batches(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """Yield the rows; a key that a row lacks is null; see `Part.batches`."""
        names = list(columns or self.names)
        problems: list[tuple[int, str]] = []
        rows = self._rows()
        while chunk := list(islice(rows, _ROWS)):
            problems += [(number, row) for number, row in chunk if isinstance(row, str)]
            objects = [row for _, row in chunk if isinstance(row, dict)]
            columns = [_column([row.get(name) for row in objects]) for name in names]
            yield pa.record_batch(columns, names=names)
        refuse_lines(self._title, problems)


def _object(value: Any) -> dict[str, Any] | _Problem:
    if isinstance(value, dict | _Problem):
        return value
    kinds: dict[type, str] = {str: "a string", list: "a list", bool: "true or false", type(None): "null"}
    return _Problem(f"not a JSON object ({{...}}) but {kinds.get(type(value), 'a number')}")


def _column(values: list[Any]) -> pa.Array:
    """Return values as one array; of several kinds, as texts."""
    kinds = {type(value) for value in values} - {type(None)}
    is_large = any(isinstance(value, int) and abs(value) >= 1 << 63 for value in values)
    if kinds <= {int, float} and not is_large:
        return pa.array(values, pa.int64() if kinds == {int} else pa.float64())
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    is_text = (str, type(None))
    texts = [one if isinstance(one, is_text) else json.dumps(one, ensure_ascii=False) for one in values]
    return pa.array(texts, pa.string())
