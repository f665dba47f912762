"""Cells of one date pattern as seconds since 1970: regular expressions over whole columns, then arithmetic."""

import functools
import math
import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Seconds = NDArray[np.float64]

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "nb", "pl", "cs", "ru", "uk", "tr", "fi")
ISO = "%Y-%m-%d"
_DAY = 86_400
# A month's name may end after so many letters, where that leaves no choice.
_SHORTEST = 3
# Cells at the beginning that show whether a column repeats its texts.
_SAMPLE = 2_000

# fmt: off
_HALVES = {"am": 0.0, "上午": 0.0, "午前": 0.0, "오전": 0.0, "pm": 12.0, "下午": 12.0, "午後": 12.0, "오후": 12.0}
# Zones with a name: those of RFC 2822.
_ZONES = {"UTC": 0, "UT": 0, "GMT": 0, "Z": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6,
          "PST": -8, "PDT": -7}
_TWO = r"\d\d?"
_SECOND = r"\d\d?(?:[.,]\d{1,9})?"
_WORD = r"[^\d\s.,/()+:-]{3,}"
_HALF = rf"[AaPp]\.?\s?[Mm]\.?|{'|'.join(name for name in _HALVES if not name.isascii())}"
_ZONE = rf"(?:UTC|GMT)?[+-]\d\d?(?::?\d\d)?|{'|'.join(_ZONES)}"
_GROUPS = {
    "Y": r"\d{4}", "y": r"\d\d", "m": _TWO, "d": _TWO, "b": _WORD, "q": "[1-4]", "j": r"\d{1,3}", "G": r"\d{4}",
    "V": _TWO, "u": "[1-7]", "H": _TWO, "M": r"\d\d", "S": _SECOND, "p": _HALF, "z": _ZONE, "a": r"[^\d\s.,]+\.?,?",
}
# fmt: on
_JOINED = re.compile("%[YymdHIMS]%[YymdjHIMS]")
_SAME = {"B": "b", "h": "b", "I": "H", "Z": "z", "A": "a"}
# Blanks of other widths, which RE2 takes for letters.
_BLANKS = "\u00a0\u202f\u2009\u3000"
# Between the name of a month and its neighbours, also nothing: 05FEB2024.
_LOOSE = r"(?:[\s.,/-]|de\s|of\s)*"
_ORDINAL = r"(?:st|nd|rd|th|er|º|ª|°|\.)?"
_EAST_ASIAN_WEEKDAY = r"(?:\s*(?:(?:星期|周|週)[一二三四五六日天]|.요일|\(.\)))?"
_LITERALS = {
    **{",": r"[\s,./-]+", ".": r"\.\s*", "Q": r"[\s/-]*[Qq][\s/-]*"},
    **{name: rf"\s*{name}\s*" for name in "年月년월"},
    **{name: rf"\s*{name}?{_EAST_ASIAN_WEEKDAY}" for name in "日일"},
}
_CLOCK = (
    rf"(?:\s*[T,]\s*|\s+)(?:(?:at|um)\s+)?(?P<n>{_HALF})?\s*(?P<H>{_TWO})"
    rf"(?:[:h时時시]\s?(?P<M>{_TWO})(?:[:分분]\s?(?P<S>{_SECOND}))?[分분秒초]?)?(?:\s*(?P<p>{_HALF}))?(?:\s*Uhr)?"
)
_ZONED = rf"(?:\s*(?P<z>{_ZONE}))?"
_BRACKETS = r"(?:\s*[\[(][^\])]*[\])])?"
# What most columns hold: each next character says how to go on, which RE2 follows ten times as fast.
_PLAIN_CLOCK = (
    rf"(?:[ T](?P<H>\d\d?):(?P<M>\d\d)(?::(?P<S>{_SECOND}))?"
    r"(?: ?(?P<p>[AaPp][Mm]))?(?P<z>Z|[+-]\d\d:?\d\d)?)?"
)


