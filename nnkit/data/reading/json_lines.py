"""Files of JSON lines: an object on each, and what is wrong with those that hold none."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nnkit.data.reading.user_files import decoded, numbered_lines, open_bytes
from nnkit.errors import UserError
from nnkit.suggest import some_of

# Mistakes that a message names.
_LISTED = 5


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield the number of each line that is not blank, and its object or the sentence that says why it holds none.

    Args:
        path: An existing file, plain or .gz.

    Raises:
        UserError: If it is a damaged gzip file, or a line is far too long.
    """
    with open_bytes(path) as file:
        for number, line in numbered_lines(path, file):
            if line.strip():
                yield number, _object(line)


def _object(line: bytes) -> dict[str, Any] | str:
    try:
        value = json.loads(decoded(line))
    except UserError as error:
        return str(error)
    except json.JSONDecodeError as error:
        return f"no JSON: {error.msg} at character {error.pos + 1}"
    except (ValueError, RecursionError):
        return "no JSON that can be read: a number is too long or brackets are too deep"
    return value if isinstance(value, dict) else f"not a JSON object ({{...}}) but {_kind(value)}"


def text_of(record: dict[str, Any], key: str) -> tuple[str, str]:
    """Return the text under a key and "", or "" and the sentence that says why there is none."""
    if key not in record:
        return "", f"no key {key!r}"
    value = record[key]
    if not isinstance(value, str):
        return "", f"{key!r} must be a string, not {_kind(value)}"
    return value.strip(), ""


def label_of(record: dict[str, Any], key: str) -> tuple[str | None, str]:
    """Return the label under a key, None for null or an empty one, and ""; or None and what is wrong with it."""
    if key not in record:
        return None, f"no key {key!r}"
    value = record[key]
    if isinstance(value, (list, dict)):
        return None, f"{key!r} must be a string or a number, not {_kind(value)}"
    if value is None:
        return None, ""
    return (value.strip() or None) if isinstance(value, str) else json.dumps(value), ""


def refuse_lines(path: str, problems: list[tuple[int, str]]) -> None:
    """Refuse a file with wrong lines.

    Raises:
        UserError: If there are any; names the first ones.
    """
    if problems:
        listed = some_of([f"line {line}: {problem}" for line, problem in problems], _LISTED, "\n    ")
        lines = "1 line" if len(problems) == 1 else f"{len(problems):,} lines"
        raise UserError(f"{path}: {lines} cannot be read\n    {listed}")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    kinds: dict[type, str] = {str: "a string", list: "a list", dict: "an object"}
    return kinds.get(type(value), "a number")
