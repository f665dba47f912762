"""The columns of a table that its rows are split by: groups, times, and words that name the split."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from nnkit.data.reading.cells import Datetimes, Texts
from nnkit.data.reading.columns import read_frame
from nnkit.data.reading.dates import show
from nnkit.data.reading.table_file import TableFile, as_strings
from nnkit.data.splits import SplitOptions, settled_by_words
from nnkit.data.splitting import SplitKeys
from nnkit.errors import ConfigError, UserError
from nnkit.suggest import absent


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