def to_seconds(texts: pa.Array, pattern: str, language: str | None) -> Seconds:
    """Return dates as seconds since 1970 in UTC; NaN where a cell holds no date of the pattern.

    Args:
        texts: Strings.
        pattern: Directives of `datetime.strptime`, and %q for a quarter; a weekday may precede and a clock time follow.
        language: One of `LANGUAGES` for the names of months.
    """
    if pattern == ISO:
        quick = _cast(texts)
        if quick is not None:
            return quick
    sample = texts.slice(0, _SAMPLE)
    if len(sample.unique()) < len(sample) / 2:
        encoded = texts.dictionary_encode()
        return taken(np.append(_by_regex(encoded.dictionary, pattern, language), np.nan), encoded.indices)
    return _by_regex(texts, pattern, language)


def taken(values: Seconds, places: pa.Array) -> Seconds:
    """Return the values in some places, the last one where a place is null."""
    result: Seconds = values[places.fill_null(len(values) - 1).to_numpy()]
    return result


def names_of_months(texts: pa.Array, pattern: str) -> list[str]:
    """Return the different names of months, in lower case."""
    texts = pc.replace_substring_regex(texts, f"[{_BLANKS}]", " ")
    return sorted({name.strip(".") for name in _Parts(texts, _regex(pattern)).texts("b")})


@functools.cache
def months(language: str) -> dict[str, int]:
    """Return the number of each month by its names in a language, and by the beginnings that leave no choice."""
    # Babel takes a tenth of a second to import.
    from babel import Locale

    names: dict[str, set[int]] = {}
    for widths in Locale.parse(language).months.values():
        for width in ("wide", "abbreviated"):
            for number, name in widths[width].items():
                plain = name.casefold().strip(".")
                for end in range(_SHORTEST, len(plain) + 1):
                    names.setdefault(plain[:end], set()).add(int(number))
    return {name: numbers.pop() for name, numbers in names.items() if len(numbers) == 1}


def unknown_directive(pattern: str) -> str | None:
    """Return the first directive that is not understood, None if all are."""
    names = re.findall("%(.?)", pattern.replace("%S.%f", "%S"))
    return next((f"%{name}" for name in names if _SAME.get(name, name) not in _GROUPS), None)


def _cast(texts: pa.Array) -> Seconds | None:
    """Return dates of ISO 8601 by Arrow's own parser, many times as fast; None where it does not read them all."""
    sample = texts.slice(0, _SAMPLE)
    for zone in (None, "UTC"):
        # The sample first: each cell that Arrow cannot read takes it ten times as long.
        try:
            sample.cast(pa.timestamp("us", zone))
            found = texts.cast(pa.timestamp("us", zone)).cast(pa.int64())
        except pa.ArrowInvalid:
            continue
        numbers: Seconds = found.to_numpy(zero_copy_only=False).astype(np.float64)
        return numbers / 1e6
    return None


def _by_regex(texts: pa.Array, pattern: str, language: str | None) -> Seconds:
    found = _assemble(_Parts(texts, _plain_regex(pattern)), language)
    rest = np.flatnonzero(np.isnan(found) & texts.is_valid().to_numpy(zero_copy_only=False))
    if len(rest):
        others = pc.replace_substring_regex(texts.take(pa.array(rest)), f"[{_BLANKS}]", " ")
        found[rest] = _assemble(_Parts(others, _regex(pattern)), language)
    return found


def _tokens(pattern: str) -> list[str]:
    return re.findall("%.|.", pattern.replace("%S.%f", "%S"))


def _key(token: str) -> str:
    """Return the name of a directive's part, empty for a character."""
    return _SAME.get(token[1:], token[1:])


def _group(key: str, pattern: str) -> str:
    # Without separators each part has a fixed number of digits.
    part = r"\d\d" if _JOINED.search(pattern) and _GROUPS[key] == _TWO else _GROUPS[key]
    return f"(?P<{key}>{part})"


