"""Cells as values: words for a missing one, and the ways in which numbers are written."""

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

# What people write into an empty cell. What the second set adds may also name a category: for numbers only.
MISSING = frozenset({"?", "na", "n/a", "#n/a", "nan", "null"})
MISSING_NUMBER = MISSING | {"none", "-", ".", "...", "<na>", "nil", "#value!", "#div/0!", "#ref!"}
_CURRENCY = "$€£¥₩₹₽฿₫₴₺"
_BLANKS = " \u00a0\u202f\u2009'\u2019"
# The typographic minus, which word processors write.
MINUS = "\u2212"
# A column with this share of numbers among its values is one of numbers.
MOSTLY = 0.9


@dataclass(frozen=True)
class NumberForm:
    """How the numbers of a column are written; the default is as programs write them.

    Attributes:
        decimal: Letter before the decimals, "." or ",".
        thousands: Letters that may stand between groups of three digits, such as "," or blanks; "" for none.
        percent: Whether a percent sign may follow.
        currency: Signs of currencies that may stand before or behind.
    """

    decimal: str = "."
    thousands: str = ""
    percent: bool = False
    currency: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether numbers are written as programs write them."""
        return self == NumberForm()

    def said(self) -> str:
        """Return what a sentence tells of the form."""
        sign = "a blank or an apostrophe" if " " in self.thousands else repr(self.thousands)
        parts = {
            f"{sign} between thousands": self.thousands,
            "a decimal comma": self.decimal == ",",
            "a percent sign, which is left out (12% is 12)": self.percent,
            f"the currency {self.currency}": self.currency,
        }
        return " and ".join(part for part, holds in parts.items() if holds)

    @property
    def pattern(self) -> str:
        """A regular expression that a whole number in this form matches, in the syntax of re and RE2."""
        point, thousands, currency = map(re.escape, (self.decimal, self.thousands, self.currency))
        whole = rf"(?:\d{{1,3}}(?:[{thousands}]\d{{3}})+|\d+)" if thousands else r"\d+"
        before, behind = (rf"(?:[{currency}]\s*)?", rf"(?:\s*[{currency}])?") if currency else ("", "")
        percent = r"(?:\s*%)?" if self.percent else ""
        number = rf"(?:{whole}(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?"
        return rf"[+\-{MINUS}]?{before}[+\-{MINUS}]?{number}{percent}{behind}"

    def plain(self, text: str) -> str | None:
        """Return a number in this form as programs write it, None if it is none."""
        if not re.fullmatch(self.pattern, text):
            return None
        for sign in self.removed:
            text = text.replace(sign, "")
        return text.replace(self.decimal, ".").replace(MINUS, "-").strip()

    @property
    def removed(self) -> str:
        """Letters that a plain number lacks."""
        return self.thousands + self.currency + ("%" if self.percent else "")


PLAIN = NumberForm()


def is_missing(text: str | None, words: Collection[str] | None = None, *, number: bool = False) -> bool:
    """Return whether a cell holds no value: none at all, or one of the words for it.

    Args:
        text: The cell.
        words: The words, in any case; None: the usual ones.
        number: Whether a number is expected, so that "-" and "none" stand for a missing one, and -999.0 for -999.
    """
    if text is None:
        return True
    text = text.strip()
    if not text or text.casefold() in missing_words(words, number=number):
        return True
    return number and words is not None and parse_number(text) in missing_numbers(words).values()


def missing_words(words: Collection[str] | None, *, number: bool = False) -> frozenset[str]:
    """Return the words for a missing value, case-folded; arguments as for `is_missing`."""
    if words is not None:
        return frozenset(word.strip().casefold() for word in words)
    return MISSING_NUMBER if number else MISSING


def missing_numbers(words: Collection[str] | None) -> dict[str, float]:
    """Return the numbers among the words for a missing value, such as -999, by how the user wrote them."""
    numbers = {word: parse_number(word) for word in words or ()}
    return {word: number for word, number in numbers.items() if number is not None}


def parse_number(text: str, decimal_comma: bool = False) -> float | None:
    """Return the number in a cell, NaN if it is marked as missing, None if it is a text."""
    text = text.strip()
    if is_missing(text, number=True):
        return math.nan
    # float() also reads "10_20", which is a name of a range rather than a number.
    if "_" in text:
        return None
    try:
        return float(text.replace(",", ".") if decimal_comma else text)
    except ValueError:
        return None


def number_in(cell: str, decimal_comma: bool = False) -> float | None:
    """Return the number in a cell, None if it holds none."""
    number = parse_number(cell, decimal_comma)
    return None if number is None or math.isnan(number) else number


def find_number_form(cells: Iterable[str], decimal_comma: bool = False) -> NumberForm | None:
    """Find out how the numbers of a column are written.

    "1,234" has a comma between thousands, unless other cells of the file show that the comma stands before decimals.

    Args:
        cells: Different cells of the column, stripped, without missing ones.
        decimal_comma: Whether numbers of the file are written as 3,14.

    Returns:
        The form, or None if fewer than nine tenths of the cells are numbers.
    """
    cells = list(cells)
    if not cells:
        return NumberForm()
    comma = [NumberForm(",", thousands) for thousands in ("", ".", _BLANKS)]
    point = [NumberForm(), NumberForm(".", ","), NumberForm(".", _BLANKS)]
    # In a file with decimal commas "1.234" is more than a thousand; without either sign all forms are one.
    has_signs = any(sign in cell for cell in cells for sign in ",.")
    forms = [*comma, *point] if decimal_comma and has_signs else [*point[:2], *comma[:2], point[2], comma[2]]
    currency = "".join(sorted({letter for cell in cells for letter in cell if letter in _CURRENCY}))
    percent = any(cell.endswith("%") for cell in cells)
    if percent or currency:
        forms += [NumberForm(form.decimal, form.thousands, percent, currency) for form in forms]
    best, most = None, 0
    for form in forms:
        pattern = re.compile(form.pattern)
        count = sum(
            number_in(cell) is not None if form.is_plain else pattern.fullmatch(cell) is not None
            for cell in cells
        )
        # The first form that reads the most: plainer ones come first.
        if count > most:
            best, most = form, count
        if most == len(cells):
            break
    return best if most >= MOSTLY * len(cells) else None
