"""One file of a table, whatever its format."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import pyarrow as pa

# A logging level, and a sentence that is to be said.
Finding = tuple[int, str]


class Notes(list[Finding]):
    """What was found out about a file and is to be said, in sentences that begin with its title."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = title

    def info(self, sentence: str) -> None:
        """Add what was found out."""
        self.append((logging.INFO, f"{self.title}{sentence}"))

    def warn(self, sentence: str) -> None:
        """Add what may be wrong."""
        self.append((logging.WARNING, f"{self.title}{sentence}"))


class Part(ABC):
    """One file of a table.

    Attributes:
        names: Names of its columns, all different.
        findings: What was found out about it and is to be said.
        categories: Names of the columns that it declares as categories.
        decimal_comma: Whether numbers are written as 3,14.
    """

    names: list[str]
    findings: Sequence[Finding] = ()
    categories: Sequence[str] = ()
    decimal_comma: bool = False

    @abstractmethod
    def batches(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """Yield the rows, some at a time."""
