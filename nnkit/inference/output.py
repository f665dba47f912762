"""Predictions as JSON lines, CSV or Parquet, written as they are made."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np

from nnkit.data.read_batch import RowNames
from nnkit.errors import EnvironmentFault, UserError
from nnkit.tasks.predictions import Coded, Column
from nnkit.ui.terminal import as_text

if TYPE_CHECKING:
    import pyarrow as pa

    from nnkit.tasks.predictions import Predictions

# What follows the name of a column of the input where a column of the predictions has that name.
_TAKEN = "_input"


class Destination(Protocol):
    """What bytes are written to."""

    def write(self, data: bytes, /) -> Any:
        """Write them."""


class Output(ABC):
    """Where predictions go, batch by batch.

    Args:
        open_file: Opens the file; called when there is something to write.
        proba: Whether the probabilities of all classes are written as well.
    """

    def __init__(self, open_file: Callable[[], Destination], *, proba: bool = False) -> None:
        self._open_file, self._proba = open_file, proba

    @abstractmethod
    def write(self, names: Sequence[str], predictions: Predictions, kept: pa.RecordBatch | None) -> None:
        """Write the predictions of some items.

        Args:
            names: Names of the items.
            predictions: Those of the items.
            kept: Columns of the input that stand before the predictions.
        """

    @abstractmethod
    def close(self) -> None:
        """Write what ends the file."""


class JSONOutput(Output):
    """One JSON object an item.

    Args:
        open_file: As for `Output`.
        proba: As for `Output`.
        ascii_only: Whether characters outside ASCII are escaped.
    """

    def __init__(
        self, open_file: Callable[[], Destination], *, proba: bool = False, ascii_only: bool = False
    ) -> None:
        super().__init__(open_file, proba=proba)
        self._text = json.JSONEncoder(ensure_ascii=ascii_only, default=str).encode
        # The columns of a batch that are written already, by their identity.
        self._known: dict[int, list[str]] = {}

    def write(self, names: Sequence[str], predictions: Predictions, kept: pa.RecordBatch | None) -> None:
        """Write one line an item; see `Output.write`."""
        tree = dict(predictions.tree())
        if self._proba:
            tree["probabilities"] = predictions.probabilities()
        self._known = {}
        template, leaves = '{"item": %s, ', [self._items(names)]
        template += self._template({**_renamed(kept, tree), **tree}, leaves).removeprefix("{")
        lines = map((template + "\n").__mod__, zip(*leaves, strict=True))
        self._open_file().write("".join(lines).encode("utf-8"))

    def _items(self, names: Sequence[str]) -> list[str]:
        if not isinstance(names, RowNames):
            return [self._text(as_text(name)) for name in names]
        title = self._text(as_text(names.title)).removesuffix('"')
        return [f'{title}:{number}"' for number in names.numbers]

    def _template(self, tree: Any, leaves: list[list[str]]) -> str:
        """Return the text of every line, %s where a value stands, and add the values to the leaves."""
        if isinstance(tree, Mapping):
            items = [
                f"{self._text(key).replace('%', '%%')}: {self._template(value, leaves)}"
                for key, value in tree.items()
            ]
            return f"{{{', '.join(items)}}}"
        if isinstance(tree, list):
            return f"[{', '.join(self._template(value, leaves) for value in tree)}]"
        # The best class is in two places.
        if id(tree) not in self._known:
            self._known[id(tree)] = self._values(tree)
        leaves.append(self._known[id(tree)])
        return "%s"

    def _values(self, column: Any) -> list[str]:
        """Return the values of a column, of the predictions or of Arrow, as JSON."""
        if isinstance(column, Coded):
            return Coded(column.codes, [*map(self._text, column.values)]).tolist()
        if not isinstance(column, np.ndarray):
            return [*map(self._text, column.to_pylist())]
        is_plain = column.dtype.kind == "f" and np.isfinite(column).all()
        return [*map(repr if is_plain else self._text, column.tolist())]

    def close(self) -> None:
        """Do nothing: every line is complete."""


class TableOutput(Output):
    """Base of files with one row an item and the columns of the first one, made by Arrow."""

    _schema: pa.Schema | None = None

    def write(self, names: Sequence[str], predictions: Predictions, kept: pa.RecordBatch | None) -> None:
        """Write one row an item; see `Output.write`."""
        import pyarrow as pa

        made: dict[str, Any] = dict(predictions.columns())
        if self._proba:
            made |= {f"proba_{label}": column for label, column in predictions.probabilities().items()}
        made = {name: _arrow(column) for name, column in made.items()}
        rows = pa.RecordBatch.from_pydict({"item": _arrow_items(names), **_renamed(kept, made), **made})
        if self._schema is None:
            self._schema = rows.schema
        try:
            self._write_rows(rows.cast(self._schema))
        except (pa.ArrowInvalid, ValueError) as error:
            raise UserError(
                f"the kept columns of {names[0]} have not the types of those before: {error}"
            ) from error

    @abstractmethod
    def _write_rows(self, rows: pa.RecordBatch) -> None:
        """Write rows; all have the columns of the first ones."""


class CSVOutput(TableOutput):
    """CSV with a header; fields are quoted where they must be.

    Args:
        open_file: As for `Output`.
        proba: As for `Output`.
        delimiter: What stands between two fields.
    """

    def __init__(
        self, open_file: Callable[[], Destination], *, proba: bool = False, delimiter: str = ","
    ) -> None:
        super().__init__(open_file, proba=proba)
        self._delimiter, self._began = delimiter, False

    def _write_rows(self, rows: pa.RecordBatch) -> None:
        from pyarrow import ArrowInvalid
        from pyarrow import csv as arrow_csv

        rows = _flat(rows)
        for style in ("none", "needed"):
            # Of "needed" Arrow says that a text may need quotes, and gives them to every text.
            made = BytesIO()
            options = arrow_csv.WriteOptions(
                include_header=False, quoting_style=style, delimiter=self._delimiter
            )
            try:
                arrow_csv.write_csv(rows, made, options)
                break
            except ArrowInvalid:
                if style == "needed":
                    raise
        file = self._open_file()
        if not self._began:
            self._began, header = True, StringIO()
            csv.writer(header, delimiter=self._delimiter, lineterminator="\n").writerow(rows.schema.names)
            file.write(header.getvalue().encode("utf-8"))
        file.write(made.getvalue())

    def close(self) -> None:
        """Do nothing: every row is complete."""


class ParquetOutput(TableOutput):
    """A Parquet file."""

    _writer: Any = None

    def _write_rows(self, rows: pa.RecordBatch) -> None:
        if self._writer is None:
            from pyarrow.parquet import ParquetWriter

            self._writer = ParquetWriter(self._open_file(), rows.schema)
        self._writer.write_batch(rows)

    def close(self) -> None:
        """Write the file's footer."""
        if self._writer is not None:
            self._writer.close()


