"""Rows of a user's CSV file as batches of one, encoded with what a training run learnt."""

import logging
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from nnkit.batches import Table
from nnkit.data.reading.delimited import num_fields, read_dialect, read_header, read_rows, unique_names
from nnkit.data.reading.frame import Column, Numbers, Texts, parse_number, parse_text
from nnkit.data.reading.user_files import find_file
from nnkit.data.tables.columns import MAX_SCORE, LearntColumn, NumberColumn, encode, gather
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

# Rows encoded at once.
_CHUNK = 1024

# What is read from a row: a number or text (None if missing) for each column in turn.
_Values = list[float | str | None]


def read_table_rows(
    item: str, delimiter: str | None, encoding: str | None, learnt: Sequence[LearntColumn]
) -> Iterator[tuple[str, Table | str]]:
    """Read the rows of a CSV file with a header.

    Args:
        item: The file's path.
        delimiter: The character between two fields, or None to find out.
        encoding: The file's codec, or None to find out.
        learnt: The columns a model was trained on, from `learn_columns`; the file may hold others.

    Yields:
        For each row ``item:row``, counted from 1 below the header, and a batch of one (target and index are
        0) or the sentence that says what is wrong with it.

    Raises:
        UserError: If the file as a whole cannot be read, or lacks columns.
    """
    path = find_file(item)
    dialect = read_dialect(path, delimiter, encoding)
    names = unique_names(read_header(path, dialect))
    absent = [spec["name"] for spec in learnt if spec["name"] not in names]
    if absent:
        raise UserError(
            f"{item} lacks {len(absent)} of the {len(learnt)} columns the model was trained on: "
            f"{', '.join(absent[:20])}{' ...' if len(absent) > 20 else ''}"
        )
    places = [names.index(spec["name"]) for spec in learnt]
    rows = read_rows(path, dialect)
    next(rows)
    number, said = 0, set[str]()
    while chunk := list(islice(rows, _CHUNK)):
        parsed = [
            _parse(row, places, learnt, dialect.decimal_comma)
            if len(row) == len(names)
            else f"line {line}: {num_fields(len(row))}, the header has {len(names)}"
            for line, row in chunk
        ]
        tables = iter(_encode([values for values in parsed if not isinstance(values, str)], learnt, said))
        for values in parsed:
            number += 1
            yield f"{item}:{number}", values if isinstance(values, str) else next(tables)
    if not number:
        raise UserError(f"{item} holds column names but no rows")


def _parse(
    row: list[str], places: Sequence[int], learnt: Sequence[LearntColumn], decimal_comma: bool
) -> _Values | str:
    values: _Values = []
    for spec, place in zip(learnt, places, strict=True):
        if spec["kind"] == "category":
            values.append(parse_text(row[place]))
            continue
        number = parse_number(row[place], decimal_comma)
        if number is None or np.isinf(number):
            return f"column {spec['name']!r} must hold a number, not {row[place].strip()!r}"
        values.append(number)
    return values


def _say_outlier(values: NDArray[np.float64], spec: NumberColumn, said: set[str]) -> None:
    far = values[np.abs(values - spec["mean"]) > MAX_SCORE * spec["std"]]
    if len(far) and spec["name"] not in said:
        said.add(spec["name"])
        _logger.warning(
            "column %r: %g lies more than %g standard deviations from the training rows (mean %g, standard "
            "deviation %g); is it in the same unit?",
            *(spec["name"], far[0], MAX_SCORE, spec["mean"], spec["std"]),
        )


def _encode(rows: list[_Values], learnt: Sequence[LearntColumn], said: set[str]) -> Iterator[Table]:
    columns: dict[str, Column] = {}
    for place, spec in enumerate(learnt):
        cells = [row[place] for row in rows]
        if spec["kind"] == "number":
            values = np.array(cells, dtype=np.float64)
            columns[spec["name"]] = Numbers(values)
            _say_outlier(values, spec, said)
            continue
        codes: dict[str, int] = {}
        numbers = [codes.setdefault(cell, len(codes)) if isinstance(cell, str) else -1 for cell in cells]
        columns[spec["name"]] = Texts(np.array(numbers, dtype=np.int32), list(codes))
        unseen = next((text for text in codes if text not in spec["categories"]), None)
        # Where rare categories were taken together, an unseen one is no news.
        if unseen is not None and not spec["other"] and spec["name"] not in said:
            said.add(spec["name"])
            _logger.warning(
                "column %r: %r is not in the training rows; it counts as other, as all do that are not there",
                *(spec["name"], unseen),
            )
    inputs = gather(encode(columns, learnt, len(rows)), torch.arange(len(rows)))
    zero = torch.zeros(1, dtype=torch.int64)
    for row in inputs:
        yield Table(row.unsqueeze(0), zero, zero)
