"""Dates as people write them: how those of a column are written, and what numbers that count from 1970 mean."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nnkit.data.reading.date_parts import (
    ISO,
    LANGUAGES,
    Seconds,
    months,
    names_of_months,
    to_seconds,
    unknown_directive,
)

EpochUnit = Literal["s", "ms", "us", "ns"]

# The order decides between forms that fit equally well: the month first between slashes, as in most published tables.
# fmt: off
_PATTERNS = (
    ISO, "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%Y", "%d.%m.%y",
    "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%y/%m/%d",
    "%d-%m-%Y", "%m-%d-%Y", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d",
    "%b %d, %Y", "%d %b %Y", "%d %b %y", "%Y %b %d", "%b %Y", "%b-%y", "%b '%y", "%Y %b",
    "%Y-%m", "%Y/%m", "%m/%Y", "%m-%Y", "%YQ%q", "Q%q %Y", "%G-W%V-%u", "%G-W%V",
    "%Y年%m月%d日", "%Y年%m月", "%Y년%m월%d일", "%Y년%m월",
    "%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y", "%d/%b/%Y:%H:%M:%S",
    "%Y%m%dT%H%M%S", "%Y%m%dT%H%M", "%Y%m%d%H%M%S", "%Y%m%d%H%M",
)
# fmt: on
_CLOCKS = ("%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p")
# Characters of a pattern that a date may lack, or have in lower case.
_OPTIONAL = " ,Q日일"
# A column in which fewer of the values are dates is one of texts, as for numbers.
_MIN_SHARE = 0.9
# Values that rule out the forms that do not come into question at all.
_FEW = 100
_LONGEST = 80

# Seconds from 1980 to 2100: what a clock may have said, and few other numbers are.
_EPOCH = (315_532_800, 4_102_444_800)
# Dates that are written as one number, by how many digits it has, and the earliest year that is meant so: 1800.
_DIGITS = {6: "%Y%m", 8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_FIRST = -5_364_662_400
_UNITS: dict[EpochUnit, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_TIME_NAME = re.compile(r"(.*[^a-z])?(time|date|datetime|timestamps?|ts|epoch|unix)([^a-z].*)?|.+_at")
_MIN_EPOCHS = 5
_DAY = 86_400


@dataclass(frozen=True)
class DateForm:
    """How dates are written; plain data, so that `dataclasses.asdict` and JSON keep it.

    Attributes:
        pattern: The date in directives of `datetime.strptime`, and %q for a quarter. A weekday may precede it, a
            clock time may follow it.
        language: Code of the language that the months are named in; None where they are numbers.
        has_clock: Whether some of the values have a clock time other than midnight.
        other: A pattern that fits all values as well and reads them as other days; None: there is none.
    """

    pattern: str
    language: str | None = None
    has_clock: bool = False
    other: str | None = None

    @property
    def ambiguous(self) -> tuple[str, str] | None:
        """Both readings, the one that is taken first; None if the values leave no choice."""
        return (self.pattern, self.other) if self.other else None

    def doubt(self, example: str) -> str:
        """Return what there is to say of a form that is `ambiguous`, in one sentence.

        Args:
            example: A value of the column.
        """
        taken_as, other = (
            show(seconds([example], replace(self, pattern=str(pattern)))[0])
            for pattern in (self.pattern, self.other)
        )
        return (
            f"{example!r} is read as {taken_as} ({self.pattern}), and {other} is possible as well: "
            f"data.date_format={self.other} reads it so"
        )


def find_date_form(values: Sequence[str]) -> DateForm | None:
    """Return how the dates of a column are written, None if the values are no dates.

    The form that fits most values is taken, and at least nine tenths must fit. Two that fit equally well, such as day
    and month between slashes with no part above 12, make it `ambiguous`.

    Args:
        values: The different values of a sample, without those that stand for a missing one.
    """
    return _best(_PATTERNS, values)


def find_clock_form(values: Sequence[str]) -> DateForm | None:
    """Return the form of clock times without a date (14:05, 2:05:10 PM), None if the values are something else.

    Args:
        values: The different values of a sample; `seconds` returns the seconds since midnight.
    """
    return _best(_CLOCKS, values)


def date_form(pattern: str, values: Sequence[str] = ()) -> DateForm:
    """Return the form with a pattern that the user typed.

    Args:
        pattern: Directives of `datetime.strptime`.
        values: A sample, for the language of its months and the clock.

    Raises:
        ValueError: If a directive is unknown or the year is lacking.
    """
    unknown = unknown_directive(pattern)
    if unknown is not None:
        raise ValueError(
            f"date_format must hold directives such as %d/%m/%Y %H:%M, not {pattern!r}: {unknown} is unknown"
        )
    if not re.search(r"%[YyG]", pattern):
        raise ValueError(f"date_format must hold the year (%Y or %y), not {pattern!r}")
    form = _in_language(pattern, values)
    return replace(form, has_clock=_shows_clock(seconds(values, form)))


def seconds(cells: pa.Array | Sequence[str | None], form: DateForm) -> Seconds:
    """Return the dates in cells as seconds since 1970 in UTC; NaN where a cell holds no date of that form.

    A time without a zone counts as UTC. Two digits of a year are those of 1969 to 2068, as for `strptime`.

    Args:
        cells: Strings.
        form: From `find_date_form`.
    """
    texts = cells if isinstance(cells, pa.Array) else pa.array(cells, pa.string())
    return to_seconds(texts, form.pattern, form.language)


def show(time: float) -> str:
    """Return a time as ISO 8601 writes it, without a clock time at midnight.

    Args:
        time: Seconds since 1970.
    """
    if math.isnan(time):
        return "no date"
    text = str(np.datetime64(round(time * 1e6), "us"))
    return text.removesuffix(".000000").removesuffix("T00:00:00").replace("T", " ")


def epoch_unit(values: NDArray[np.float64], name: str = "") -> EpochUnit | None:
    """Return the unit of numbers that count from 1970, None if they are something else.

    All must lie from 1980 to 2100 in one unit. In a column whose name does not speak of time they are besides whole
    numbers, at least 5, that rise or fall from row to row, which numbers of another meaning hardly do in that range.

    Args:
        values: A column; NaN is a missing one.
        name: The column's.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = float(known.min()), float(known.max())
    ranges = {unit: (_EPOCH[0] * size, _EPOCH[1] * size) for unit, size in _UNITS.items()}
    unit = next((one for one, (first, last) in ranges.items() if first <= low and high <= last), None)
    if unit is None or names_time(name):
        return unit
    steps = np.diff(known)
    in_order = low < high and bool((steps >= 0).all() or (steps <= 0).all())
    return unit if in_order and len(known) >= _MIN_EPOCHS and bool((known == np.floor(known)).all()) else None


