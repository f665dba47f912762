"""The options of data in files of a user's: which files they are, and how these are written."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from nnkit.data.reading.dialect import ReadOptions
from nnkit.data.splits import RandomSplit


@dataclass(kw_only=True, eq=False)
class FileOptions:
    """Which files hold the data and how they are written.

    It is the first base of a data module: Lightning's `__init__` calls that of a base behind it, without the options.

    Attributes:
        path: The file, folder or pattern of files; a folder may hold one for each split (train, val, test).
        train_path: Instead of `path`: that of the training split.
        val_path: That of the validation split; None: it is held out from the training split.
        test_path: That of the test split; None: as for val_path.
        delimiter: Of a delimited file: the character between two cells, or its name (tab); None: found out.
        encoding: A codec of Python; None: found out for each file.
        header: Whether the first row holds the names of the columns; None: found out.
        quotes: Whether double quotes enclose cells; None: found out.
    """

    path: str | None = None
    train_path: str | None = None
    val_path: str | None = None
    test_path: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    header: bool | None = None
    quotes: bool | None = None

    def read_options(self, named: str = "a table: data.path=FILE.csv") -> ReadOptions:
        """Return how the files are written, once the options are checked.

        Args:
            named: What `path` must name, for a message.

        Raises:
            ValueError: If no path is given, or an option is out of range.
        """
        if not (self.path or self.train_path):
            raise ValueError(f"path must name {named}")
        if "-" in (self.path, self.train_path, self.val_path, self.test_path):
            raise ValueError("path must name a file: a run reads its data again when it is tested or resumed")
        names = [field.name for field in fields(ReadOptions)]
        return ReadOptions(**{name: getattr(self, name) for name in names if hasattr(self, name)})


@dataclass(kw_only=True, eq=False)
class ValueOptions(FileOptions):
    """The same where cells hold numbers and dates.

    Attributes:
        decimal: The letter before decimals, "." or ","; None: found out.
        date_format: How dates are written, such as %d/%m/%Y; None: found out.
        missing: Words that stand for a missing value beside an empty cell; None: NA, N/A, null and the like.
    """

    decimal: str | None = None
    date_format: str | None = None
    missing: Sequence[str | int | float] | None = None


@dataclass(kw_only=True, eq=False)
class TextOptions(RandomSplit, FileOptions):
    """The same where cells hold texts, and rows are dealt out to the splits.

    Attributes:
        split_column: Column that says which split a row is in.
        group: Column whose equal values stay in one split.
    """

    split_column: str | int | None = None
    group: str | int | None = None
    test_fraction: float = 0.1

    # A comma in a text stands before no decimals.
    decimal = "."
