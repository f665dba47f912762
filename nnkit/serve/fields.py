"""What a JSON body may hold: each field declared once, from which it is checked and described in OpenAPI."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnkit.files.json_limits import check_cost
from nnkit.serve.refusal import Refusal
from nnkit.suggest import did_you_mean

# Characters of a value that a sentence quotes.
_QUOTED = 60
# What a number of JSON may be, beyond which it is no measurement.
_LARGEST = 1e300


def parse(data: bytes) -> Any:
    """Return what a body says.

    Raises:
        Refusal: If it is no JSON of reasonable depth and size, or holds a number that is not finite.
    """
    try:
        check_cost(data)
        return json.loads(data.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise Refusal(
            400, f"the body is not UTF-8 (byte {error.start}): send JSON encoded as UTF-8"
        ) from error
    except RecursionError as error:
        raise Refusal(400, "the body is nested too deeply: send a list of plain values") from error
    except json.JSONDecodeError as error:
        text = (
            f"the body is not JSON (line {error.lineno}, column {error.colno}: {error.msg}): send an object"
        )
        raise Refusal(400, text) from error
    except ValueError as error:
        raise Refusal(400, f"the body cannot be read: {error}") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON; leave a missing value out, or send null")


def _finite(text: str) -> float:
    value = float(text)
    if not abs(value) < _LARGEST:
        raise ValueError(f"{text[:_QUOTED]} is too large a number, it must be below {_LARGEST:g}")
    return value


def quoted(value: Any) -> str:
    """Return a value as JSON for a sentence, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 1]}…"


def is_text(value: Any) -> bool:
    """Return whether a value is a text that can be written as UTF-8."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number, which true and false are not."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < _LARGEST
        and math.isfinite(value)
    )


@dataclass(frozen=True)
class Field(ABC):
    """One field of a JSON object.

    Attributes:
        name: Its name.
        help: What it is.
        default: Its value where it is absent or null.
        required: Whether it must be there.
    """

    name: str
    help: str
    default: Any = None
    required: bool = False

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""

    @abstractmethod
    def checked(self, value: Any) -> Any:
        """Return the value that is used; a Refusal if it is another than the schema says."""

    def wrong(self, expected: str, value: Any) -> Refusal:
        """Return the refusal of a value."""
        return Refusal(400, f"{self.name} must be {expected}, not {quoted(value)}")


@dataclass(frozen=True)
class Number(Field):
    """A number.

    Attributes:
        least: The least it may be.
        most: The most it may be.
        whole: Whether it is a whole number.
    """

    least: float = 0
    most: float = _LARGEST
    whole: bool = True

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        kind = "integer" if self.whole else "number"
        found = {"type": kind, "description": self.help, "minimum": self.least, "maximum": self.most}
        return found if self.default is None else {**found, "default": self.default}

    def checked(self, value: Any) -> Any:
        """Return the number."""
        fits = is_number(value) and (not self.whole or isinstance(value, int))
        if not fits or not self.least <= value <= self.most:
            what = "a whole number" if self.whole else "a number"
            raise self.wrong(f"{what} from {self.least:g} to {self.most:g}", value)
        return value


@dataclass(frozen=True)
class Flag(Field):
    """True or false."""

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        return {"type": "boolean", "description": self.help, "default": bool(self.default)}

    def checked(self, value: Any) -> bool:
        """Return the value."""
        if not isinstance(value, bool):
            raise self.wrong("true or false", value)
        return value


@dataclass(frozen=True)
class Text(Field):
    """A text.

    Attributes:
        most: Characters it may have.
    """

    most: int = 10_000

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        return {"type": "string", "description": self.help, "maxLength": self.most}

    def checked(self, value: Any) -> str:
        """Return the text."""
        if not is_text(value):
            raise self.wrong("a text of Unicode characters", value)
        if len(value) > self.most:
            raise Refusal(
                400, f"{self.name} has {len(value):,} characters, at most {self.most:,} are read: shorten it"
            )
        return str(value)


@dataclass(frozen=True)
class ListOf(Field):
    """A list of values of one kind.

    Attributes:
        item: What each is.
        least: The fewest.
        most: The most.
    """

    item: Field = Text("item", "")
    least: int = 1
    most: int = 256

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        return {
            "type": "array",
            "description": self.help,
            "items": self.item.schema(),
            "minItems": self.least,
            "maxItems": self.most,
        }

    def checked(self, value: Any) -> list[Any]:
        """Return the values."""
        if not isinstance(value, list):
            raise self.wrong("a list", value)
        if not self.least <= len(value) <= self.most:
            raise Refusal(
                400,
                f"{self.name} must hold {self.least:,} to {self.most:,} items, not {len(value):,}",
            )
        return [self.item.checked(one) for one in value]


@dataclass(frozen=True)
class Cells(Field):
    """An object of plain values, such as a row of a table by the names of its columns.

    Attributes:
        columns: The columns that are read, with what each is.
        most: Values it may have.
    """

    columns: Mapping[str, dict[str, Any]] | None = None
    most: int = 10_000

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        return {"type": "object", "description": self.help, "properties": dict(self.columns or {})}

    def checked(self, value: Any) -> dict[str, Any]:
        """Return the object."""
        if not isinstance(value, dict) or not 0 < len(value) <= self.most:
            raise self.wrong("an object of columns and their values", value)
        for name, cell in value.items():
            if not is_text(name):
                raise Refusal(400, f"{self.name}: the column {quoted(name)} is no text of Unicode characters")
            if not (cell is None or isinstance(cell, bool) or is_number(cell) or is_text(cell)):
                raise Refusal(
                    400,
                    f"{self.name}: column {quoted(name)} must be a number, a text or null, not {quoted(cell)}",
                )
        return value


@dataclass(frozen=True)
class Nested(Field):
    """Numbers in lists of lists of one shape.

    Attributes:
        shape: Their shape; a first axis of any length may stand before it.
    """

    shape: Sequence[int] = ()

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        return {"type": "array", "description": f"{self.help}, of the shape {tuple(self.shape)}", "items": {}}

    def checked(self, value: Any) -> Any:
        """Return the numbers as an array."""
        import numpy as np

        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            array = np.array("")
        if array.dtype.kind != "f" or array.shape != tuple(self.shape) or not np.isfinite(array).all():
            raise self.wrong(f"numbers of the shape {tuple(self.shape)}", value)
        return array


def checked(body: Any, fields: Sequence[Field]) -> dict[str, Any]:
    """Return the value of each field of a body.

    Raises:
        Refusal: If it is no object, or one of its fields is unknown, missing or wrong.
    """
    known = [field.name for field in fields]
    if not isinstance(body, dict):
        raise Refusal(400, f"the body must be an object with {', '.join(known)}, not {quoted(body)}")
    for name in body:
        if name not in known:
            near = did_you_mean(str(name), known) or f"; it takes {', '.join(known)}"
            raise Refusal(400, f"there is no field {quoted(name)}{near}")
    values = {}
    for field in fields:
        value = body.get(field.name)
        if value is None and field.required:
            raise Refusal(400, f"{field.name} is missing: send {field.help}")
        values[field.name] = field.default if value is None else field.checked(value)
    return values
