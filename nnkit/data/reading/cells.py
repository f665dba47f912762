"""Cells, chunk by chunk, as the values of a column: numbers, dates, or codes of texts."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nnkit.data.reading.dates import DateForm, seconds
from nnkit.data.reading.table_file import as_strings
from nnkit.data.reading.values import (
    MINUS,
    MOSTLY,
    PLAIN,
    NumberForm,
    is_missing,
    missing_numbers,
    missing_words,
)

# Different texts of a column that get a code each; a column with more holds no categories.
MAX_VALUES = 100_000
# Cells that tell whether numbers are written as codes are.
_FEW = 1_000


@dataclass
class _Values:
    """What columns of numbers and of dates share.

    Attributes:
        values: One number a row, for dates seconds since 1970; NaN where it is missing, (rows,) float64.
        num_texts: Cells that hold neither a value nor a word for a missing one; they count as missing.
        first_text: Row, counted from 1, and content of the first such cell; row 0 if there is none.
        missing: Words that were taken for a missing value, and how many cells hold each; "" is an empty cell.
    """

    values: NDArray[np.float64]
    num_texts: int = 0
    first_text: tuple[int, str] = (0, "")
    missing: dict[str, int] = field(default_factory=dict)


@dataclass
class Numbers(_Values):
    """A column of numbers.

    Attributes:
        num_infinite: Cells that hold an infinite number; they count as missing.
        forms: How the numbers are written, in each way that is not the plain one; files of a table may differ.
        padded: One of the first cells that begin with a zero, as codes do: 01067; "" if none does.
    """

    num_infinite: int = 0
    forms: tuple[NumberForm, ...] = ()
    padded: str = ""


@dataclass
class Datetimes(_Values):
    """A column of dates.

    Attributes:
        form: How the dates are written; None in files that know dates.
    """

    form: DateForm | None = None


@dataclass
class Texts:
    """A column of texts.

    Attributes:
        codes: Place of each row's text in `values`, -1 where it is missing, (rows,) int32.
        values: The different texts, stripped, in the order of their first appearance.
        missing: As in `Numbers`.
        too_many: Whether there are more than `MAX_VALUES` different ones; codes of the further ones are -1.
    """

    codes: NDArray[np.int32]
    values: list[str]
    missing: dict[str, int] = field(default_factory=dict)
    too_many: bool = False


Column = Numbers | Datetimes | Texts
Kind = Literal["number", "date", "text"]


class Sink(Protocol):
    """Where the values of a column go as they are read."""

    def append(self, values: NDArray[Any]) -> None:
        """Take the next values."""

    def finish(self) -> NDArray[Any]:
        """Return all of them as one array."""


# Makes the sink of a column, by its name and the NumPy type of its values.
MakeSink = Callable[[str, str], Sink]


class InMemory:
    """A sink that keeps values in memory, in one block that grows: of many small ones much is never given back."""

    def __init__(self, name: str, dtype: str) -> None:
        self._dtype = dtype
        self._block = bytearray()

    def append(self, values: NDArray[Any]) -> None:
        """Take the next values."""
        self._block += values.astype(self._dtype, copy=False).tobytes()

    def finish(self) -> NDArray[Any]:
        """Return all of them as one array."""
        return np.frombuffer(self._block, self._dtype)


@dataclass
class _ValueReader:
    """What turns cells into numbers or dates, chunk by chunk, shares.

    Attributes:
        sink: Takes the values.
        form: How they are written, in the file that is read; None in files that know dates.
        missing: Words for a missing value; None: the usual ones.
    """

    sink: Sink
    form: Any
    missing: Collection[str] | None = None
    num_rows: int = 0
    num_values: int = 0
    num_texts: int = 0
    first_text: tuple[int, str] = (0, "")
    words: dict[str, int] = field(default_factory=dict)

    @property
    def holds_texts(self) -> bool:
        """Whether more than a tenth of what the cells hold is something else."""
        return self.num_texts > (1 - MOSTLY) * (self.num_values + self.num_texts)

    def _take(self, values: NDArray[np.float64]) -> None:
        self.num_values += int(np.count_nonzero(~np.isnan(values)))
        self.num_rows += len(values)
        self.sink.append(values)

    def _without_words(self, cells: pa.Array) -> pa.Array:
        """Return texts, stripped; those that stand for a missing value are counted and null."""
        cells = pc.utf8_trim_whitespace(cells)
        words = pa.array(["", *missing_words(self.missing, number=True)], cells.type)
        is_word = pc.is_in(pc.utf8_lower(cells), words)
        for entry in pc.value_counts(cells.filter(is_word)):
            word = entry["values"].as_py()
            self.words[word] = self.words.get(word, 0) + entry["counts"].as_py()
        return pc.if_else(is_word, None, cells)

    def _count_texts(self, cells: pa.Array, is_value: NDArray[np.bool_]) -> None:
        wrong = np.flatnonzero(cells.is_valid().to_numpy(zero_copy_only=False) & ~is_value)
        if len(wrong) and not self.num_texts:
            self.first_text = (self.num_rows + int(wrong[0]) + 1, cells[int(wrong[0])].as_py())
        self.num_texts += len(wrong)


@dataclass
class NumberReader(_ValueReader):
    """Turns cells into numbers, chunk by chunk; see `_ValueReader`."""

    form: NumberForm = PLAIN
    forms: dict[NumberForm, None] = field(default_factory=dict)
    num_infinite: int = 0
    padded: str = ""

    def add(self, cells: pa.Array) -> None:
        """Convert the next cells."""
        if not self.form.is_plain:
            self.forms[self.form] = None
        if pa.types.is_string(cells.type):
            if not self.num_rows:
                few = cells.slice(0, _FEW)
                codes = few.filter(pc.match_substring_regex(few, r"^\s*0\d+\s*$"))
                self.padded = codes[0].as_py() if len(codes) else ""
            cells = self._of_texts(cells)
        values = np.asarray(pc.cast(cells, pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        infinite = np.isinf(values)
        if infinite.any():
            self.num_infinite += int(infinite.sum())
            values = np.where(infinite, np.nan, values)
        for word, number in missing_numbers(self.missing).items():
            if count := int(np.count_nonzero(values == number)):
                self.words[word] = self.words.get(word, 0) + count
                values = np.where(values == number, np.nan, values)
        self._take(values)

    def _of_texts(self, cells: pa.Array) -> pa.Array:
        """Return texts as numbers; whole chunks at once where all of them are numbers as programs write them."""
        if self.form.is_plain and (numbers := as_numbers(cells)) is not None:
            return numbers
        cells = self._without_words(cells)
        if self.form.is_plain and (numbers := as_numbers(cells)) is not None:
            return numbers
        is_number = pc.match_substring_regex(
            cells, f"^(?:{self.form.pattern}|[+-]?(?:inf|infinity|nan))$", ignore_case=True
        )
        self._count_texts(cells, is_number.fill_null(False).to_numpy(zero_copy_only=False))
        cells = pc.if_else(is_number, cells, None)
        for sign in self.form.removed:
            cells = pc.replace_substring(cells, sign, "")
        if self.form.decimal != ".":
            cells = pc.replace_substring(cells, self.form.decimal, ".")
        return pc.cast(pc.utf8_trim_whitespace(pc.replace_substring(cells, MINUS, "-")), pa.float64())

    def finish(self) -> Numbers:
        """Return the column."""
        found = self.num_texts, self.first_text, self.words, self.num_infinite, (*self.forms,), self.padded
        return Numbers(self.sink.finish(), *found)


@dataclass
class DateReader(_ValueReader):
    """Turns cells into dates, chunk by chunk; see `_ValueReader`."""

    form: DateForm | None = None

    def add(self, cells: pa.Array) -> None:
        """Convert the next cells."""
        if self.form is not None and not pa.types.is_temporal(cells.type):
            cells = self._without_words(as_strings(cells))
            values = seconds(cells, self.form)
            self._count_texts(cells, ~np.isnan(values))
        else:
            whole = pc.cast(pc.cast(cells, pa.timestamp("us"), safe=False), pa.int64())
            values = np.asarray(pc.divide(pc.cast(whole, pa.float64()), 1e6).to_numpy(zero_copy_only=False))
        self._take(values)

    def finish(self) -> Datetimes:
        """Return the column."""
        return Datetimes(self.sink.finish(), self.num_texts, self.first_text, self.words, self.form)


@dataclass
class TextReader:
    """Turns cells into codes of texts, chunk by chunk; see `_ValueReader`."""

    sink: Sink
    missing: Collection[str] | None = None
    codes: dict[str, int] = field(default_factory=dict)
    words: dict[str, int] = field(default_factory=dict)
    too_many: bool = False

    def add(self, cells: pa.Array) -> None:
        """Number the next cells."""
        if self.too_many:
            self.sink.append(np.full(len(cells), -1, np.int32))
            return
        encoded = pc.dictionary_encode(pc.utf8_trim_whitespace(as_strings(cells)))
        # A null cell has no index; it takes the last entry.
        values = [*encoded.dictionary.to_pylist(), ""]
        indices = pc.fill_null(encoded.indices, len(values) - 1).to_numpy(zero_copy_only=False)
        table = [
            -1 if is_missing(text, self.missing) else self.codes.setdefault(text, len(self.codes))
            for text in values
        ]
        counts = np.bincount(indices, minlength=len(table)).tolist()
        for text, code, count in zip(values, table, counts, strict=True):
            if code < 0 < count:
                self.words[text] = self.words.get(text, 0) + count
        codes = np.array(table, np.int32)[indices]
        if len(self.codes) > MAX_VALUES:
            self.too_many = True
            codes = np.where(codes < MAX_VALUES, codes, -1).astype(np.int32)
            self.codes = dict(list(self.codes.items())[:MAX_VALUES])
        self.sink.append(codes)

    def finish(self) -> Texts:
        """Return the column."""
        return Texts(self.sink.finish(), list(self.codes), self.words, self.too_many)


ColumnReader = NumberReader | DateReader | TextReader


def as_numbers(cells: pa.Array) -> pa.Array | None:
    """Return texts as numbers, None if some are not written as programs write numbers."""
    try:
        return pc.cast(cells, pa.float64())
    except pa.ArrowInvalid:
        return None
