"""A table of the user's: numbers, categories and dates in columns, one or several of them the target."""

from collections.abc import Sequence
from dataclasses import dataclass

from nnkit.data.reading.file_options import ValueOptions
from nnkit.data.tables.base import TableData
from nnkit.data.tables.loading import TableSource


@dataclass(kw_only=True, eq=False)
class Table(ValueOptions, TableData):
    """A table in files of the user's: CSV, TSV, Parquet, Feather or JSON, one file, a folder or a pattern of them.

    How it is written, which column is the target and what each column holds are found out; what is found out, left out
    or counted as missing is logged.

    Attributes:
        target: Column to predict, or several; None: the one that is called target, label, y, class or the like, or else
            the last one.
        target_separator: What stands between two labels of a cell for task=multilabel; None: found out.
        drop: Columns to leave out; None: those that look like an identifier.
        id: Columns that label the rows in predictions, and are never learnt from.
        categorical: Columns of numbers that are names of categories.
        max_categories: Categories of a column that get a feature of their own; columns with more are rich.
        max_vectors: Categories of a rich column that get a vector of their own, the most frequent ones that three
            training rows have; all others share one. 0: no column is rich, its rarer categories share a feature.
        split_column: Column that says which split a row is in: train, val, test or a word like these.
        group: Column whose values keep their rows in one split.
        time: Column in whose order rows are split, the newest for the test.

    Raises:
        ValueError: If no path is given or an option is out of range.
    """

    target: str | int | Sequence[str | int] | None = None
    target_separator: str | None = None
    drop: Sequence[str | int] | None = None
    id: Sequence[str | int] = ()
    categorical: Sequence[str | int] = ()
    max_categories: int = 32
    max_vectors: int = 20_000
    split_column: str | int | None = None
    group: str | int | None = None
    time: str | int | None = None

    fact_names = ("num_features", "cardinalities", "num_classes", "num_outputs")
    split_by = (*TableData.split_by, "split_column", "group", "time")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._reading = self.read_options()
        if self.max_categories < 1:
            raise ValueError(f"max_categories must be at least 1, not {self.max_categories}")
        if self.max_vectors < 0:
            raise ValueError(f"max_vectors must be at least 0, not {self.max_vectors}")

    def source(self) -> TableSource:
        """Return the user's files and options."""
        target = [self.target] if isinstance(self.target, str | int) else self.target or ()
        split = self.split_options
        return TableSource(
            files=self.files_of_splits(self.path),
            target=_texts(target),
            target_separator=self.target_separator,
            categorical=_texts(self.categorical),
            drop=None if self.drop is None else _texts(self.drop),
            id=_texts(self.id),
            max_categories=self.max_categories,
            max_vectors=self.max_vectors,
            **{
                name: None if split[name] is None else str(split[name])
                for name in ("split_column", "group", "time")
            },
            reading=self._reading,
        )


def _texts(names: Sequence[object]) -> tuple[str, ...]:
    """Return names as texts: one such as 2020 may come as a number."""
    return tuple(map(str, names))
