"""`nnkit predict RUN ITEM...`: apply a run to pictures, tables, texts or series."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from nnkit.cli.parser import Given
from nnkit.cli.verbs import OUTPUT_DIR, RUN, Argument, Option, Verb
from nnkit.errors import UserError
from nnkit.files.paths import expand
from nnkit.ui import terminal
from nnkit.ui.logs import a_few_of_each
from nnkit.ui.report import number, show, table
from nnkit.ui.terminal import as_text, printable

if TYPE_CHECKING:
    import pyarrow as pa

    from nnkit.inference.output import Destination, Output
    from nnkit.inference.prediction import Scores
    from nnkit.runs.session import Session
    from nnkit.tasks.predictions import Predictions

_FORMATS = ("table", "jsonl", "csv", "tsv", "parquet")
_BY_ENDING = {f".{form}": form for form in _FORMATS[1:]}
# Characters of a text that a table shows, and how many of them are its last ones.
_WIDTH, _END = 60, 20
# With more columns a table is turned: a line for each of them.
_MAX_COLUMNS = 10
# Rows of a table on a terminal, and items that cannot be read which are named.
_MAX_ROWS, _MAX_NAMED = 1_000, 100
# Warnings of one kind, such as of pictures unlike those of training.
_MAX_WARNED = 5
VERB = Verb(
    "predict",
    (RUN, Argument("items", "ITEM", "picture, folder, table or text; - is standard input", many=True)),
    (
        Option("--top-k", "classes to rank", "N", int, at_least=1, without=3),
        Option("--proba", "probabilities of all classes as well"),
        Option("--keep", "columns of the input to repeat in front of the predictions", "COLUMN,..."),
        Option("--format", "table on a terminal, else jsonl", "|".join(_FORMATS), choices=_FORMATS),
        Option("--output", "write to FILE.jsonl, .csv, .tsv or .parquet", "FILE", Path),
        OUTPUT_DIR,
    ),
    (
        "What an item is depends on the run. Images: an image or a folder of them. Tables: a CSV file; each row is "
        "predicted. Series: a table, and the steps after its last row are forecast. Texts: the text "
        "itself, a file, or - for the lines of standard input. Items are brought to the form the run was trained on.",
        "On a terminal the answer is a table, elsewhere one JSON object a line. An item that cannot be read is named "
        "on standard error; the rest goes on, and the exit code is 2.",
        "Where the input has true labels, the metrics of nnkit test follow the predictions.",
    ),
)


def run(given: Given) -> int:
    """Predict the items; return 2 if one of them could not be read."""
    form = _form(given)
    session = _opened(given)
    with a_few_of_each(_MAX_WARNED), destination(given.output) as open_file:
        output = _output(form, session, open_file, given)
        num_bad = _predict(session, given, output)
    return 2 if num_bad else 0


def _opened(given: Given) -> Session:
    """Open the run, or the file that was exported from one."""
    path = expand(given.run)
    if path.suffix.lower() == ".onnx" and not path.is_dir():
        from nnkit.export.onnx_file import open_file

        return open_file(path)
    from nnkit.runs.reopen import open_run
    from nnkit.runs.run import find_run

    return open_run(find_run(given.run, given.output_dir)).session


def _predict(session: Session, given: Given, output: Output | Shown) -> int:
    """Predict, write, and return how many items could not be read."""
    from nnkit.inference.prediction import Scores, predict_batches

    scores, complaints, num_good = Scores(session.task), Complaints(), 0
    keep = [name for name in (given.keep or "").split(",") if name]
    batches = predict_batches(
        session.task, session.data, given.items, top_k=given.top_k, keep=keep, scores=scores
    )
    for read, predictions in batches:
        for place, reason in read.problems.items():
            complaints.add(read.names[place], reason)
        if predictions is not None:
            names, kept = read.rows()
            output.write(names, predictions, kept)
            num_good += len(names)
    output.close()
    complaints.close()
    if not complaints.count and not num_good:
        raise UserError("there is nothing to predict: what was named, or standard input, is empty")
    _say_scores(scores, sys.stdout if isinstance(output, Shown) or given.output else sys.stderr)
    return complaints.count


def _form(given: Given) -> str:
    path = given.output
    if path is None:
        if given.format == "parquet":
            raise UserError("--format parquet is for a file: --output FILE.parquet")
        return str(given.format or ("table" if terminal.is_terminal() else "jsonl"))
    if given.format == "table":
        raise UserError("--format table is for the terminal; the others can be written with --output")
    if given.format is None and path.suffix.lower() not in _BY_ENDING:
        known = ", ".join(_BY_ENDING)
        raise UserError(f"--output {path}: the ending is none of {known}; --format tells what to write")
    return str(given.format or _BY_ENDING[path.suffix.lower()])


def _output(
    form: str, session: Session, open_file: Callable[[], Destination], given: Given
) -> Output | Shown:
    if form == "table":
        return Shown(session.config.data.kind in ("tokens", "pairs", "sentences"), proba=given.proba)
    from nnkit.inference.output import CSVOutput, JSONOutput, ParquetOutput

    if form == "jsonl":
        ascii_only = given.output is None and not terminal.is_utf8(sys.stdout)
        return JSONOutput(open_file, proba=given.proba, ascii_only=ascii_only)
    if form == "parquet":
        return ParquetOutput(open_file, proba=given.proba)
    return CSVOutput(open_file, proba=given.proba, delimiter="," if form == "csv" else "\t")


class _Stdout:
    """Standard output as a place for bytes that are UTF-8; it escapes what its own encoding lacks."""

    def write(self, data: bytes) -> None:
        sys.stdout.write(str(data, "utf-8"))


def destination(path: Path | None) -> AbstractContextManager[Callable[[], Destination]]:
    """Return what opens a file, or standard output, where no path is given."""
    if path is None:
        return nullcontext(_Stdout)
    from nnkit.inference.output import atomic_file

    return atomic_file(path)


class Complaints:
    """Items that cannot be read, counted, and the first ones named on standard error."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, name: str, reason: str) -> None:
        """Name an item once, and tell what is wrong with it."""
        self.count += 1
        if self.count <= _MAX_NAMED:
            item = as_text(name)
            text = reason if item and item in reason else f"{item or repr(item)}: {reason}"
            sys.stderr.write(f"nnkit: {printable(text)}\n")

    def close(self) -> None:
        """Tell how many there are beside those that are named."""
        if self.count > _MAX_NAMED:
            sys.stderr.write(f"nnkit: {self.count - _MAX_NAMED:,} more items cannot be read\n")


