"""A CSV file of the user's: numbers and categories in columns, one of them the target."""

from collections.abc import Sequence

from nnkit.data.reading.frame import check_dialect
from nnkit.data.tables.base import TableData
from nnkit.data.tables.columns import ColumnOptions
from nnkit.data.tables.table_file import TableSource


class CSV(TableData):
    """A delimited text file with column names in its first line, plain or .gz.

    Delimiter (comma, semicolon, tab, bar), encoding (UTF-8, UTF-16 with a mark, Latin-1), decimal comma and
    the kind of each column are found out; what is found out, left out or counted as missing is said.

    Args:
        path: The file.
        target: Name of the column to predict; default: the last one.
        drop: Columns to leave out; default: those that look like an identifier.
        categorical: Columns of numbers that are names of categories.
        max_categories: Categories of a column that get a feature of their own; the rarer ones share one.
        delimiter: The character between two fields; default: found out.
        encoding: The file's codec; default: found out.
        targets: As in `TableData`, like the rest.
        val_fraction: As in `TableData`.
        test_fraction: As in `TableData`.
        split_seed: As in `TableData`.
        batch_size: As in `TableData`.
        eval_batch_size: As in `TableData`.
        num_workers: As in `TableData`.
        seed: As in `TableData`.

    Raises:
        ValueError: If no path is given or an argument is out of range.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        target: str | int | None = None,
        drop: Sequence[str | int] | None = None,
        categorical: Sequence[str | int] = (),
        max_categories: int = 32,
        delimiter: str | None = None,
        encoding: str | None = None,
        targets: Sequence[str] = ("index",),
        val_fraction: float | None = None,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            targets=targets,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        if not path:
            raise ValueError("path must name a CSV file: data.path=FILE.csv")
        if max_categories < 1:
            raise ValueError(f"max_categories must be at least 1, not {max_categories}")
        check_dialect(delimiter, encoding)
        self._source = TableSource(
            path=path,
            # A name such as 2020 comes as a number.
            target=None if target is None else str(target),
            categorical=tuple(map(str, categorical)),
            columns=ColumnOptions(None if drop is None else tuple(map(str, drop)), max_categories),
            delimiter=delimiter,
            encoding=encoding,
        )

    def source(self) -> TableSource:
        """Return the user's file and options."""
        return self._source
