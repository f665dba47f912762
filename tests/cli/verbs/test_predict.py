"""`nnkit predict`: whatever a user names, in whatever form is wanted."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import nnkit
from nnkit.batches import ImageBatch, TableBatch
from nnkit.data.base import DataModule
from nnkit.inference import prediction
from nnkit.inference.prediction import Unreadable, predict
from nnkit.tasks.regression import Regression
from nnkit.ui import terminal


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    words = ["callbacks=[checkpoint]", "logger=[]", f"output_dir={folder}"]
    nnkit.train(["data=digits", "model=mlp", "trainer.max_epochs=4", "name=digits", *words])
    nnkit.train(["data=diabetes", "trainer.max_epochs=2", "name=diabetes", *words])
    return folder


@pytest.fixture
def pictures(tmp_path):
    """Six digits of the dataset, a file that is no picture, and a note beside them."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, pixels in enumerate(load_digits().images[:6]):
        Image.fromarray((pixels * 255 / 16).round().astype(np.uint8)).save(folder / f"{number}.png")
    (folder / "zz.png").write_text("no picture")
    return folder


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.csv"
    with (Path(prediction.__file__).parents[1] / "data/datasets/files/diabetes.csv").open() as file:
        path.write_text("".join(next(file) for _ in range(4)))
    return path


def test_a_pipe_gets_json_lines_and_a_bad_item_does_not_stop_the_rest(cli, outputs, pictures):
    code, out, err = cli("predict", "digits", pictures, "missing.png", "--top-k", 2, "--output-dir", outputs)
    answers = [json.loads(line) for line in out.splitlines()]
    assert code == 2
    assert [answer["item"] for answer in answers] == [str(pictures / f"{number}.png") for number in range(6)]
    assert sum(answer["label"] == str(number) for number, answer in enumerate(answers)) >= 5
    for answer in answers:
        first, second = answer["top"]
        assert (first["label"], first["probability"]) == (answer["label"], answer["probability"])
        assert 1 >= first["probability"] >= second["probability"] >= 0
    assert re.search(r"zz\.png: it is no picture", err)
    assert re.search(r"missing\.png: ", err)


def test_all_well_is_exit_code_zero_and_more_classes_than_there_are_is_all(cli, outputs, pictures):
    code, out, _ = cli("predict", "digits", pictures / "0.png", "--top-k", 50, "--output-dir", outputs)
    (answer,) = map(json.loads, out.splitlines())
    assert code == 0
    assert sorted(one["label"] for one in answer["top"]) == list("0123456789")
    assert sum(one["probability"] for one in answer["top"]) == pytest.approx(1, abs=1e-5)


def test_csv_into_a_file(cli, outputs, pictures):
    code, out, _ = cli(
        "predict", "digits", pictures / "3.png", "--output", "new.csv", "--output-dir", outputs
    )
    assert (code, out) == (0, "")
    with Path("new.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    names = [f"{what}_{place}" for place in (1, 2, 3) for what in ("label", "probability")]
    assert list(row) == ["item", *names]
    assert float(row["probability_1"]) >= float(row["probability_2"])


def test_a_regression_in_the_users_units(cli, outputs, rows):
    code, out, _ = cli("predict", "diabetes", rows, "--output-dir", outputs)
    answers = [json.loads(line) for line in out.splitlines()]
    loaded = nnkit.load("diabetes", outputs)
    target = loaded.data.preprocessing["target"]
    with torch.inference_mode():
        scores = [loaded.network(batch.inputs).item() for _, batch in loaded.data.read([str(rows)])]
    expected = [score * target["std"][0] + target["mean"][0] for score in scores]
    assert code == 0
    assert [answer["values"]["progression"] for answer in answers] == pytest.approx(expected, rel=1e-5)
    assert all(25 < value < 350 for value in expected)


@pytest.mark.parametrize("run", ["digits", "diabetes"])
def test_a_terminal_gets_a_table(cli, outputs, pictures, rows, run, monkeypatch):
    monkeypatch.setattr(terminal, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    item = rows if run == "diabetes" else pictures / "1.png"
    code, out, _ = cli("predict", run, item, "--output-dir", outputs)
    heading = out.splitlines()[1].split()
    assert code == 0
    assert heading == (
        ["item", "progression"] if run == "diabetes" else ["item", "prediction", "or", "2", "or", "3"]
    )
    assert ("%" in out) == (run == "digits")


def test_nothing_is_written_where_it_fails(cli, outputs, pictures):
    Path("old.csv").write_text("precious")
    for words in (["nope", pictures], ["digits", pictures, "--top-k", "0"]):
        code, out, _ = cli("predict", *words, "--output", "old.csv", "--output-dir", outputs)
        assert (code, out) == (2, "")
    code, _, err = cli("predict", "digits", pictures, "--output", "no/where.csv", "--output-dir", outputs)
    assert code == 2
    assert "there is no directory no" in err
    assert Path("old.csv").read_text() == "precious"
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["old.csv", "pictures"]


class Reader:
    """A data module that answers with what it was given, and counts."""

    read_at_once, reads_targets = DataModule.read_at_once, False
    read_batches = DataModule.read_batches

    def __init__(self, items):
        self.items = items
        self.preprocessing = {"target": {"name": "y", "mean": [0.0]}}

    def read(self, items):
        return iter(self.items)


class Doubling(torch.nn.Module):
    """A regression that doubles and keeps the sizes of its batches."""

    device = torch.device("cpu")
    one_by_one = False
    predict = Regression.predict

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, inputs):
        self.sizes.append(len(inputs))
        return inputs.flatten(1).sum(1, keepdim=True) * 2


def test_items_go_through_the_network_together_and_come_out_in_order():
    zero = torch.zeros(1, dtype=torch.int64)
    items = [(str(n), TableBatch(torch.tensor([[float(n)]]), zero, zero)) for n in range(10)]
    items.insert(3, ("bad", "it is bad"))
    task = Doubling()
    answers = list(predict(task, Reader(items), ["..."], batch_size=4))
    assert task.sizes == [3, 4, 3]
    assert answers.pop(3) == Unreadable("bad", "it is bad")
    assert [answer.values["y"] for answer in answers] == [2.0 * n for n in range(10)]


def test_pictures_of_different_sizes_do_not_share_a_batch():
    zero = torch.zeros(1, dtype=torch.int64)
    sides = [2, 2, 3, 3, 3, 2]
    items = [(str(n), ImageBatch(torch.ones(1, 1, side, side), zero, zero)) for n, side in enumerate(sides)]
    task = Doubling()
    answers = list(predict(task, Reader(items), ["..."]))
    assert task.sizes == [2, 3, 1]
    assert [answer.values["y"] for answer in answers] == [2.0 * side * side for side in sides]


def test_names_that_are_no_text_can_be_printed(cli, outputs, pictures):
    odd = Path("odd/caf\udce9.png")
    odd.parent.mkdir()
    try:
        odd.write_bytes((pictures / "0.png").read_bytes())
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system takes text only")
    code, out, _ = cli("predict", "digits", "odd", "--output-dir", outputs, "--top-k", 1)
    assert code == 0
    assert "caf�.png" in json.loads(out)["item"]


def test_an_item_that_cannot_be_read_is_named_once(cli, outputs):
    code, _, err = cli("predict", "diabetes", "missing.csv", "--output-dir", outputs)
    assert code == 2
    assert err == "nnkit: no such file: missing.csv\n"