def _say_scores(scores: Scores, file: TextIO) -> None:
    metrics = ", ".join(f"{name} {number(value)}" for name, value in scores.results().items())
    if not metrics:
        return
    without = f"; {scores.num_unlabelled:,} others have none" if scores.num_unlabelled else ""
    file.write(f"{scores.num_labelled:,} items with a true target{without}: {metrics}\n")


def excerpt(text: str) -> str:
    """Return the beginning and the end of a text as one line."""
    line = " ".join(text.split())
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - _END - 1]}\u2026{line[-_END:]}"


class Shown:
    """Predictions as a table for people, printed at the end.

    Args:
        shorten: Whether items are texts, which may be long.
        proba: Whether the probabilities of all classes are shown as well.
    """

    def __init__(self, shorten: bool = False, *, proba: bool = False) -> None:
        self._shorten, self._proba = shorten, proba
        self._columns: dict[str, list[str]] = {}
        self._num_rows = 0

    def write(self, names: Sequence[str], predictions: Predictions, kept: pa.RecordBatch | None) -> None:
        """Add rows; see `nnkit.inference.output.Output.write`."""
        room = _MAX_ROWS - self._num_rows
        self._num_rows += len(names)
        if room <= 0:
            return
        items = [*map(as_text, names[:room])]
        columns = {"item": [*map(excerpt, items)] if self._shorten else items}
        if kept is not None:
            for name, cells in zip(kept.schema.names, kept.columns, strict=True):
                columns[name] = [*map(str, cells[:room].to_pylist())]
        made, last = predictions.columns(), "item"
        best = "most probable" if "labels" in made else "prediction"
        for name, column in made.items():
            if name.startswith("probability_"):
                # Label and probability share a column, the best one headed by what it is.
                texts = [f"{value:.1%}" for value in column[:room].tolist()]
                columns[last] = [
                    f"{label}  {share}" for label, share in zip(columns[last], texts, strict=True)
                ]
                continue
            place = name.removeprefix("label_")
            last = name if place == name else best if place == "1" else f"or {place}"
            columns[last] = [*map(str, column[:room].tolist())]
        if self._proba:
            for label, column in predictions.probabilities().items():
                columns[f"p({label})"] = [f"{value:.1%}" for value in column[:room].tolist()]
        for name, texts in columns.items():
            self._columns.setdefault(name, []).extend(texts)

    def close(self) -> None:
        """Print the table."""
        if not self._num_rows:
            return
        headers = [*self._columns]
        cells = [list(row) for row in zip(*self._columns.values(), strict=True)]
        if len(headers) > _MAX_COLUMNS:
            # A long forecast would not fit across a terminal.
            headers, *cells = map(list, zip(headers, *cells, strict=True))
        show(table(headers, cells))
        if self._num_rows > _MAX_ROWS:
            sys.stdout.write(
                f"{_MAX_ROWS:,} of {self._num_rows:,} rows are shown; --output FILE.csv writes all\n"
            )