def _arrow_items(names: Sequence[str]) -> pa.Array:
    import pyarrow as pa
    from pyarrow import compute

    if not isinstance(names, RowNames):
        return pa.array([*map(as_text, names)])
    numbers = compute.cast(pa.array(np.array(names.numbers)), pa.string())
    return compute.binary_join_element_wise(as_text(names.title), numbers, ":")


def _arrow(column: Column) -> pa.Array:
    import pyarrow as pa

    if isinstance(column, Coded):
        return pa.array(column.values, pa.string()).take(pa.array(column.codes))
    return pa.array(np.ascontiguousarray(column))


def _renamed(kept: pa.RecordBatch | None, made: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of the input, called otherwise where the predictions have a column of that name."""
    if kept is None:
        return {}
    taken = {"item", *made}
    columns = zip(kept.schema.names, kept.columns, strict=True)
    return {f"{name}{_TAKEN}" if name in taken else name: column for name, column in columns}


def _flat(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows with lists and objects as JSON, for which CSV has no form."""
    import pyarrow as pa

    for place, field in enumerate(rows.schema):
        if pa.types.is_nested(field.type):
            texts = [json.dumps(value, ensure_ascii=False, default=str) for value in rows[place].to_pylist()]
            rows = rows.set_column(place, field.name, pa.array(texts))
    return rows


@contextmanager
def atomic_file(path: Path) -> Iterator[Callable[[], IO[bytes]]]:
    """Yield what opens a file that takes the place of another when the block ends well; unopened, nothing is written.

    Raises:
        UserError: If there can be no such file.
        EnvironmentFault: If it cannot be written.
    """
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: there is no directory {path.parent}")
    if path.is_dir():
        raise UserError(f"--output {path}: this is a directory")
    temporary, opened = path.with_name(f"{path.name}.part"), list[IO[bytes]]()

    def open_once() -> IO[bytes]:
        if not opened:
            opened.append(temporary.open("wb"))
        return opened[0]

    try:
        try:
            yield open_once
        finally:
            for file in opened:
                file.close()
        if opened:
            temporary.replace(path)
    except OSError as error:
        raise EnvironmentFault(f"--output {path} cannot be written: {error.strerror or error}") from error
    finally:
        if opened:
            temporary.unlink(missing_ok=True)
