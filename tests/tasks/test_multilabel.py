"""Any number of labels for each sample: metrics against scikit-learn, predictions, and a run from start to end."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from sklearn import metrics as sklearn_metrics
from test_metrics import CUTS, NONE, Given, drawn, evaluated
from torch import nn

import nnkit
from nnkit.batches import TableBatch
from nnkit.cli.verbs import predict as verb
from nnkit.data.base import DataModule, Samples
from nnkit.tasks.multilabel import Multilabel
from nnkit.tasks.predictions import LabelSets

DATA = """# Points with the quarters that they are near to.
defaults:
  - override /task@_global_.task: multilabel
  - override /model@_global_.model: mlp
_target_: test_multilabel.Quarters
kind: table
tasks: [multilabel]
max_epochs: 30
num_features: 2
num_classes: 3
batch_size: 32
eval_batch_size: null
num_workers: 0
seed: ${seed}
"""


def labels_of(points):
    """Right, up, and far: up to three labels a point, and none for some."""
    return torch.stack([points[:, 0] > 0, points[:, 1] > 0, points.norm(dim=1) > 1.5], dim=1).float()


class Points(Samples):
    def __init__(self, size, seed):
        self.inputs = torch.randn(size, 2, generator=torch.Generator().manual_seed(seed))
        self.labels = labels_of(self.inputs)

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, draw):
        return TableBatch(self.inputs[draw.indices], self.labels[draw.indices], draw.indices)

    def targets(self):
        return self.labels


class Quarters(DataModule):
    fact_names = ("num_features", "num_classes")

    def prepare(self):
        return {"class_names": ["right", "up", "far"]}

    def facts(self):
        return {"num_features": 2, "num_classes": 3}

    def samples(self, split):
        return Points(400 if split == "train" else 100, {"train": 0, "val": 1, "test": 2}[split])

    def read(self, items):
        zero = torch.zeros(1, 3)
        for item in items:
            point = torch.tensor([[float(part) for part in item.split(",")]])
            yield item, TableBatch(point, zero, torch.zeros(1, dtype=torch.int64))


@settings(max_examples=25, deadline=None)
@given(CUTS)
def test_metrics_are_those_of_scikit_learn_for_any_batches(cuts):
    # The last label is never there and never predicted; some rows have no label at all.
    logits, target = drawn(60, 5), (drawn(60, 5, seed=3) > 0.4).float()
    logits[:, 4], target[:, 4] = -1, 0
    task = Multilabel(
        num_classes=5, network=Given(logits), loss=nn.BCEWithLogitsLoss(), target="multi", **NONE
    )
    found = evaluated(task, TableBatch(torch.arange(60), target, torch.arange(60)), cuts)
    truth, said = target.numpy().astype(int), (logits.double().sigmoid() >= 0.5).numpy().astype(int)
    score = sklearn_metrics.f1_score
    assert found == {
        "loss": pytest.approx(
            float(nn.functional.binary_cross_entropy_with_logits(logits.double(), target.double())), rel=1e-5
        ),
        "f1": pytest.approx(score(truth, said, average="macro", zero_division=np.nan), rel=1e-6),
        "micro_f1": pytest.approx(score(truth, said, average="micro"), rel=1e-6),
        "exact_match": pytest.approx(sklearn_metrics.accuracy_score(truth, said), rel=1e-6),
    }


def test_a_prediction_has_the_labels_from_a_half_on_and_the_most_probable_ones():
    logits = torch.tensor([[2.0, -1.0, 0.0], [-1.0, -3.0, -2.0]])
    task = Multilabel(
        num_classes=3,
        class_names=["a", "b", "c"],
        network=Given(logits),
        loss=nn.BCEWithLogitsLoss(),
        target="multi",
        **NONE,
    )
    rows = torch.arange(2)
    found = task.predict(TableBatch(rows, torch.zeros(2, 3), rows), None, 2)
    some, none = found.each(["first", "second"])
    assert some.labels == ("a", "c")
    assert some.top == (("a", pytest.approx(0.880797)), ("c", 0.5))
    assert none.labels == ()
    assert none.top[0] == ("a", pytest.approx(0.2689414))


def test_labels_are_learnt_counted_tested_and_predicted(monkeypatch):
    Path("conf/data").mkdir(parents=True)
    Path("conf/data/quarters.yaml").write_text(DATA, encoding="utf-8")
    monkeypatch.setenv("NNKIT_TRUST", "test_multilabel")
    result = nnkit.train(["data=quarters", "trainer.num_threads=1", "callbacks=[checkpoint]"])
    assert result.metrics["test/f1"] > 0.9
    assert result.metrics["test/exact_match"] > 0.8
    learnt = json.loads((result.run.path / "preprocessing.json").read_text())
    assert learnt["class_counts"] == Points(400, 0).labels.sum(0).int().tolist()
    answers = nnkit.load(result.run).predict(["2,2", "-0.4,-0.4", "0.6,-0.6"])
    assert [answer.labels for answer in answers] == [("right", "up", "far"), (), ("right",)]


def test_a_table_of_labels_has_a_column_of_them_before_the_probabilities(capsys):
    shown = verb.Shown()
    shown.write(["x.csv:1"], LabelSets.of(torch.tensor([[0.7, 0.9, 0.1]]), ["a", "b", "c"], 3), None)
    shown.close()
    header, _, row = capsys.readouterr().out.strip().splitlines()
    assert header.split() == ["item", "labels", "most", "probable", "or", "2", "or", "3"]
    assert row.split() == ["x.csv:1", "a|b", "b", "90.0%", "a", "70.0%", "c", "10.0%"]