@functools.cache
def _plain_regex(pattern: str) -> str:
    """Return the expression for dates written just as the pattern is, with a plain clock time."""
    body = "".join(_group(_key(one), pattern) if _key(one) else re.escape(one) for one in _tokens(pattern))
    return f"^{body}{_PLAIN_CLOCK if _takes_clock(pattern) else ''}$"


@functools.cache
def _regex(pattern: str) -> str:
    """Return the expression for dates in all ways of writing that a pattern stands for."""
    tokens = _tokens(pattern)
    body = "".join(
        _written(token, "".join(tokens[max(0, place - 1) : place + 2]), pattern)
        for place, token in enumerate(tokens)
    )
    weekday = rf"(?:{_GROUPS['a']}\s+(?:den\s+)?)?" if _has_day(pattern) and "%a" not in pattern else ""
    behind = r"\.?" if pattern.startswith("%Y.") else ""
    if re.search("%[bB].*%[yY]$", pattern):
        # A weekday in Turkish, or what Russian and Ukrainian call a year.
        behind = r"(?:\s+[^\d\s.,]+\.?)?"
    if _takes_clock(pattern):
        # No zone without a clock time: "2024-02-30" is not February of 2024.
        end = f"(?:{_CLOCK}{_ZONED})?{_BRACKETS}"
    else:
        end = _ZONED + _BRACKETS if _has_hour(pattern) and not re.search("%[zZ]", pattern) else ""
    return rf"^\s*{weekday}{body}{behind}{end}\s*$"


def _has_day(pattern: str) -> bool:
    return re.search("%[dju]", pattern) is not None


def _has_hour(pattern: str) -> bool:
    return re.search("%[HI]", pattern) is not None


def _takes_clock(pattern: str) -> bool:
    return _has_day(pattern) and not _has_hour(pattern)


def _written(token: str, around: str, pattern: str) -> str:
    """Return the expression of a directive or a character; `around` is it with its neighbours."""
    key = _key(token)
    if key:
        ordinal = _ORDINAL if key == "d" and re.search("%[bB]", pattern) else ""
        return _group(key, pattern) + ordinal
    if token == " ":
        if "Q" in around:
            return ""
        return _LOOSE if re.search("%[bB]|,", around) else r"\s+"
    return _LITERALS.get(token, re.escape(token))


class _Parts:
    """The parts of dates: groups of a regular expression over all cells at once.

    Args:
        texts: Strings.
        regex: The expression.
    """

    def __init__(self, texts: pa.Array, regex: str) -> None:
        found = pc.extract_regex(texts, regex)
        self.matched: NDArray[np.bool_] = found.is_valid().to_numpy(zero_copy_only=False)
        self._found = dict(zip((field.name for field in found.type), found.flatten(), strict=True))
        self._groups: dict[str, pa.Array] = {}

    def holds(self, name: str) -> bool:
        """Return whether any cell has the part."""
        return name in self._found and self._group(name).null_count < len(self.matched)

    def _group(self, name: str) -> pa.Array:
        if name not in self._groups:
            group = self._found[name]
            self._groups[name] = pc.if_else(pc.equal(group, ""), None, group)
        return self._groups[name]

    def number(self, name: str, default: float = math.nan) -> Seconds:
        """Return a part as numbers, `default` where a cell lacks it."""
        if not self.holds(name):
            return np.full(len(self.matched), default)
        group = self._group(name)
        if name == "S":
            group = pc.replace_substring(group, ",", ".")
        numbers: Seconds = group.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return numbers if math.isnan(default) else np.where(np.isnan(numbers), default, numbers)

    def texts(self, name: str) -> list[str]:
        """Return the different texts of a part in lower case."""
        return [str(text).casefold() for text in self._group(name).unique().to_pylist() if text]

    def mapped(self, name: str, meaning: Mapping[str, float]) -> Seconds:
        """Return what each text of a part means, NaN where that is unknown; texts are in lower case there."""
        encoded = self._group(name).dictionary_encode()
        means = [meaning.get(str(text).casefold(), math.nan) for text in encoded.dictionary.to_pylist()]
        return taken(np.array([*means, math.nan]), encoded.indices)


