"""A CSV file of the user's: numbers and categories in columns, one of them the target."""

from collections.abc import Sequence
from dataclasses import dataclass

from nnkit.data.reading.frame import check_dialect
from nnkit.data.tables.base import TableData
from nnkit.data.tables.columns import ColumnOptions
from nnkit.data.tables.table_file import TableSource


@dataclass(kw_only=True, eq=False)
class CSV(TableData):
    """A delimited text file with column names in its first line, plain or .gz.

    Delimiter (comma, semicolon, tab, bar), encoding (UTF-8, UTF-16 with a mark, Latin-1), decimal comma and
    the kind of each column are found out; what is found out, left out or counted as missing is logged.

    Attributes:
        path: The file.
        target: Name of the column to predict; None: the last one.
        drop: Columns to leave out; None: those that look like an identifier.
        categorical: Columns of numbers that are names of categories.
        max_categories: Categories of a column that get a feature of their own; the rarer ones share one.
        delimiter: The character between two fields; None: found out.
        encoding: The file's codec; None: found out.

    Raises:
        ValueError: If no path is given or an option is out of range.
    """

    path: str | None = None
    target: str | int | None = None
    drop: Sequence[str | int] | None = None
    categorical: Sequence[str | int] = ()
    max_categories: int = 32
    delimiter: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path:
            raise ValueError("path must name a CSV file: data.path=FILE.csv")
        if self.max_categories < 1:
            raise ValueError(f"max_categories must be at least 1, not {self.max_categories}")
        check_dialect(self.delimiter, self.encoding)

    def source(self) -> TableSource:
        """Return the user's file and options."""
        drop = None if self.drop is None else tuple(map(str, self.drop))
        return TableSource(
            path=str(self.path),
            # A name such as 2020 comes as a number.
            target=None if self.target is None else str(self.target),
            categorical=tuple(map(str, self.categorical)),
            columns=ColumnOptions(drop, self.max_categories),
            delimiter=self.delimiter,
            encoding=self.encoding,
        )
