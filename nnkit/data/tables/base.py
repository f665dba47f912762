"""What datasets of tables share: the split, the learnt encoding, gathering rows, reading a user's rows."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from nnkit.batches import CategoricalBatch, TableBatch
from nnkit.data.base import DataModule, Preprocessing, Samples, Split
from nnkit.data.read_batch import ReadBatch
from nnkit.data.reading.cells import InMemory, MakeSink
from nnkit.data.reading.table_file import find_files
from nnkit.data.sampler import Draw
from nnkit.data.splits import RandomSplit
from nnkit.data.tables.columns import (
    Features,
    LearntColumn,
    MakeArray,
    cardinalities,
    encode,
    feature_columns,
    gather,
    in_memory,
    learn_columns,
    mean_and_std,
    num_features,
)
from nnkit.data.tables.loading import LoadedTable, TableSource, load_table, open_tables
from nnkit.data.tables.prepared import LARGE, PreparedTable, find, stored
from nnkit.data.tables.rows import read_row_batches
from nnkit.data.tables.targets import Target
from nnkit.data.tables.truths import Truths
from nnkit.errors import UserError
from nnkit.suggest import some_of

SHIPPED = Path(__file__).parents[1] / "datasets" / "files"

_logger = logging.getLogger("nnkit")

# In a hundred validation rows two checkpoints that differ by less than five points cannot be told apart.
_MIN_ROWS_TO_VALIDATE = 1_000
_LISTED = 12
# Options without which the same table is prepared in the same way.
_NOT_OF_TABLE = frozenset(
    {
        *("batch_size", "eval_batch_size", "num_workers", "seed"),
        *("path", "train_path", "val_path", "test_path"),
    }
)


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

    def __getitem__(self, draw: Draw) -> TableBatch | CategoricalBatch:
        rows = self._rows.index_select(0, draw.indices)
        inputs, rich = gather(self._features, rows)
        targets = self._targets.index_select(0, rows)
        if rich is None:
            return TableBatch(inputs, targets, draw.indices)
        return CategoricalBatch(inputs, rich, targets, draw.indices)

    def targets(self) -> Tensor:
        """Return the target of each row."""
        return self._targets.index_select(0, self._rows)


@dataclass(kw_only=True, eq=False)
class TableData(RandomSplit, DataModule):
    """Base of datasets of tables: a subclass says which files it is and what to do with its columns.

    Numbers are standardised with what the training rows say, at most ten standard deviations from their mean;
    missing ones take the median and get a feature that marks them. Categories become one feature each, and where there
    are many a vector each that the network learns. Dates become features of year, month, weekday and hour.
    Targets that are real values are standardised as well; `preprocessing["target"]` holds the mean and the
    standard deviation that take them back.

    Attributes:
        targets: Types of target the task learns from, ``${task.targets}``: "index" makes the target a class,
            "real" real values, "multi" labels.
        val_fraction: Share of the rows held out for validation; 0: none; None: a tenth, and none of a table of
            fewer than 1,000 rows, where the best of many checkpoints would be the luckiest.

    Raises:
        ValueError: If an option is out of range, or the task does not fit the target.
    """

    targets: Sequence[str] = ("index",)
    val_fraction: float | None = None  # type: ignore[assignment]
    batch_size: int = 32

    fact_names: ClassVar[tuple[str, ...]] = ("num_features", "num_classes", "num_outputs")
    is_checked = True
    reads_targets = True
    read_at_once = 8192
    # What the target is where that is certain.
    holds: ClassVar[Literal["index", "real"] | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = self.holds or "index, real or multi"
        if not set(self.targets) & ({self.holds} if self.holds else {"index", "real", "multi"}):
            task = {"index": "task=classification", "real": "task=regression"}.get(wanted, "another task")
            raise ValueError(
                f"targets must contain {wanted}, not {', '.join(self.targets)}: this table goes with {task}"
            )

    def forget(self) -> None:
        """Drop the table."""
        super().forget()
        self._num_kept: int | None = None
        self._prepared: PreparedTable | None = None

    @abstractmethod
    def source(self) -> TableSource:
        """Return where the table is and how to read it; nothing is read."""

    def prepare(self) -> Preprocessing:
        """Read the table, split it, and learn from the training rows how to encode its columns.

        A large table is read once; later starts find it in the cache as long as its files and the options are the same.
        """
        source = self.source()
        key = self._key(source)
        if key is None:
            self._prepared, learnt = self._make(source)
        else:
            self._prepared, learnt = stored(
                key, lambda make_sink, make_array: self._make(source, make_sink, make_array)
            )
        return learnt

    def _key(self, source: TableSource) -> dict[str, Any] | None:
        """Return what a large table is prepared from, None for a small one."""
        paths = [path for given in source.files.values() for path in find_files(given)]
        stats = [path.stat() for path in paths]
        if sum(stat.st_size for stat in stats) < LARGE:
            return None
        options = {field.name: getattr(self, field.name) for field in fields(self) if field.init}
        return {
            "class": type(self).__qualname__,
            "files": [
                [str(path.resolve()), stat.st_size, stat.st_mtime_ns]
                for path, stat in zip(paths, stats, strict=True)
            ],
            "splits": list(source.files),
            "options": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in options.items()
                if name not in _NOT_OF_TABLE
            },
        }

    def _make(
        self, source: TableSource, make_sink: MakeSink = InMemory, make_array: MakeArray = in_memory
    ) -> tuple[PreparedTable, Preprocessing]:
        """Read and encode the table with what the run has learnt, or learn it if nothing is learnt yet."""
        table = open_tables(source)
        fingerprint = self.unchanged(
            str(table.paths[0]) if len(table.paths) == 1 else table.title, table.fingerprint()
        )
        loaded = load_table(table, source, self.targets, say=self.is_new, make_sink=make_sink)
        rows = self._split(loaded)
        learnt = self.preprocessing or {**self._learn(source, loaded, rows), "fingerprint": fingerprint}
        features = encode(loaded.columns, learnt["columns"], loaded.num_rows, make_array)
        return PreparedTable(features, _scaled(loaded.target, learnt), rows), learnt

    def _learn(self, source: TableSource, loaded: LoadedTable, rows: dict[Split, Tensor]) -> Preprocessing:
        counts = {name: len(part) for name, part in rows.items()}
        _logger.info(
            "%s: %d rows to train on, %d for validation, %d for the test (data.split_seed=%d)",
            *(source.title, counts["train"], counts["val"], counts["test"], self.split_seed),
        )
        if not counts["train"]:
            raise UserError(f"{source.title} has no rows to train on")
        learnt, dropped = learn_columns(loaded.columns, rows["train"].numpy(), source)
        dropped = {**loaded.left_out, **dropped}
        for name, reason in dropped.items():
            _logger.warning("column %r is left out: %s", name, reason)
        if not learnt:
            reasons = "; ".join(f"{name!r}: {reason}" for name, reason in dropped.items())
            raise UserError(
                f"{source.title} has no column to learn from beside the target {loaded.target_names[0]!r}"
                + (f" ({reasons})" if reasons else "")
            )
        _say_kinds(learnt)
        return {
            "columns": learnt,
            "dropped": dropped,
            **_learn_target(loaded, rows["train"]),
            **self.split_options,
            "counts": counts,
        }

    @property
    def split_options(self) -> dict[str, Any]:
        """As in `DataModule`; once the table is read, its size tells whether there is a validation part by default."""
        options = super().split_options
        if options["val_fraction"] is None and self._num_kept is not None:
            options["val_fraction"] = 0.1 if self._num_kept >= _MIN_ROWS_TO_VALIDATE else 0.0
        return options

    def _split(self, loaded: LoadedTable) -> dict[Split, Tensor]:
        kept = loaded.target.kept
        self._num_kept = len(kept)
        dealt = self.split_rows(len(kept), loaded.target.classes, **loaded.keys)
        return {name: kept[rows] for name, rows in dealt.items()}

    def facts(self) -> dict[str, Any]:
        """Return the number of features, and that of classes or of real outputs; the other one is None."""
        class_names = self.preprocessing.get("class_names")
        columns = self.preprocessing["columns"]
        facts = {
            "num_features": sum(num_features(columns)),
            "cardinalities": cardinalities(columns),
            "num_classes": len(class_names) if class_names else None,
            "num_outputs": None if class_names else len(self.preprocessing["target"]["mean"]),
        }
        return {name: facts[name] for name in self.fact_names}

    def samples(self, split: Split) -> TableSamples:
        """Open one split as the run that wrote `preprocessing` split the data.

        Raises:
            UserError: If the file is gone or has changed since.
        """
        if self._prepared is None:
            self._prepared = self._reopened()
        features, targets, rows = self._prepared
        return TableSamples(features, targets, rows[split])

    def _reopened(self) -> PreparedTable:
        source = self.source()
        key = self._key(source)
        if key is None:
            return self._make(source)[0]
        found = find(key)
        if found is not None and _agree(found[1], self.preprocessing):
            return found[0]
        learnt = {name: self.preprocessing[name] for name in ("columns", "target", "fingerprint", "counts")}
        return stored(
            {**key, "learnt": learnt}, lambda make_sink, make_array: self._make(source, make_sink, make_array)
        )[0]

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, TableBatch | CategoricalBatch | str]]:
        """Read the rows of tables as batches of one named ``file.csv:row``; see `DataModule.read`.

        Columns that were not trained on are ignored.
        """
        for read in self.read_batches(items, 1):
            batch: Any = read.batch
            yield read.names[0], read.problems.get(0, batch)

    def input_names(self) -> list[str]:
        """Return the column of each feature, and of each vector."""
        return feature_columns(self.preprocessing["columns"])

    def read_batches(self, items: Sequence[str], size: int, keep: Sequence[str] = ()) -> Iterator[ReadBatch]:
        """Read the rows of tables in batches; see `DataModule.read_batches`."""
        source = self.source()
        return read_row_batches(
            items,
            size,
            self.preprocessing,
            Truths(self.preprocessing, is_multi="multi" in self.targets),
            TableSamples,
            reading=source.reading,
            keep=keep,
            ids=source.id,
        )


def _learn_target(loaded: LoadedTable, training: Tensor) -> dict[str, Any]:
    names, target = loaded.target_names, loaded.target
    named: dict[str, Any] = {"name": names[0]} if len(names) == 1 else {"names": names}
    if target.separator is not None:
        named["separator"] = target.separator
    if target.class_names is not None:
        return {"target": named, "class_names": target.class_names}
    scales = [mean_and_std(values) for values in target.values[training].T.numpy()]
    means, stds = zip(*scales, strict=True)
    return {"target": {**named, "mean": list(means), "std": [std or 1.0 for std in stds]}}


def _scaled(target: Target, learnt: Preprocessing) -> Tensor:
    """Return targets as the network sees them: real values standardised."""
    if target.class_names is not None:
        return target.values
    scale = learnt["target"]
    mean, std = torch.tensor(scale["mean"]).double(), torch.tensor(scale["std"]).double()
    return ((target.values - mean) / std).to(torch.float32)


def _agree(found: Preprocessing, learnt: Preprocessing) -> bool:
    """Return whether what the cache holds was learnt as the run did; the run may know more."""
    return all(learnt.get(name) == value for name, value in found.items())


def _say_kinds(learnt: Sequence[LearntColumn]) -> None:
    titles = {
        "number": "numbers",
        "category": "categories",
        "rich": "categories with vectors",
        "date": "dates",
    }
    kinds = [
        f"{title}: {some_of([spec['name'] for spec in learnt if spec['kind'] == kind], _LISTED)}"
        for kind, title in titles.items()
        if any(spec["kind"] == kind for spec in learnt)
    ]
    _logger.info("learnt from %s", "; ".join(kinds))


class ShippedTable(TableData):
    """A table that comes with nnkit; a subclass names its file and its target."""

    file: ClassVar[str]
    target: ClassVar[str]

    def source(self) -> TableSource:
        """Return the file that comes with nnkit; all of its columns are read."""
        return TableSource(files={"train": str(SHIPPED / self.file)}, target=(self.target,), drop=())