def _assemble(parts: _Parts, language: str | None) -> Seconds:
    """Put the parts together; NaN where one is out of its range, such as the 30 February."""
    if not parts.matched.any():
        return np.full(len(parts.matched), np.nan)
    days, clock = _days(parts, language), _clock(parts)
    if parts.holds("z"):
        clock -= np.nan_to_num(parts.mapped("z", {text: _offset(text) for text in parts.texts("z")}))
    return days * _DAY + clock


def _days(parts: _Parts, language: str | None) -> Seconds:
    """Return days since 1970; NaN where there is no such day."""
    if parts.holds("G"):
        return _days_of_weeks(parts)
    if parts.holds("y"):
        short = parts.number("y")
        year = short + np.where(short < 69, 2000, 1900)
    elif parts.holds("Y"):
        year = parts.number("Y")
    else:
        # A clock time alone.
        return np.where(parts.matched, 0.0, np.nan)
    month = parts.number("m", 1.0)
    if parts.holds("b"):
        month = parts.mapped("b", _month_numbers(parts.texts("b"), language))
    elif parts.holds("q"):
        month = parts.number("q") * 3 - 2
    day = parts.number("d", 1.0)
    return days_since_1970(year, month, day) + parts.number("j", 1.0) - 1


def days_since_1970(year: Seconds, month: Seconds, day: Seconds) -> Seconds:
    """Return the days from 1 January 1970 to the dates of a calendar, NaN where there is no such day."""
    good = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    number = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    dates = number.astype("datetime64[D]") + np.where(good, day - 1, 0).astype("timedelta64[D]")
    good &= dates.astype("datetime64[M]") == number
    return np.where(good, dates.astype(np.float64), np.nan)


def _month_numbers(names: list[str], language: str | None) -> dict[str, float]:
    known = months(language or LANGUAGES[0])
    return {name: float(known.get(name.strip("."), math.nan)) for name in names}


def _days_of_weeks(parts: _Parts) -> Seconds:
    """Return days since 1970 of weeks of ISO 8601: the first one holds the fourth of January; they begin on Monday."""
    year, week, day = parts.number("G"), parts.number("V"), parts.number("u", 1.0)
    good = parts.matched & (year >= 1) & (week >= 1) & (week <= 53)
    first = np.where(good, year - 1970, 0).astype("datetime64[Y]").astype("datetime64[D]").astype(np.float64)
    # The first of January 1970 was a Thursday.
    monday = first + 3 - (first + 6) % 7
    return np.where(good, monday + (week - 1) * 7 + day - 1, np.nan)


def _clock(parts: _Parts) -> Seconds:
    """Return seconds since midnight; NaN where there is no such time."""
    if not parts.holds("H"):
        return np.zeros(len(parts.matched))
    hour, minute, second = (parts.number(name, 0.0) for name in "HMS")
    for name in "pn":
        if parts.holds(name):
            meaning = {text: _HALVES[re.sub(r"[.\s]", "", text)] for text in parts.texts(name)}
            later = parts.mapped(name, meaning)
            # 12:05 AM is five past midnight; 14:05 PM is written as well.
            hour = np.where(np.isnan(later) | (hour > 12), hour, hour % 12 + np.nan_to_num(later))
    total: Seconds = hour * 3600 + minute * 60 + second
    return np.where((minute < 60) & (second < 61) & (total <= _DAY), total, np.nan)


def _offset(zone: str) -> float:
    """Return the seconds by which a zone is ahead of UTC."""
    found = re.fullmatch(r"(?:utc|gmt)?([+-])(\d\d?):?(\d\d)?", zone)
    if found is None:
        return _ZONES[zone.upper()] * 3600.0
    sign, hours, minutes = found.groups()
    return (int(hours) * 3600.0 + int(minutes or 0) * 60) * (-1 if sign == "-" else 1)
