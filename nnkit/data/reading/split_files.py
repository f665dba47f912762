"""The files of several splits as one table, and its columns that rows are split by: groups, times, names of splits."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from nnkit.data.reading.cells import Datetimes, Texts
from nnkit.data.reading.columns import read_frame
from nnkit.data.reading.dates import show
from nnkit.data.reading.dialect import ReadOptions
from nnkit.data.reading.table_file import TableFile, as_strings, open_table
from nnkit.data.splits import Split, SplitOptions, settled_by_sizes, settled_by_words
from nnkit.data.splitting import SplitKeys
from nnkit.errors import ConfigError, UserError
from nnkit.suggest import absent


@dataclass
class SplitFiles(TableFile):
    """The files of all splits as one table, which counts the rows of each as they are read.

    Attributes:
        files: The files by split, those of the training rows first.
        sizes: Rows of each split, once all of them are read.
    """

    files: dict[Split, TableFile] = field(default_factory=dict)
    sizes: dict[Split, int] = field(default_factory=dict)

    @classmethod
    def of(cls, files: dict[Split, TableFile], title: str) -> Self:
        """Join files that are opened; messages call them by the title."""
        paths = [path for table in files.values() for path in table.paths]
        parts = [part for table in files.values() for part in table.parts]
        return cls(title, paths, parts, files["train"].reading, files)

    def batches_by_file(
        self, columns: Sequence[str] | None = None
    ) -> Iterator[tuple[TableFile, pa.RecordBatch]]:
        """Yield the rows; see `TableFile.batches_by_file`."""
        self.sizes = dict.fromkeys(self.files, 0)
        for split, table in self.files.items():
            for file, batch in table.batches_by_file(columns or self.names):
                self.sizes[split] += batch.num_rows
                yield file, batch

    def split_keys(self, options: dict[str, Any]) -> SplitKeys:
        """Return what the rows are split by, once they have been read; see `read_split_keys`.

        Rows with a file of their own are dealt out to no other split, whatever their group and time.
        """
        keys = read_split_keys(self.files["train"], options)
        if len(self.sizes) > 1:
            others = sum(self.sizes.values()) - self.sizes["train"]
            name: Literal["groups", "times"]
            for name in ("groups", "times"):
                if name in keys:
                    keys[name] = torch.cat([keys[name], keys[name].new_zeros(others)])
            keys["settled"] = settled_by_sizes(self.sizes)
        return keys


def open_split_files(files: Mapping[Split, str], reading: ReadOptions) -> SplitFiles:
    """Open the files of a table; only samples of them are read.

    Args:
        files: The file, folder or pattern of each split, the training rows among them.
        reading: How they are written.

    Raises:
        UserError: If one cannot be read, or lacks columns that the training rows have.
    """
    tables = {split: open_table(path, reading) for split, path in files.items()}
    first = tables["train"]
    for table in tables.values():
        lacking = [name for name in first.names if name not in table.names]
        if lacking:
            raise UserError(f"{table.title} lacks {lacking[0]!r}, which {first.title} has")
    return SplitFiles.of(tables, first.title)


def check_columns(title: str, names: Sequence[str], given: Mapping[str, str | None]) -> None:
    """Refuse columns that a table lacks.

    Args:
        title: The table, for messages.
        names: Its columns.
        given: The wanted ones by the name of their option; None: none.

    Raises:
        ConfigError: If there are any.
    """
    problems = [
        absent(f"data.{key}", title, name, names)
        for key, name in given.items()
        if name is not None and name not in names
    ]
    if problems:
        raise ConfigError(problems)


def read_split_keys(table: TableFile, options: dict[str, Any]) -> SplitKeys:
    """Read what the rows of a table are split by; nothing is read where no column is.

    A module that keeps some of the rows passes those of each tensor on.

    Args:
        table: The table, opened.
        options: `DataModule.split_options`: group, time and split_column name columns.

    Raises:
        ConfigError: If there is no such column.
        UserError: If its values cannot be used.
    """
    chosen = SplitOptions.of(options)
    named = {
        key: str(name)
        for key in ("group", "time", "split_column")
        if (name := getattr(chosen, key)) is not None
    }
    check_columns(table.title, table.names, named)
    keys = SplitKeys()
    if "group" in named:
        keys["groups"] = _groups(table, named["group"])
    if "time" in named:
        keys["times"], keys["time_text"] = _times(table, named["time"])
    if "split_column" in named:
        name = named["split_column"]
        words = read_frame(table, as_text=[name], columns=[name]).columns[name]
        assert isinstance(words, Texts)
        keys["settled"] = settled_by_words(torch.from_numpy(words.codes).long(), words.values, name)
    return keys


def _groups(table: TableFile, name: str) -> Tensor:
    """Number the values of a column however many there are; a cell without one is -1."""
    chunks = [pc.utf8_trim_whitespace(as_strings(batch.column(0))) for batch in table.batches([name])]
    cells = pa.chunked_array(chunks, pa.string())
    numbered = pc.if_else(pc.equal(cells, ""), None, cells).dictionary_encode().combine_chunks()
    return torch.tensor(pc.fill_null(numbered.indices, -1).to_numpy(), dtype=torch.int64)


def _times(table: TableFile, name: str) -> tuple[Tensor, Callable[[float], str]]:
    column = read_frame(table, columns=[name]).columns[name]
    if isinstance(column, Texts):
        shown = ", ".join(map(repr, column.values[:3]))
        raise UserError(f"data.time: column {name!r} holds texts ({shown}), neither dates nor numbers")
    times = torch.from_numpy(column.values.astype("f8"))
    return times, show if isinstance(column, Datetimes) else "{:.10g}".format
