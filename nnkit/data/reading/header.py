"""Which row of a delimited file names the columns, and how the columns are called."""

from collections.abc import Sequence
from itertools import count, pairwise

from nnkit.data.reading.part import Notes
from nnkit.data.reading.values import MOSTLY, is_missing, number_in


def find_header(
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
    names = unique_names(first)
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


def unique_names(names: Sequence[str]) -> list[str]:
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
