"""Columns of texts of a user's table, or of one for each split, with what decides the split of each row."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nnkit.data.base import Split
from nnkit.data.download.sources import fingerprint
from nnkit.data.reading.split_columns import read_split_keys
from nnkit.data.reading.table_file import TableFile
from nnkit.data.splits import settled_by_sizes
from nnkit.data.splitting import SplitKeys
from nnkit.data.text.columns import check_columns

Cells = dict[str, list[str | None]]


class UserTables:
    """The tables of a user that make up one dataset.

    Args:
        title: What the user named, for messages.
        tables: One for the training rows, and for others where a split has its own.
    """

    def __init__(self, title: str, tables: dict[Split, TableFile]) -> None:
        self.title, self._tables = title, tables

    @property
    def first(self) -> TableFile:
        """The table of the training rows."""
        return self._tables["train"]

    def fingerprint(self) -> str:
        """Return the SHA-256 of the table, or one over those of several."""
        hashes = [table.fingerprint() for table in self._tables.values()]
        return hashes[0] if len(hashes) == 1 else fingerprint(hashes)

    def say(self) -> None:
        """Log what was found out about the files."""
        for table in self._tables.values():
            table.say()

    def read(self, columns: Mapping[str, str], options: dict[str, Any]) -> tuple[Cells, SplitKeys]:
        """Read columns of texts, the rows of all tables one after the other.

        Args:
            columns: Their names by what they are for, such as "text".
            options: `DataModule.split_options`.

        Returns:
            The cells by what they are for, None where a typed file has none; and what the rows are split by.

        Raises:
            UserError: If rows cannot be read, or cannot be split by the columns that the options name.
            ConfigError: If a table lacks a column.
        """
        for table in self._tables.values():
            check_columns(table.title, table.names, columns)
        keys = read_split_keys(self.first, options)
        cells: Cells = {key: [] for key in columns}
        names, sizes = list(dict.fromkeys(columns.values())), dict.fromkeys(self._tables, 0)
        for split, table in self._tables.items():
            for chunk in table.texts(names):
                by_name = dict(zip(names, chunk, strict=True))
                for key, name in columns.items():
                    cells[key] += by_name[name]
                sizes[split] += len(chunk[0])
        if len(sizes) > 1:
            keys["settled"] = settled_by_sizes(sizes)
            # Rows with a split of their own are dealt out to none, whatever their group and time.
            others = sum(sizes.values()) - sizes["train"]
            if "groups" in keys:
                keys["groups"] = _padded(keys["groups"], others)
            if "times" in keys:
                keys["times"] = _padded(keys["times"], others)
        return cells, keys


def _padded(values: Tensor, count: int) -> Tensor:
    return torch.cat([values, values.new_zeros(count)])
