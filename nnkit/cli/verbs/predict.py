"""`nnkit predict RUN ITEM...`: apply a run to pictures, tables, texts or series."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from nnkit.cli.parser import Given
from nnkit.cli.verbs import OUTPUT_DIR, RUN, Argument, Option, Verb
from nnkit.errors import EnvironmentFault, UserError
from nnkit.ui import terminal
from nnkit.ui.report import show, table
from nnkit.ui.terminal import json_line, printable

if TYPE_CHECKING:
    from nnkit.inference.prediction import Unreadable
    from nnkit.tasks.predictions import Prediction

_FORMATS = ("table", "jsonl", "csv")
# Characters of a text that a table shows, and how many of them are its last ones.
_WIDTH, _END = 60, 20
# With more columns a table is turned: a line for each of them.
_MAX_COLUMNS = 10
VERB = Verb(
    "predict",
    (RUN, Argument("items", "ITEM", "picture, folder, CSV file or text; - is standard input", many=True)),
    (
        Option("--top-k", "classes to rank", "N", int, at_least=1, without=3),
        Option("--format", "table on a terminal, else jsonl", "|".join(_FORMATS), choices=_FORMATS),
        Option("--output", "write to FILE; .csv means CSV", "FILE", Path),
        OUTPUT_DIR,
    ),
    (
        "What an item is depends on the run. Images: an image or a folder of them. Tables: a CSV file; each row is "
        "predicted. Series: a CSV file, and the steps after its last row are forecast. Texts: the text "
        "itself, a file, or - for the lines of standard input. Items are brought to the form the run was trained on.",
        "On a terminal the answer is a table, elsewhere one JSON object a line. An item that cannot be read is named "
        "on standard error; the rest goes on, and the exit code is 2.",
    ),
)


def run(given: Given) -> int:
    """Predict the items; return 2 if one of them could not be read."""
    form = _form(given)
    from nnkit.runs.run import find_run

    found = find_run(given.run, given.output_dir)
    with _destination(given.output) as file:
        from nnkit.inference.prediction import predict
        from nnkit.runs.reopen import open_run

        session = open_run(found).session
        answers = _Answers(predict(session.task, session.data, given.items, given.top_k))
        if form == "table":
            show_answers(answers, shorten=session.config.data.kind in ("tokens", "pairs", "sentences"))
        elif form == "csv":
            _write_csv(answers, file)
        else:
            _write_lines(answers, file)
    if not answers.num_bad and not answers.num_good:
        raise UserError("there is nothing to predict: what was named, or standard input, is empty")
    return 2 if answers.num_bad else 0


def _form(given: Given) -> str:
    if given.output is not None and given.format == "table":
        raise UserError("--format table is for the terminal; jsonl and csv can be written with --output")
    is_csv = given.output is not None and given.output.suffix == ".csv"
    usual = "csv" if is_csv else "table" if given.output is None and terminal.is_terminal() else "jsonl"
    return str(given.format or usual)


class _Answers:
    """Predictions in turn; what could not be read is reported on standard error and counted."""

    def __init__(self, found: Iterable[Prediction | Unreadable]) -> None:
        self.num_bad = self.num_good = 0
        self._found = found

    def __iter__(self) -> Iterator[Prediction]:
        from nnkit.inference.prediction import Unreadable

        for answer in self._found:
            if isinstance(answer, Unreadable):
                self.num_bad += 1
                sys.stderr.write(f"nnkit: {printable(_complaint(answer))}\n")
            else:
                self.num_good += 1
                yield answer


def _complaint(answer: Unreadable) -> str:
    """Return what is wrong with an item, naming it once."""
    item = _printable(answer.item)
    return answer.reason if item and item in answer.reason else f"{item or repr(item)}: {answer.reason}"


def _printable(name: str) -> str:
    """Return a name with what is no text in it (a file's name may be any bytes) replaced."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _flat(answer: Prediction) -> dict[str, Any]:
    """Return a prediction as one value a column."""
    from nnkit.tasks.predictions import Labelled, Ranking, Written

    row: dict[str, Any] = {"item": _printable(answer.item)}
    if isinstance(answer, Labelled):
        row["labels"] = "|".join(answer.labels)
    if isinstance(answer, Ranking | Labelled):
        for place, (label, probability) in enumerate(answer.top, 1):
            row |= {f"label_{place}": label, f"probability_{place}": round(probability, 6)}
        return row
    if isinstance(answer, Written):
        return row | {"text": answer.text}
    return row | {name: float(f"{value:.7g}") for name, value in answer.values.items()}


def excerpt(text: str) -> str:
    """Return the beginning and the end of a text as one line."""
    line = " ".join(text.split())
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - _END - 1]}\u2026{line[-_END:]}"


def show_answers(answers: Iterable[Prediction], shorten: bool = False) -> None:
    """Print predictions as a table.

    Args:
        answers: The predictions.
        shorten: Whether items are texts, which may be long.
    """
    rows = [_flat(answer) for answer in answers]
    if not rows:
        return
    # Label and probability share a column, the best one headed by what it is.
    headers, cells = ["item"], [[excerpt(row["item"]) if shorten else row["item"]] for row in rows]
    for name in list(rows[0])[1:]:
        if name.startswith("probability_"):
            for cell, row in zip(cells, rows, strict=True):
                cell[-1] += f"  {row[name]:.1%}"
            continue
        place = name.removeprefix("label_")
        best = "most probable" if "labels" in rows[0] else "prediction"
        headers.append(name if place == name else best if place == "1" else f"or {place}")
        for cell, row in zip(cells, rows, strict=True):
            cell.append(str(row[name]))
    if len(headers) > _MAX_COLUMNS:
        # A long forecast would not fit across a terminal.
        headers, *cells = map(list, zip(headers, *cells, strict=True))
    show(table(headers, cells))


def _write_lines(answers: Iterable[Prediction], file: TextIO) -> None:
    from nnkit.tasks.predictions import Labelled, Ranking, Written

    for answer in answers:
        row = _flat(answer)
        if isinstance(answer, Ranking | Labelled):
            top = [{"label": name, "probability": round(share, 6)} for name, share in answer.top]
            best = {"labels": list(answer.labels)} if isinstance(answer, Labelled) else top[0]
            row = {"item": row["item"], **best, "top": top}
        elif not isinstance(answer, Written):
            row = {"item": row.pop("item"), "values": row}
        file.write(json_line(row, file))


def _write_csv(answers: Iterable[Prediction], file: TextIO) -> None:
    writer = None
    for answer in answers:
        row = _flat(answer)
        if writer is None:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)


@contextmanager
def _destination(path: Path | None) -> Iterator[TextIO]:
    """Yield standard output, or a file that takes its place when the block ends well."""
    if path is None:
        yield sys.stdout
        return
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: there is no directory {path.parent}")
    if path.is_dir():
        raise UserError(f"--output {path}: this is a directory")
    temporary = path.with_name(f"{path.name}.part")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise EnvironmentFault(f"--output {path} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