def epoch_seconds(values: NDArray[np.float64], unit: EpochUnit) -> Seconds:
    """Return numbers that count from 1970 as seconds.

    Args:
        values: A column.
        unit: From `epoch_unit`.
    """
    return values / _UNITS[unit]


def digit_seconds(values: NDArray[np.float64]) -> Seconds | None:
    """Return numbers such as 20241231, 202412 or 20241231235900 as seconds since 1970; None if they are other numbers.

    Args:
        values: A column; NaN is a missing one.
    """
    known, places = np.unique(values, return_inverse=True, equal_nan=True)
    known = known[~np.isnan(known)]
    pattern = _DIGITS.get(len(str(int(known[0])))) if len(known) else None
    if pattern is None or not (known == np.floor(known)).all():
        return None
    read = seconds([str(int(number)) for number in known], DateForm(pattern))
    if np.isnan(read).any() or read[0] < _FIRST or read[-1] > _EPOCH[1]:
        return None
    # A missing number is the last one of those that differ.
    return np.append(read, np.nan)[places]


def names_time(name: str) -> bool:
    """Return whether a column's name speaks of time: date, Timestamp, created_at, pickupTime."""
    return _TIME_NAME.fullmatch(re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).casefold()) is not None


def _best(patterns: Sequence[str], values: Sequence[str]) -> DateForm | None:
    texts = [text for text in map(str.strip, values) if text]
    few = texts[:_FEW]
    if sum(len(text) <= _LONGEST and any(map(str.isdigit, text)) for text in few) < _MIN_SHARE * len(few):
        return None
    readings: list[tuple[DateForm, Seconds]] = []
    for pattern in patterns:
        if _in_question(pattern, few) and _num_read(seconds(few, _in_language(pattern, few))):
            form = _in_language(pattern, texts)
            readings.append((form, seconds(texts, form)))
    most = max((_num_read(read) for _, read in readings), default=0)
    if not most or most < _MIN_SHARE * len(texts):
        return None
    (form, read), *others = [reading for reading in readings if _num_read(reading[1]) == most]
    differing = (one.pattern for one, other in others if not np.array_equal(other, read, equal_nan=True))
    return replace(form, has_clock=_shows_clock(read), other=next(differing, None))


def _in_question(pattern: str, texts: Sequence[str]) -> bool:
    """Return whether most texts hold the characters of a pattern; to try one takes a hundred times as long."""
    needed = set(re.sub("%.", "", pattern)).difference(_OPTIONAL)
    digits = 8 if "%m%d" in pattern else 4 if re.search("%[YG]", pattern) else 2
    regex = re.compile(rf"\d{{{digits}}}" if "%b" not in pattern else r"[^\W\d_]{3}")
    return sum(needed <= set(text) and bool(regex.search(text)) for text in texts) >= _MIN_SHARE * len(texts)


def _num_read(read: Seconds) -> int:
    return int(np.count_nonzero(~np.isnan(read)))


def _shows_clock(read: Seconds) -> bool:
    return bool(np.nansum(read % _DAY) > 0)


def _in_language(pattern: str, texts: Sequence[str]) -> DateForm:
    """Return the form of a pattern in the language that knows most names of months in the texts."""
    if "%b" not in pattern and "%B" not in pattern:
        return DateForm(pattern)
    names = names_of_months(pa.array(texts, pa.string()), pattern)
    known = {LANGUAGES[0]: 0}
    for language in LANGUAGES if names else ():
        known[language] = sum(name in months(language) for name in names)
        if known[language] == len(names):
            break
    return DateForm(pattern, max(known, key=lambda language: known[language]))
