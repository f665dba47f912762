"""The files of several splits as one table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import pyarrow as pa
import torch

from nnkit.data.reading.dialect import ReadOptions
from nnkit.data.reading.split_columns import read_split_keys
from nnkit.data.reading.table_file import TableFile, open_table
from nnkit.data.splits import Split, settled_by_sizes
from nnkit.data.splitting import SplitKeys
from nnkit.errors import UserError


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
