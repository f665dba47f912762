"""What datasets of tables share: the split, the learnt encoding, gathering rows, reading a user's rows."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from nnkit.batches import TableBatch
from nnkit.data.base import DataModule, Preprocessing, Samples, Split
from nnkit.data.sampler import Draw
from nnkit.data.tables.columns import (
    ColumnOptions,
    Features,
    encode,
    gather,
    learn_columns,
    mean_and_std,
    num_features,
)
from nnkit.data.tables.table_file import LoadedTable, TableSource, load_table, read_table_rows
from nnkit.data.tables.targets import Target
from nnkit.errors import UserError

SHIPPED = Path(__file__).parents[1] / "datasets" / "files"

_logger = logging.getLogger("nnkit")

# In a hundred validation rows two checkpoints that differ by less than five points cannot be told apart.
_MIN_ROWS_TO_VALIDATE = 1_000


class TableSamples(Samples):
    """One split of a table; the rows of a batch are gathered at once, one-hot features made on the way.

    Args:
        features: Features of all rows of the table.
        targets: Target of each row, (n,) int64 or (n, outputs) float32.
        rows: Which rows make up the split, int64.
    """

    def __init__(self, features: Features, targets: Tensor, rows: Tensor) -> None:
        self._features = features
        self._targets = targets
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, draw: Draw) -> TableBatch:
        rows = self._rows.index_select(0, draw.indices)
        return TableBatch(gather(self._features, rows), self._targets.index_select(0, rows), draw.indices)

    def targets(self) -> Tensor:
        """Return the target of each row."""
        return self._targets.index_select(0, self._rows)


@dataclass(kw_only=True, eq=False)
class TableData(DataModule):
    """Base of datasets of tables: a subclass says which file it is and what to do with its columns.

    Numbers are standardised with what the training rows say, at most ten standard deviations from their mean;
    missing ones take the median and get a feature that marks them. Categories become one feature each.
    Targets that are real values are standardised as well; `preprocessing["target"]` holds the mean and the
    standard deviation that take them back.

    Attributes:
        targets: Types of target the task learns from, ``${task.targets}``: "index" makes the target a class,
            "real" a real value.
        val_fraction: Share of the rows held out for validation; 0: none; None: a tenth, and none of a table of
            fewer than 1,000 rows, where the best of many checkpoints would be the luckiest.
        test_fraction: Share of the rows held out for the test.
        split_seed: Seed of the split; the split does not depend on `seed`.

    Raises:
        ValueError: If an option is out of range, or the task does not fit the target.
    """

    targets: Sequence[str] = ("index",)
    val_fraction: float | None = None
    test_fraction: float = 0.2
    split_seed: int = 0
    batch_size: int = 32

    fact_names = ("num_features", "num_classes", "num_outputs")
    is_checked = True
    split_by = ("val_fraction", "test_fraction", "split_seed")
    # What the target is where that is certain.
    holds: ClassVar[Literal["index", "real"] | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = self.holds or "index or real"
        if not set(self.targets) & ({self.holds} if self.holds else {"index", "real"}):
            task = {"index": "task=classification", "real": "task=regression"}.get(wanted, "another task")
            raise ValueError(
                f"targets must contain {wanted}, not {', '.join(self.targets)}: this table goes with {task}"
            )

    def forget(self) -> None:
        """Drop the table."""
        super().forget()
        self._loaded: LoadedTable | None = None
        self._encoded: tuple[Features, Tensor, dict[Split, Tensor]] | None = None

    @abstractmethod
    def source(self) -> TableSource:
        """Return where the table is and how to read it; nothing is read."""

    def _load(self) -> LoadedTable:
        return load_table(self.source(), "index" in self.targets, self.unchanged, say=self.is_new)

    def prepare(self) -> Preprocessing:
        """Read the table, split it, and learn from the training rows how to encode its columns."""
        source = self.source()
        loaded = self._loaded = self._load()
        rows = self._split(loaded.target)
        counts = {name: len(part) for name, part in rows.items()}
        learnt, dropped = learn_columns(loaded.columns, rows["train"].numpy(), source.columns)
        _logger.info(
            "%s: %d rows to train on, %d for validation, %d for the test (data.split_seed=%d)",
            *(source.path, counts["train"], counts["val"], counts["test"], self.split_seed),
        )
        for name, reason in dropped.items():
            _logger.warning("column %r is left out: %s", name, reason)
        if not learnt:
            reasons = "; ".join(f"{name!r}: {reason}" for name, reason in dropped.items())
            raise UserError(
                f"{source.path} has no column to learn from beside the target {loaded.target_name!r}"
                + (f" ({reasons})" if reasons else "")
            )
        return {
            "columns": learnt,
            "dropped": dropped,
            **self._learn_target(loaded, rows["train"]),
            **self.split_options,
            "counts": counts,
            "fingerprint": loaded.fingerprint,
        }

    @property
    def split_options(self) -> dict[str, Any]:
        """As in `DataModule`; once the table is read, its size tells whether there is a validation part by default."""
        options = super().split_options
        if options["val_fraction"] is None and self._loaded is not None:
            enough = len(self._loaded.target.kept) >= _MIN_ROWS_TO_VALIDATE
            options["val_fraction"] = 0.1 if enough else 0.0
        return options

    def _split(self, target: Target) -> dict[Split, Tensor]:
        classes = None if target.class_names is None else target.values[target.kept]
        dealt = self.split_rows(len(target.kept), classes)
        return {name: target.kept[rows] for name, rows in dealt.items()}

    def _learn_target(self, loaded: LoadedTable, training: Tensor) -> dict[str, Any]:
        name, target = loaded.target_name, loaded.target
        if target.class_names is not None:
            return {"target": {"name": name}, "class_names": target.class_names}
        mean, std = mean_and_std(target.values[training].numpy())
        return {"target": {"name": name, "mean": [mean], "std": [std or 1.0]}}

    def facts(self) -> dict[str, Any]:
        """Return the number of features, and that of classes or of real outputs; the other one is None."""
        class_names = self.preprocessing.get("class_names")
        return {
            "num_features": sum(num_features(self.preprocessing["columns"])),
            "num_classes": len(class_names) if class_names else None,
            "num_outputs": None if class_names else len(self.preprocessing["target"]["mean"]),
        }

    def samples(self, split: Split) -> TableSamples:
        """Open one split as the run that wrote `preprocessing` split the data.

        Raises:
            UserError: If the file is gone or has changed since.
        """
        if self._encoded is None:
            loaded = self._loaded or self._load()
            features = encode(loaded.columns, self.preprocessing["columns"], loaded.num_rows)
            targets = loaded.target.values
            if loaded.target.class_names is None:
                scale = self.preprocessing["target"]
                mean, std = torch.tensor(scale["mean"]).double(), torch.tensor(scale["std"]).double()
                targets = ((targets[:, None] - mean) / std).to(torch.float32)
            self._encoded = features, targets, self._split(loaded.target)
            # The raw columns are as large as the features, and nobody needs them again.
            self._loaded = None
        features, targets, rows = self._encoded
        return TableSamples(features, targets, rows[split])

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, TableBatch | str]]:
        """Read the rows of CSV files as batches of one named ``file.csv:row``; see `DataModule.read`.

        Columns that were not trained on, the target among them, are ignored.
        """
        source, learnt = self.source(), self.preprocessing["columns"]
        for item in items:
            try:
                yield from read_table_rows(item, source.delimiter, source.encoding, learnt)
            except UserError as error:
                yield item, str(error)


class ShippedTable(TableData):
    """A table that comes with nnkit; a subclass names its file and its target."""

    file: ClassVar[str]
    target: ClassVar[str]

    def source(self) -> TableSource:
        """Return the file that comes with nnkit; all of its columns are read."""
        return TableSource(str(SHIPPED / self.file), target=self.target, columns=ColumnOptions(drop=()))
