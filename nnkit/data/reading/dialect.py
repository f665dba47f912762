"""How a delimited text file is written: encoding, delimiter, quotes, and which row names the columns."""

import codecs
import contextlib
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from nnkit.data.reading.dates import date_form
from nnkit.data.reading.encodings import find_encoding, respaced
from nnkit.data.reading.part import Finding, Notes
from nnkit.data.reading.user_files import open_bytes
from nnkit.data.reading.values import MOSTLY, is_missing, number_in
from nnkit.errors import UserError

_DELIMITERS = ",;\t|"
_SAMPLE = 1 << 18
_MAX_LINE = 1 << 24
# What people type for a delimiter that they cannot type.
_SPELT = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|", "pipe": "|", "space": " "}
_FOREIGN = {
    b"PK\x03\x04": "a zip file or an Excel workbook (save it as CSV)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (save it as CSV)",
    b"SQLi": "an SQLite database (save the table as CSV)",
    b"%PDF": "a PDF file",
}
_COMMA_NUMBER = re.compile(r"[+-]?[\d.]*\d,\d+")
_POINT_NUMBER = re.compile(r"[+-]?[\d,]*\d\.\d+")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+|[+-]?[1-9]\d{0,2}(\.\d{3})+")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How the user says that a table is written; None stands for found out.

    Attributes:
        delimiter: The character between two cells.
        encoding: A codec of Python.
        header: Whether the first row holds the names of the columns.
        quotes: Whether double quotes enclose cells; if not, they are letters.
        decimal: The letter before decimals, "." or ",".
        date_format: How dates are written, in directives of `datetime.strptime`.
        missing: Words that stand for a missing value, beside an empty cell; None: the usual ones.

    Raises:
        ValueError: If no file can be written like that.
    """

    delimiter: str | None = None
    encoding: str | None = None
    header: bool | None = None
    quotes: bool | None = None
    decimal: str | None = None
    date_format: str | None = None
    missing: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None:
            spelt = _SPELT.get(self.delimiter.lower(), self.delimiter)
            if len(spelt) != 1 or spelt in '"\r\n':
                raise ValueError(f"delimiter must be one character and no quote, not {self.delimiter!r}")
            object.__setattr__(self, "delimiter", spelt)
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError as error:
                raise ValueError(
                    f"encoding must be a codec of Python such as gb18030, not {self.encoding!r}"
                ) from error
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"decimal must be a point or a comma, not {self.decimal!r}")
        if self.date_format is not None:
            date_form(self.date_format)
        if self.missing is not None:
            object.__setattr__(self, "missing", tuple(map(str, self.missing)))


@dataclass(frozen=True)
class Dialect:
    """How a delimited file is written.

    Attributes:
        encoding: A codec of Python, "utf-8" where a byte order mark says so.
        delimiter: The character between two cells.
        names: Names of the columns, all different.
        skip: Lines before the rows: those before the header, and the header if there is one.
        quotes: Whether double quotes enclose cells; if not, they are letters unless they enclose a whole cell.
        spaced: Whether blanks between cells have to be brought to one form, see `respaced`.
        multiline: Whether there are cells of several lines.
        decimal_comma: Whether numbers are written as 3,14.
        findings: What was found out and is to be said.
    """

    encoding: str
    delimiter: str
    names: tuple[str, ...]
    skip: int
    quotes: bool
    spaced: bool
    multiline: bool
    decimal_comma: bool
    findings: tuple[Finding, ...] = field(default=(), compare=False)


def find_dialect(path: Path, title: str, reading: ReadOptions) -> Dialect:
    """Find out how a file is written; what the user says is taken as it is.

    Args:
        path: An existing file, plain or .gz.
        title: What messages call it.
        reading: What the user says.

    Raises:
        UserError: If the file is binary, not in the encoding that is given, or holds no rows.
    """
    notes = Notes(title)
    encoding = _encoding(path, reading, notes)
    lines = _sample(path, title, encoding)
    before, delimiter = _preamble(lines, reading, notes)
    lines = lines[before:]
    if delimiter == " ":
        lines = respaced("".join(lines).encode(), delimiter).decode().splitlines(keepends=True)
    if not lines:
        raise UserError(f"{title} holds no rows")
    if reading.delimiter is None and delimiter != ",":
        notes.info(f": cells are separated by {delimiter!r} (data.delimiter)")
    quotes, multiline = _quoting(lines, delimiter, reading, notes)
    rows = _rows(lines, delimiter, quotes)
    if rows and not any(cell.strip() for cell in rows[0]):
        raise UserError(f"{title} has no column names: its first line is blank")
    decimal_comma = reading.decimal == "," if reading.decimal else _has_decimal_comma(rows, delimiter, notes)
    names, has_header = _header(rows, reading.header, decimal_comma, notes)
    return Dialect(
        encoding="utf-8" if encoding == "utf-8-sig" else encoding,
        delimiter=delimiter,
        names=tuple(names),
        skip=before + _num_lines(lines, delimiter, quotes) * has_header,
        quotes=quotes,
        spaced=delimiter == " " or (quotes and _is_spaced(lines, delimiter, rows)),
        multiline=multiline,
        decimal_comma=decimal_comma,
        findings=tuple(notes),
    )


def _encoding(path: Path, reading: ReadOptions, notes: Notes) -> str:
    with open_bytes(path) as file:
        beginning = file.read(8)
    foreign = next((name for magic, name in _FOREIGN.items() if beginning.startswith(magic)), None)
    if foreign:
        raise UserError(f"{notes.title} is {foreign}")
    if reading.encoding is not None:
        return reading.encoding
    found = find_encoding(path)
    if found.is_guess:
        shown = f", such as {found.example!r}" if found.example else ""
        notes.warn(f" is not in UTF-8; it is read as {found.name}{shown} (data.encoding)")
    return found.name


def _sample(path: Path, title: str, encoding: str) -> list[str]:
    """Return the first lines, with their ends."""
    with open_bytes(path) as file:
        data = more = file.read(_SAMPLE)
        while more and not re.search(rb"[\r\n]", more):
            if len(data) > _MAX_LINE:
                # A few packed bytes may unpack to a line of gigabytes.
                raise UserError(f"{title}: a row of more than {_MAX_LINE:,} bytes")
            more = file.read(len(data))
            data += more
        whole = not file.read(1)
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(data, final=whole)
    if "\0" in text:
        raise UserError(f"{title} is a binary file, not a table of text (it holds zero bytes)")
    # Not str.splitlines, which cuts at letters that a text may hold.
    lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text.removeprefix("\ufeff"))
    lines = lines if whole or len(lines) == 1 else lines[:-1]
    return [line for line in lines if line]


def _preamble(lines: list[str], reading: ReadOptions, notes: Notes) -> tuple[int, str]:
    """Return how many lines stand before the table, and the delimiter."""
    before = 0
    delimiter = reading.delimiter
    said = re.fullmatch(r"\s*sep=(.)\s*", lines[0], re.IGNORECASE) if lines else None
    if said:
        # Excel writes this line, and reads it.
        before, delimiter = 1, delimiter or said[1]
    while before < len(lines) and not lines[before].strip():
        before += 1
    start = before
    while before < len(lines) and lines[before].startswith("#"):
        before += 1
    delimiter = delimiter or _sniff_delimiter(lines[before:] or lines[start:])
    if start < before < len(lines):
        comment, below = (lines[place].strip().split(delimiter) for place in (before - 1, before))
        if len(comment) == len(below) > 1 and _has_number(below) and not _has_number(comment):
            # The last comment names the columns.
            before -= 1
    if before > start:
        notes.info(f": {before - start} line{'s'[: before - start - 1]} of comments (#) before the table")
    return before + _title_lines(lines[before:], delimiter, notes), delimiter


def _has_number(cells: Sequence[str]) -> bool:
    return any(number_in(cell) is not None for cell in cells)


def _title_lines(lines: list[str], delimiter: str, notes: Notes) -> int:
    """Return how many lines stand before the table: prose in one cell, or numbers that tell of it, all others even."""
    rows = _rows(lines, delimiter, True)
    widths = [len(row) for row in rows]
    usual = max(set(widths), key=widths.count, default=0)
    before = next((place for place, width in enumerate(widths) if width == usual), 0)
    # One name less than cells is how R names the rows.
    is_prose = all(len(row) == 1 or (len(row) < usual - 1 and _has_number(row)) for row in rows[:before])
    if usual < 2 or not 0 < before < 20 or not is_prose or any(width != usual for width in widths[before:]):
        return 0
    place = _num_lines(lines, delimiter, True, before)
    notes.warn(f": the table begins after {lines[place - 1].strip()[:60]!r} in line {place}")
    return place


def _reader(lines: Sequence[str], delimiter: str, quotes: bool) -> Any:
    if quotes:
        return csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)


def _rows(lines: Sequence[str], delimiter: str, quotes: bool) -> list[list[str]]:
    rows: list[list[str]] = []
    # What cannot be read is reported, with its line, when the rows are read.
    limit = csv.field_size_limit(1 << 30)
    try:
        with contextlib.suppress(csv.Error):
            rows.extend(_reader(lines, delimiter, quotes))
    finally:
        csv.field_size_limit(limit)
    return [row for row in rows if row]


def _num_lines(lines: Sequence[str], delimiter: str, quotes: bool, num_rows: int = 1) -> int:
    """Return how many lines the first rows take."""
    reader = _reader(lines, delimiter, quotes)
    for row in reader:
        num_rows -= bool(row)
        if not num_rows:
            break
    return int(reader.line_num)


def _sniff_delimiter(lines: list[str]) -> str:
    """Choose the delimiter that cuts most lines into as many cells as the first, and into most cells."""
    best, best_score = ",", (0.0, 1)
    for delimiter in _DELIMITERS:
        widths = [len(row) for row in _rows(lines, delimiter, True)]
        if widths and widths[0] > 1:
            score = round(widths.count(widths[0]) / len(widths), 1), widths[0]
            best, best_score = max((best, best_score), (delimiter, score), key=lambda pair: pair[1])
    return " " if best_score == (0.0, 1) and _are_apart(lines) else best


def _are_apart(lines: list[str]) -> bool:
    """Return whether blanks cut all lines into as many cells, most of them numbers."""
    rows = [row for row in (line.split() for line in lines) if row]
    if len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
        return False
    cells = [cell for row in rows[1:] for cell in row]
    return sum(number_in(cell) is not None for cell in cells) * 2 >= len(cells)


def _quoting(lines: list[str], delimiter: str, reading: ReadOptions, notes: Notes) -> tuple[bool, bool]:
    """Return whether quotes enclose cells, and whether cells have several lines.

    If cutting every line at the delimiters alone gives rows of one width, while quotes would make one row of several
    lines, or would be lost inside a cell, then they are letters.
    """
    if not any('"' in line for line in lines):
        return reading.quotes is not False, False
    plain = _rows(lines, delimiter, False)
    merges = len(_rows(lines, delimiter, True)) < len(plain)
    if reading.quotes is not None:
        return reading.quotes, reading.quotes and merges
    is_even = len({len(row) for row in plain}) == 1 and len(plain[0]) > 1
    stray = next((cell for row in plain for cell in row if _is_stray(cell)), None)
    if is_even and (stray is not None or (merges and delimiter == "\t")):
        notes.info(f": double quotes are letters, as in {(stray or '')[:40]!r} (data.quotes)")
        return False, False
    return True, merges


def _is_stray(cell: str) -> bool:
    """Return whether a cell between two delimiters begins with a quote that does not enclose it."""
    cell = cell.strip()
    return cell.startswith('"') and not re.fullmatch(r'"(?:[^"]|"")*"', cell)


def _has_decimal_comma(rows: list[list[str]], delimiter: str, notes: Notes) -> bool:
    """Return whether numbers are written as 3,14; what could be groups of thousands only tells if nothing else does."""
    cells = [cell.strip() for row in rows[1:] for cell in row]
    commas, points = (
        [cell for cell in cells if pattern.fullmatch(cell)] for pattern in (_COMMA_NUMBER, _POINT_NUMBER)
    )
    clear_commas, clear_points = (
        sum(not _GROUPED.fullmatch(cell) for cell in found) for found in (commas, points)
    )
    if clear_commas or clear_points:
        if clear_commas > clear_points:
            notes.info(": numbers are written with a decimal comma (data.decimal)")
        return clear_commas > clear_points
    # Where commas separate cells, a quoted "1,250" is more than a thousand.
    has_comma = delimiter != "," and len(commas) > len(points)
    if has_comma:
        value = commas[0].replace(",", ".")
        notes.warn(f": {commas[0]!r} is read as {value}; data.decimal=. reads it as a thousand and more")
    return has_comma


def _is_spaced(lines: list[str], delimiter: str, rows: list[list[str]]) -> bool:
    """Return whether quotes enclose cells only if the blanks before them are left out."""
    if not any(f"{delimiter} " in line and '"' in line for line in lines):
        return False
    return [len(row) for row in csv.reader(lines, delimiter=delimiter) if row] != [*map(len, rows)]


def _header(
    rows: list[list[str]], has_header: bool | None, decimal_comma: bool, notes: Notes
) -> tuple[list[str], bool]:
    """Return the names of the columns, and whether the first row holds them."""
    first, others = [cell.strip() for cell in rows[0]], rows[1:]
    first[0] = first[0].removeprefix("#").strip()
    if all(len(name) > 2 and name[0] == name[-1] == "'" for name in first):
        first = [name[1:-1] for name in first]
    if others and all(len(row) == len(first) + 1 for row in others):
        # R writes the names of the rows without a name above them.
        notes.info(": the first column, without a name, holds names of rows")
        first = ["", *first]
    if has_header is None:
        evidence = _looks_like_data(first, others, decimal_comma)
        has_header = not evidence
        if evidence:
            shown = ", ".join(first[:4]) + (" ..." if len(first) > 4 else "")
            notes.warn(
                f": the first line ({shown}) is read as data, as {evidence}; the columns are called column_1 to "
                f"column_{len(first)} (data.header=true takes it for their names)"
            )
    if not has_header:
        return [f"column_{number}" for number in range(1, len(first) + 1)], False
    names = _unique(first)
    for given, name in zip(first, names, strict=True):
        if given != name:
            what = f"a second column {given!r}" if given else "a column without a name"
            notes.warn(f" has {what}; it is called {name!r}")
    return names, True


def _looks_like_data(first: list[str], others: list[list[str]], decimal_comma: bool) -> str:
    """Return why the first row looks like the rows below it; "" if it may hold the names of the columns."""
    numbers = [number_in(cell, decimal_comma) for cell in first]
    known = [number for number in numbers if number is not None]
    # Columns that are counted (0, 1, 2) and years in a row are names.
    if len(known) > 1 and known[0].is_integer() and all(b - a == 1 for a, b in pairwise(known)):
        return ""
    whole = [row for row in others if len(row) == len(first)]
    columns = [list(column) for column in zip(*whole, strict=True)] or [[]] * len(first)
    shares = [_share_of_numbers(column, decimal_comma) for column in columns]
    pairs = list(zip(first, numbers, shares, strict=True))
    if any(number is None and cell and share >= MOSTLY for cell, number, share in pairs):
        return ""
    if not all(number.is_integer() for number in known):
        return "it holds a number with decimals"
    # A year stands above a column of numbers as a name does; beside words it is a value.
    years = len(known) == len(first) and all(1000 <= number <= 2999 for number in known)
    if any(number is not None and share >= MOSTLY for _, number, share in pairs):
        return "" if years else "it holds numbers where they do"
    repeated = [cell for cell, column in zip(first, columns, strict=True) if cell and cell in column]
    return f"{repeated[0]!r} is a value of other rows in that column" if repeated else ""


def _share_of_numbers(column: list[str], decimal_comma: bool) -> float:
    known = [cell for cell in column if not is_missing(cell)]
    return sum(number_in(cell, decimal_comma) is not None for cell in known) / len(known) if known else 0.0


def _unique(names: Sequence[str]) -> list[str]:
    """Return names of columns that are all different and none empty: "x", "x (2)", "unnamed"."""
    taken, seen = set(names), dict[str, int]()
    unique = []
    for given in names:
        name = candidate = given or "unnamed"
        number = seen[name] = seen.get(name, 0) + 1
        if number > 1:
            candidate = next(one for n in count(number) if (one := f"{name} ({n})") not in taken)
        taken.add(candidate)
        unique.append(candidate)
    return unique
