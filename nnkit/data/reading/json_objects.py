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

_Row = tuple[int, dict[str, Any] | str]


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
        keys: dict[str, None] = {}
        problems = []
        for number, row in islice(self._rows(), _SAMPLE):
            if isinstance(row, str):
                problems.append((number, row))
            else:
                keys.update(dict.fromkeys(row))
        if not keys:
            refuse_lines(self._title, problems)
            raise UserError(f"{title} holds no JSON object with a key")
        self.names = list(keys)

    def _rows(self) -> Iterator[_Row]:
        if self._is_array:
            yield from self._of_array()
            return
        with open_bytes(self._path) as file:
            for number, line in numbered_lines(self._title, file):
                if line.strip():
                    yield number, self._object(line)

    def _of_array(self) -> Iterator[_Row]:
        with open_bytes(self._path) as file:
            found = self._parse(file.read().removeprefix(b"\xef\xbb\xbf"))
        if isinstance(found, str):
            raise UserError(f"{self._title}: {found}")
        for number, value in enumerate(found, 1):
            yield number, value if isinstance(value, dict) else _no_object(value)

    def _object(self, line: bytes) -> dict[str, Any] | str:
        value = self._parse(line)
        return value if isinstance(value, dict | str) and not isinstance(value, _Text) else _no_object(value)

    def _parse(self, data: bytes) -> Any:
        """Return what the bytes hold, or the sentence that says why they hold nothing; a string is a `_Text`."""
        try:
            value = json.loads(to_text(data, self._encoding))
        except UserError as error:
            return str(error)
        except json.JSONDecodeError as error:
            return f"no JSON: {error.msg} at character {error.pos + 1}"
        except (ValueError, RecursionError):
            return "no JSON that can be read: a number is too long or brackets are too deep"
        return _Text(value) if isinstance(value, str) else value

    def batches(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """Yield the rows; a key that a row lacks is null; see `Part.batches`."""
        names = list(columns or self.names)
        problems: list[tuple[int, str]] = []
        rows = self._rows()
        while chunk := list(islice(rows, _ROWS)):
            problems += [(number, row) for number, row in chunk if isinstance(row, str)]
            objects = [row for _, row in chunk if not isinstance(row, str)]
            yield pa.record_batch(
                [_column([row.get(name) for row in objects]) for name in names], names=names
            )
        refuse_lines(self._title, problems)


class _Text(str):
    """A JSON string where an object was expected."""


def _no_object(value: object) -> str:
    kinds: dict[type, str] = {_Text: "a string", list: "a list", bool: "true or false"}
    kind = "null" if value is None else kinds.get(type(value), "a number")
    return f"not a JSON object ({{...}}) but {kind}"


def _column(values: list[Any]) -> pa.Array:
    """Return values as one array; of several kinds, as texts."""
    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {int, float} and not any(
        isinstance(value, int) and abs(value) >= 1 << 63 for value in values
    ):
        return pa.array(values, pa.int64() if kinds == {int} else pa.float64())
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
