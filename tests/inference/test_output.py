"""Predictions in files: read again by other programs they hold the same values, and what fails leaves no file."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from nnkit.data.read_batch import RowNames
from nnkit.errors import EnvironmentFault, UserError
from nnkit.inference.output import CSVOutput, JSONOutput, ParquetOutput, atomic_file
from nnkit.tasks.predictions import Estimates, LabelSets, Rankings, WrittenTexts

NAMES = RowNames("rows.csv", range(1, 3))
LABELS = ['b"', "c,d", "50 %"]
PROBABILITIES = torch.tensor([[0.125, 0.5, 0.375], [1.0, 0.0, 0.0]])


def written(make, predictions, kept=None, names=NAMES, **options):
    """Return the bytes of predictions that were written in two batches."""
    file = io.BytesIO()
    output = make(lambda: file, **options)
    output.write(names, predictions, kept)
    output.write(names, predictions, kept)
    output.close()
    return file.getvalue()


def test_json_lines_hold_the_ranked_classes_and_all_probabilities():
    found = written(JSONOutput, Rankings.of(PROBABILITIES, LABELS, 2), proba=True)
    first, second, *again = [json.loads(line) for line in found.decode().splitlines()]
    assert first == {
        "item": "rows.csv:1",
        "label": "c,d",
        "probability": 0.5,
        "top": [{"label": "c,d", "probability": 0.5}, {"label": "50 %", "probability": 0.375}],
        "probabilities": {'b"': 0.125, "c,d": 0.5, "50 %": 0.375},
    }
    assert (second["item"], second["label"], second["probability"]) == ("rows.csv:2", 'b"', 1.0)
    assert again == [first, second]


@pytest.mark.parametrize(
    ("make", "options"), [(CSVOutput, {}), (CSVOutput, {"delimiter": "\t"}), (ParquetOutput, {})]
)
def test_tables_hold_the_same_in_columns_with_those_of_the_input_in_front(make, options):
    kept = pa.record_batch({"id": ["007", None], "label_1": ["x\ny", "z"], "n": [1, 2]})
    data = written(make, Rankings.of(PROBABILITIES, LABELS, 2), kept, proba=True, **options)
    if make is ParquetOutput:
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
    else:
        rows = [*csv.DictReader(io.StringIO(data.decode()), delimiter=options.get("delimiter", ","))]
    ranked = ["label_1", "probability_1", "label_2", "probability_2"]
    # A column of the input never takes the place of one of the predictions.
    assert list(rows[0]) == [
        "item",
        "id",
        "label_1_input",
        "n",
        *ranked,
        *(f"proba_{name}" for name in LABELS),
    ]
    found = {name: [str(row[name]) for row in rows] for name in rows[0]}
    assert found["item"] == ["rows.csv:1", "rows.csv:2"] * 2
    assert found["id"] == ["007", str(None if make is ParquetOutput else "")] * 2
    assert found["label_1_input"] == ["x\ny", "z"] * 2
    assert found["label_1"] == ["c,d", 'b"'] * 2
    assert [*map(float, found["proba_50 %"])] == [0.375, 0.0] * 2


def test_fields_of_csv_are_quoted_only_where_they_must_be():
    plain = written(CSVOutput, Rankings.of(PROBABILITIES, ["a", "b", "c"], 1))
    assert plain.decode().splitlines()[:2] == ["item,label_1,probability_1", "rows.csv:1,b,0.5"]
    odd = written(CSVOutput, WrittenTexts(['say "hi", you', ""]), names=["a,b", "c"])
    assert [*csv.reader(io.StringIO(odd.decode()))][1:3] == [["a,b", 'say "hi", you'], ["c", ""]]


def test_labels_lists_and_characters_of_any_kind_are_written(tmp_path):
    predictions = LabelSets.of(torch.tensor([[0.5, 0.9, 0.1], [0.2, 0.1, 0.0]]), ["京都", "b", "c"], 1)
    kept = pa.record_batch({"tags": [["ü"], None]})
    lines = written(JSONOutput, predictions, kept, ascii_only=True)
    assert lines.isascii()
    first, second = map(json.loads, lines.decode().splitlines()[:2])
    assert (first["labels"], first["tags"], second["labels"]) == (["京都", "b"], ["ü"], [])
    rows = [*csv.DictReader(io.StringIO(written(CSVOutput, predictions, kept).decode()))]
    assert (rows[0]["labels"], json.loads(rows[0]["tags"]), rows[1]["labels"]) == ("京都|b", ["ü"], "")


def test_values_are_rounded_to_seven_digits_as_python_rounds_them():
    generator = np.random.default_rng(0)
    values = generator.standard_normal(2_000) * 10.0 ** generator.integers(-14, 15, 2_000)
    values = np.concatenate([values, [0.0, -0.0, 1e300, 5e-324, 123456.75, 2020.0]])
    found = Estimates(["y"], values[:, None]).columns()["y"]
    usual = np.abs(values) < 1e20
    usual &= np.abs(values) > 1e-14
    assert found[usual] == pytest.approx([float(f"{value:.7g}") for value in values[usual]], rel=0, abs=0)
    # Powers of ten beyond those that are exact leave a value as it is.
    assert found[-4:-2].tolist() == [1e300, 5e-324]


def test_numbers_that_are_none_are_written_as_python_reads_them():
    lines = written(JSONOutput, Estimates(["y"], np.array([[np.nan], [np.inf]])))
    first, second = map(json.loads, lines.decode().splitlines()[:2])
    assert np.isnan(first["values"]["y"])
    assert second["values"]["y"] == np.inf


def test_a_column_that_changes_its_type_is_refused():
    output = ParquetOutput(io.BytesIO)
    output.write(NAMES, WrittenTexts(["a", "b"]), pa.record_batch({"id": [1, 2]}))
    with pytest.raises(UserError, match="have not the types"):
        output.write(NAMES, WrittenTexts(["a", "b"]), pa.record_batch({"id": ["x", "y"]}))


def test_a_file_is_there_when_all_went_well_and_not_before():
    path = Path("answers.csv")
    path.write_text("old")
    with atomic_file(path) as open_file:
        open_file().write(b"new")
        assert path.read_text() == "old"
        open_file().write(b"er")
    assert path.read_text() == "newer"
    with pytest.raises(ZeroDivisionError), atomic_file(path) as open_file:
        open_file().write(b"half")
        _ = 1 / 0
    with atomic_file(Path("nothing.csv")):
        pass
    assert path.read_text() == "newer"
    assert [entry.name for entry in Path.cwd().iterdir()] == ["answers.csv"]


def test_a_place_that_cannot_be_written_is_a_fault_of_the_machine():
    Path("readonly").mkdir()
    Path("readonly/answers.csv.part").mkdir()
    with (
        pytest.raises(EnvironmentFault, match=r"answers\.csv cannot be written"),
        atomic_file(Path("readonly/answers.csv")) as open_file,
    ):
        open_file().write(b"x")
