"""Cells, chunk by chunk, as the values of a column: numbers, dates, or codes of texts."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nnkit.data.reading.dates import DateForm, seconds
from nnkit.data.reading.table_file import as_strings
from nnkit.data.reading.values import MINUS, MOSTLY, PLAIN, NumberForm, is_missing, missing_words

# Different texts of a column that get a code each; a column with more holds no categories.
MAX_VALUES = 100_000
# Values in the first and in the largest block of a column in memory.
_SMALLEST_BLOCK, _LARGEST_BLOCK = 1 << 10, 1 << 20


@dataclass
class Numbers:
    """A column of numbers.

    Attributes:
        values: One number a row, NaN where it is missing, (rows,) float64.
        num_texts: Cells that hold neither a number nor a word for a missing one; they count as missing.
        num_infinite: Cells that hold an infinite number; they count as missing.
        first_text: Row, counted from 1, and content of the first such text; row 0 if there is none.
        missing: Words that were taken for a missing value, and how many cells hold each; "" is an empty cell.
        form: How the numbers are written.
    """

    values: NDArray[np.float64]
    num_texts: int = 0
    num_infinite: int = 0
    first_text: tuple[int, str] = (0, "")
    missing: dict[str, int] = field(default_factory=dict)
    form: NumberForm = PLAIN


@dataclass
class Datetimes:
    """A column of dates.

    Attributes:
        values: Seconds since 1970, NaN where there is no date, (rows,) float64.
        form: How the dates are written; None in files that know dates.
        num_texts: Cells that hold neither a date nor a word for a missing one; they count as missing.
        first_text: As in `Numbers`.
        missing: As in `Numbers`.
    """

    values: NDArray[np.float64]
    form: DateForm | None = None
    num_texts: int = 0
    first_text: tuple[int, str] = (0, "")
    missing: dict[str, int] = field(default_factory=dict)


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


class InMemory:
    """A sink that keeps values in memory, in a few large blocks: of many small ones much would never be given back."""

    def __init__(self, name: str, dtype: str) -> None:
        self._blocks = [np.empty(_SMALLEST_BLOCK, dtype)]
        self._used = 0

    def append(self, values: NDArray[Any]) -> None:
        """Take the next values."""
        while len(values):
            block = self._blocks[-1]
            room = len(block) - self._used
            taken, values = values[:room], values[room:]
            block[self._used : self._used + len(taken)] = taken
            self._used += len(taken)
            if self._used == len(block):
                self._blocks.append(np.empty(min(2 * len(block), _LARGEST_BLOCK), block.dtype))
                self._used = 0

    def finish(self) -> NDArray[Any]:
        """Return all of them as one array."""
        whole = np.concatenate([*self._blocks[:-1], self._blocks[-1][: self._used]])
        self._blocks.clear()
        return whole


class MakeSink(Protocol):
    """Makes the sink of a column."""

    def __call__(self, name: str, dtype: str) -> Sink:
        """Return a sink for values of this NumPy type."""


@dataclass
class NumberReader:
    """Turns cells into numbers, chunk by chunk.

    Attributes:
        sink: Takes the numbers.
        form: How they are written.
        missing: Words for a missing value; None: the usual ones.
    """

    sink: Sink
    form: NumberForm = PLAIN
    missing: Collection[str] | None = None
    num_rows: int = 0
    num_texts: int = 0
    num_infinite: int = 0
    num_numbers: int = 0
    first_text: tuple[int, str] = (0, "")
    words: dict[str, int] = field(default_factory=dict)

    @property
    def holds_texts(self) -> bool:
        """Whether more than a tenth of the values are no numbers."""
        return self.num_texts > (1 - MOSTLY) * (self.num_numbers + self.num_texts)

    def add(self, cells: pa.Array) -> None:
        """Convert the next cells."""
        if pa.types.is_string(cells.type):
            cells = self._of_texts(cells)
        values = np.asarray(pc.cast(cells, pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        infinite = np.isinf(values)
        if infinite.any():
            self.num_infinite += int(infinite.sum())
            values = np.where(infinite, np.nan, values)
        self.num_numbers += int(np.count_nonzero(~np.isnan(values)))
        self.num_rows += len(values)
        self.sink.append(values)

    def _of_texts(self, cells: pa.Array) -> pa.Array:
        """Return texts as numbers; whole chunks at once where all of them are numbers as programs write them."""
        if self.form.is_plain:
            try:
                return pc.cast(cells, pa.float64())
            except pa.ArrowInvalid:
                pass
        cells = pc.utf8_trim_whitespace(cells)
        words = pa.array(["", *missing_words(self.missing, number=True)], cells.type)
        is_missing_word = pc.is_in(pc.utf8_lower(cells), words)
        _count(self.words, cells.filter(is_missing_word))
        cells = pc.if_else(is_missing_word, None, cells)
        if self.form.is_plain:
            try:
                return pc.cast(cells, pa.float64())
            except pa.ArrowInvalid:
                pass
        is_number = pc.match_substring_regex(
            cells, f"^(?:{self.form.pattern}|[+-]?(?:inf|infinity|nan))$", ignore_case=True
        )
        self._count_texts(cells, is_number)
        cells = pc.if_else(is_number, cells, None)
        for sign in self.form.removed:
            cells = pc.replace_substring(cells, sign, "")
        if self.form.decimal != ".":
            cells = pc.replace_substring(cells, self.form.decimal, ".")
        return pc.cast(pc.utf8_trim_whitespace(pc.replace_substring(cells, MINUS, "-")), pa.float64())

    def _count_texts(self, cells: pa.Array, is_number: pa.Array) -> None:
        wrong = np.flatnonzero(pc.fill_null(pc.invert(is_number), False).to_numpy(zero_copy_only=False))
        if len(wrong) and not self.num_texts:
            self.first_text = (self.num_rows + int(wrong[0]) + 1, cells[int(wrong[0])].as_py())
        self.num_texts += len(wrong)

    def finish(self) -> Numbers:
        """Return the column."""
        values = self.sink.finish()
        return Numbers(values, self.num_texts, self.num_infinite, self.first_text, self.words, self.form)


@dataclass
class DateReader:
    """Turns cells into dates, chunk by chunk; attributes as in `NumberReader`."""

    sink: Sink
    form: DateForm | None = None
    missing: Collection[str] | None = None
    num_rows: int = 0
    num_texts: int = 0
    num_dates: int = 0
    first_text: tuple[int, str] = (0, "")
    words: dict[str, int] = field(default_factory=dict)

    @property
    def holds_texts(self) -> bool:
        """Whether more than a tenth of the values are no dates."""
        return self.num_texts > (1 - MOSTLY) * (self.num_dates + self.num_texts)

    def add(self, cells: pa.Array) -> None:
        """Convert the next cells."""
        if pa.types.is_string(cells.type):
            assert self.form is not None
            cells = pc.utf8_trim_whitespace(cells)
            words = pa.array(["", *missing_words(self.missing, number=True)], cells.type)
            is_missing_word = pc.is_in(pc.utf8_lower(cells), words)
            _count(self.words, cells.filter(is_missing_word))
            values = seconds(pc.if_else(is_missing_word, None, cells), self.form)
            wrong = np.flatnonzero(np.isnan(values) & ~is_missing_word.to_numpy(zero_copy_only=False))
            if len(wrong) and not self.num_texts:
                self.first_text = (self.num_rows + int(wrong[0]) + 1, str(cells[int(wrong[0])]))
            self.num_texts += len(wrong)
        else:
            whole = pc.cast(pc.cast(cells, pa.timestamp("us"), safe=False), pa.int64())
            values = np.asarray(pc.divide(pc.cast(whole, pa.float64()), 1e6).to_numpy(zero_copy_only=False))
        self.num_dates += int(np.count_nonzero(~np.isnan(values)))
        self.num_rows += len(values)
        self.sink.append(values)

    def finish(self) -> Datetimes:
        """Return the column."""
        return Datetimes(self.sink.finish(), self.form, self.num_texts, self.first_text, self.words)


@dataclass
class TextReader:
    """Turns cells into codes of texts, chunk by chunk; attributes as in `NumberReader`."""

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
        table, missing = [], np.zeros(len(encoded.dictionary) + 1, np.int64)
        # A missing cell has no index; it takes the last entry.
        indices = pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy(zero_copy_only=False)
        values = encoded.dictionary.to_pylist()
        for text in values:
            table.append(
                -1 if is_missing(text, self.missing) else self.codes.setdefault(text, len(self.codes))
            )
        codes = np.array([*table, -1], np.int32)[indices]
        if -1 in table:
            missing = np.bincount(indices, minlength=len(table) + 1)
            for text, code, count in zip(values, table, missing.tolist(), strict=False):
                if code < 0:
                    self.words[text] = self.words.get(text, 0) + count
        if encoded.null_count:
            self.words[""] = self.words.get("", 0) + encoded.null_count
        if len(self.codes) > MAX_VALUES:
            self.too_many = True
            codes = np.where(codes < MAX_VALUES, codes, -1).astype(np.int32)
            self.codes = dict(list(self.codes.items())[:MAX_VALUES])
        self.sink.append(codes)

    def finish(self) -> Texts:
        """Return the column."""
        return Texts(self.sink.finish(), list(self.codes), self.words, self.too_many)


ColumnReader = NumberReader | DateReader | TextReader


def _count(words: dict[str, int], cells: pa.Array) -> None:
    for entry in pc.value_counts(cells):
        word = entry["values"].as_py() or ""
        words[word] = words.get(word, 0) + entry["counts"].as_py()
