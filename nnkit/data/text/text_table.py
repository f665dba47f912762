"""Labelled texts of a user's table: a file of any kind that `open_table` reads, a folder of them, or one a split."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nnkit.data.base import Preprocessing
from nnkit.data.reading.delimited import DelimitedPart
from nnkit.data.reading.file_options import TextOptions
from nnkit.data.reading.split_files import SplitFiles
from nnkit.data.reading.table_file import TableFile, open_table
from nnkit.data.reading.values import is_missing
from nnkit.data.tables.targets import SEPARATORS, SPELT, labels_in, listed_labels, refuse_several
from nnkit.data.text.classes import LabelledRows
from nnkit.data.text.columns import choose_columns, read_cells
from nnkit.data.text.items import TextFiles
from nnkit.data.text.labelled_texts import LabelledTexts
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

# Rows by which it is found out which column holds what.
_SAMPLE = 1_000


@dataclass(kw_only=True, eq=False)
class TextTable(TextOptions, LabelledTexts):
    """A table with a column of texts and one of labels.

    Attributes:
        text: Column of the texts; None: found out by `choose_columns`.
        target: Column of the labels; None: found out in the same way.
        target_separator: With several labels a text: what stands between them, "" if each cell is one label; None:
            found out. A list of a typed file needs none.
        targets: Types of target that the task takes; ["multi"]: a text may have several labels.
        time: Column in whose order the rows are split, the newest ones for the test.
        missing: Words for a missing label, beside an empty cell; None: the usual ones, such as NA.

    Raises:
        ValueError: If no path is given or an option is out of range.
    """

    text: str | int | None = None
    target: str | int | None = None
    target_separator: str | None = None
    targets: Sequence[str] = ("index",)
    time: str | int | None = None
    missing: Sequence[str] | None = None

    split_by = (*TextOptions.split_by, "group", "time", "split_column")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reading = self.read_options("a table with texts and labels: data.path=FILE.csv")

    def forget(self) -> None:
        """Drop the texts."""
        super().forget()
        self._separator = ""

    def prepare(self) -> Preprocessing:
        """Read the texts as any labelled ones, and note what separates several labels."""
        learnt = super().prepare()
        return {**learnt, "target_separator": self._separator} if self._is_multi else learnt

    def text_files(self) -> TextFiles:
        """Return what is known of the files of texts that a user names."""
        known = super().text_files()
        return replace(known, encoding=self.encoding, header=self.header, quotes=self.quotes)

    def target_reader(self) -> Callable[[str | None], Tensor]:
        """Return what turns the cell of a label into a target; see `LabelledTexts.target_reader`."""
        if not self._is_multi:
            return super().target_reader()
        names, separator = self.preprocessing["class_names"], self.preprocessing["target_separator"]

        def read(cell: str | None) -> Tensor:
            if cell is None or (cell.strip() and is_missing(cell, self.reading.missing)):
                return torch.full((1, len(names)), torch.nan)
            labels = set(labels_in(cell.strip(), separator))
            return torch.tensor([[float(name in labels) for name in names]])

        return read

    def load(self) -> LabelledRows:
        """Read the rows.

        Raises:
            UserError: If a file cannot be read or has changed.
            ConfigError: If it lacks a column, or it is not clear which one is meant.
        """
        paths = self.files_of_splits(self.path)
        title = str(self.path or self.train_path)
        table = SplitFiles.of({split: open_table(path, self.reading) for split, path in paths.items()}, title)
        found = self.unchanged(title, table.fingerprint())
        if self.is_new:
            table.say()
        columns = self.preprocessing.get("columns") or self._columns(table)
        cells = read_cells(table, columns)
        return LabelledRows(
            title=title,
            columns=columns,
            texts=[(text or "").strip() for text in cells["text"]],
            labels=self._labels(
                title, columns["target"], cells["target"], self._missing(table.files["train"])
            ),
            fingerprint=found,
            split_keys=table.split_keys(self.split_options),
        )

    def _columns(self, table: TableFile) -> dict[str, str]:
        first = next(table.texts(table.names), None)
        if first is None:
            raise UserError(f"{table.title} holds column names but no rows")
        sample = {name: cells[:_SAMPLE] for name, cells in zip(table.names, first, strict=True)}
        for name in (self.split_column, self.group, self.time):
            sample.pop(str(name), None)
        # A name such as 2020 comes as a number.
        text, target = (None if name is None else str(name) for name in (self.text, self.target))
        return choose_columns(table.title, sample, text, target, report=self.is_new)

    def _missing(self, table: TableFile) -> tuple[str, ...] | None:
        """Return the words for a missing label: none where a file has null for it, unless the user names some."""
        is_typed = not any(isinstance(part, DelimitedPart) for part in table.parts)
        return () if is_typed and self.reading.missing is None else self.reading.missing

    def _labels(
        self, title: str, column: str, cells: list[str | None], missing: tuple[str, ...] | None
    ) -> Sequence[Any]:
        """Return the label of each row, or all its labels; None where it is missing."""
        words: Counter[str] = Counter()
        labels: list[str | None] = []
        for cell in cells:
            label = None if cell is None else cell.strip()
            if label is not None and is_missing(label, missing):
                words[label] += bool(label)
                # An empty cell of a column with several labels holds none of them, which is known.
                label = None if label or not self._is_multi else ""
            labels.append(label)
        for word, count in words.items():
            if count and self.is_new:
                _logger.warning(
                    "%s: %r in %s cells of column %r counts as a missing label (data.missing=[] makes it one)",
                    *(title, word, f"{count:,}", column),
                )
        if self._is_multi:
            return self._label_sets(title, column, labels)
        refuse_several(f"column {column!r} of {title}", labels, self.target_separator)
        return labels

    @property
    def _is_multi(self) -> bool:
        return "multi" in self.targets

    def _label_sets(self, title: str, column: str, labels: list[str | None]) -> list[tuple[str, ...] | None]:
        separator = self.preprocessing.get("target_separator", self.target_separator)
        if separator is None:
            separator = _separator_of(labels)
            if self.is_new and not any(listed_labels(label or "") for label in labels):
                found = f"are separated by {separator!r}" if separator else "stand alone in their cells"
                _logger.warning("%s: labels in column %r %s (data.target_separator)", title, column, found)
        separator = self._separator = SPELT.get(separator, separator)
        empty = sum(label == "" for label in labels)
        if empty and self.is_new:
            _logger.warning("%s: %s texts have an empty cell in %r: no label", title, f"{empty:,}", column)
        return [None if label is None else labels_in(label, separator) for label in labels]


def _separator_of(labels: Sequence[str | None]) -> str:
    """Return what cuts cells into labels that several cells share; "" where each cell is one label."""
    different = dict.fromkeys(label for label in labels if label)
    for separator in SEPARATORS:
        parts = [part for cell in different for part in labels_in(cell, separator)]
        # Names have commas as well: there they must make many classes out of few labels.
        most = len(different) if separator == "," else len(parts)
        if any(separator in cell for cell in different) and len(set(parts)) < most:
            return separator
    return ""
