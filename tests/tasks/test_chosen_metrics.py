"""Metrics of a user's choice: values against scikit-learn, runs that follow one, and what is refused."""

import json
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy import stats
from sklearn import metrics as sklearn_metrics
from sklearn.metrics import precision_recall_fscore_support
from test_metrics import CUTS, drawn, labels

import nnkit
from nnkit import config as configs
from nnkit.checkpoint.store import CheckpointStore
from nnkit.config import catalog
from nnkit.factory.metrics import build_metrics
from nnkit.runs import preflight
from nnkit.runs.resuming import resume

IRIS = ["data=iris", "data.val_fraction=0.2", "trainer.num_threads=1", "logger=[]", "callbacks=[checkpoint]"]
# What a task is composed with here; the data themselves are not read.
TASKS = {
    "classes": ["data=iris"],
    "labels": ["data=texts", "data.path=texts.csv", "task=multilabel"],
    "values": ["data=mackey_glass"],
}
# More classes than the ones of the data, so that some occur nowhere.
SIZE = 5
NAMES = [str(number) for number in range(SIZE)]
LEARNT = {
    "classes": {"class_names": NAMES},
    "labels": {"class_names": NAMES},
    "values": {"target": {"mean": [0.0, 0.0]}},
}


def fitting(kind):
    return [
        option
        for option in catalog.options("metrics")
        if kind in catalog.read("metrics", option)[option]["fits"]
    ]


def found(kind, prediction, target, cuts, *words):
    """Return all metrics that fit, the split cut into batches."""
    config = configs.compose([*TASKS[kind], f"metrics=[{','.join(fitting(kind))}]", *words]).config
    chosen = build_metrics(config, LEARNT[kind])
    for start, end in pairwise(cuts):
        for metric in chosen.values():
            metric.update(prediction[start:end], target[start:end])
    return {name: float(metric.result(lambda sums: sums)) for name, metric in chosen.items()}


def binary(score, target, prediction, classes):
    """Return the mean over classes of a score of each against the rest."""
    return np.mean([score(target[:, one], prediction[:, one]) for one in classes])


def specificities(truth, said, classes):
    return np.mean([((truth != one) & (said != one)).sum() / (truth != one).sum() for one in classes])


def calibration_error(probabilities, truth, bins=15):
    sure, right = probabilities.max(1), probabilities.argmax(1) == truth
    places = np.minimum((sure * bins).astype(int), bins - 1)
    return sum(
        abs(right[places == one].mean() - sure[places == one].mean()) * (places == one).mean()
        for one in range(bins)
        if (places == one).any()
    )


@settings(max_examples=5, deadline=None)
@given(CUTS)
def test_metrics_of_classes_are_those_of_scikit_learn_for_any_batches(cuts):
    # Class 3 is predicted and never true, class 4 neither; the means leave out what has no value.
    scores = drawn(60, SIZE)
    scores[:, 4] = -9
    probabilities, target = scores.softmax(1), labels(3, 60)
    mine = found("classes", probabilities, target, cuts, "metrics.top5.top_k=2")
    chances, truth, said = probabilities.double().numpy(), target.numpy(), scores.argmax(1).numpy()
    one_hot = np.eye(SIZE)[truth]
    precision, recall, *_ = precision_recall_fscore_support(truth, said, average="macro", zero_division=0)
    with warnings.catch_warnings():
        # Of the class that is predicted and does not occur.
        warnings.simplefilter("ignore")
        balanced = sklearn_metrics.balanced_accuracy_score(truth, said)
    expected = {
        "auroc": binary(sklearn_metrics.roc_auc_score, one_hot, chances, range(3)),
        "average_precision": binary(sklearn_metrics.average_precision_score, one_hot, chances, range(3)),
        "precision": precision,
        "recall": recall,
        "specificity": specificities(truth, said, range(3)),
        "balanced_accuracy": balanced,
        "top5": sklearn_metrics.top_k_accuracy_score(truth, chances, k=2, labels=range(SIZE)),
        "cohen_kappa": sklearn_metrics.cohen_kappa_score(truth, said),
        "matthews": sklearn_metrics.matthews_corrcoef(truth, said),
        "calibration_error": calibration_error(chances, truth),
    }
    assert mine == pytest.approx(expected, rel=1e-5)


@settings(max_examples=5, deadline=None)
@given(CUTS)
def test_metrics_of_labels_are_those_of_scikit_learn_for_any_batches(cuts):
    # The last label is nowhere and never predicted, and the one before it is everywhere.
    probabilities, target = drawn(60, SIZE).sigmoid(), (drawn(60, SIZE, seed=3) > 0.4).long()
    probabilities[:, 4], target[:, 4], target[:, 3] = 0.1, 0, 1
    mine = found("labels", probabilities, target, cuts)
    chances, truth = probabilities.double().numpy(), target.numpy()
    said = (chances >= 0.5).astype(int)
    precision, recall, *_ = precision_recall_fscore_support(
        truth[:, :4], said[:, :4], average="macro", zero_division=0
    )
    specificity = ((truth == 0) & (said == 0)).sum(0)[:3] / (truth == 0).sum(0)[:3]
    expected = {
        "auroc": binary(sklearn_metrics.roc_auc_score, truth, chances, range(3)),
        "average_precision": binary(sklearn_metrics.average_precision_score, truth, chances, range(4)),
        "precision": precision,
        "recall": recall,
        "specificity": specificity.mean(),
        "matthews": sklearn_metrics.matthews_corrcoef(truth.ravel(), said.ravel()),
        "hamming": sklearn_metrics.hamming_loss(truth, said),
        "ranking_average_precision": sklearn_metrics.label_ranking_average_precision_score(truth, chances),
    }
    assert mine == pytest.approx(expected, rel=1e-5)


@settings(max_examples=5, deadline=None)
@given(CUTS)
def test_metrics_of_values_are_those_of_scikit_learn_for_any_batches(cuts):
    # In seconds since 1970, whose squares no float32 holds.
    truth = drawn(60, 2).double() * 4e6 + 1.7e9
    said = truth + 2e6 * drawn(60, 2, seed=2).double()
    mine = found("values", said, truth, cuts)
    x, y = said.numpy(), truth.numpy()
    expected = {
        "mape": sklearn_metrics.mean_absolute_percentage_error(y, x),
        "smape": (2 * np.abs(x - y) / (np.abs(x) + np.abs(y))).mean(),
        "wmape": np.abs(x - y).sum() / np.abs(y).sum(),
        "explained_variance": sklearn_metrics.explained_variance_score(y, x),
        "pearson": np.mean([stats.pearsonr(x[:, one], y[:, one])[0] for one in range(2)]),
        "spearman": np.mean([stats.spearmanr(x[:, one], y[:, one])[0] for one in range(2)]),
        "r2": sklearn_metrics.r2_score(y, x),
    }
    assert mine == pytest.approx(expected, rel=1e-4)


def test_thresholds_keep_no_probabilities_and_come_near_the_exact_value():
    probabilities, target = drawn(2000, 3).softmax(1), labels(3, 2000)
    config = configs.compose(["data=iris", "metrics=[auroc]"]).config
    exact = build_metrics(config, {"class_names": NAMES[:3]})["auroc"]
    config.metrics.auroc.thresholds = 100
    binned = build_metrics(config, {"class_names": NAMES[:3]})["auroc"]
    for metric in (exact, binned):
        metric.update(probabilities, target)
    assert sum(state.numel() for state in binned.metric.metric_state.values()) == 100 * 3 * 4
    assert float(binned.result(lambda sums: sums)) == pytest.approx(
        float(exact.result(lambda sums: sums)), abs=0.01
    )


def test_an_evaluation_begins_anew_after_each_result():
    config = configs.compose(["data=iris", "metrics=[auroc]"]).config
    metric = build_metrics(config, {"class_names": NAMES[:3]})["auroc"]
    values = []
    for seed in (0, 1, 0):
        metric.update(drawn(30, 3, seed=seed).softmax(1), labels(3, 30))
        values.append(float(metric.result(lambda sums: sums)))
    assert values[0] == values[2] != values[1]


@pytest.mark.parametrize("option", catalog.options("metrics"))
def test_each_option_is_sound_with_a_task_that_it_fits(option):
    (kind, *_) = catalog.read("metrics", option)[option]["fits"]
    words = ["data=digits"] if kind == "classes" else TASKS[kind]
    composed, problems = configs.examine([*words, f"metrics=[{option}]"])
    problems = [*problems, *preflight.problems(composed)]
    assert [problem for problem in problems if problem.key.startswith("metrics")] == []


def validations(run):
    rows = map(json.loads, (run.path / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if row["split"] == "val"]


FOLLOWED = ["metrics=[auroc,calibration_error]", "monitor=val/calibration_error", "scheduler=plateau"]


def test_a_run_follows_a_chosen_metric_and_is_resumed_exactly():
    words = [*IRIS, *FOLLOWED, "+callbacks=early_stopping", "callbacks.early_stopping.patience=2"]
    whole = nnkit.train([*words, "trainer.max_epochs=12", "name=whole"])
    rows, record = validations(whole.run), whole.run.record()
    errors = [row["val/calibration_error"] for row in rows]
    # Less of it is better: it stops two validations after the smallest.
    assert record["better"]["calibration_error"] == "min"
    assert record["better"]["auroc"] == "max"
    assert len(rows) == errors.index(min(errors)) + 3 < 12
    best, _ = CheckpointStore(whole.run.checkpoints).load("best")
    assert best.monitor == "val/calibration_error"
    assert best.score == pytest.approx(min(errors), rel=1e-6)
    assert {"test/auroc", "test/calibration_error", "test/f1"} <= set(whole.metrics)
    first = nnkit.train([*words, "trainer.max_epochs=2", "name=first"]).run
    resume(str(first.path), ".", ["trainer.max_epochs=12"], show=False)
    assert validations(first) == rows


def test_metrics_change_nothing_else():
    plain = nnkit.train([*IRIS, "trainer.max_epochs=2", "name=plain"])
    more = nnkit.train([*IRIS, "metrics=[auroc,precision]", "trainer.max_epochs=2", "name=more"])
    states = [CheckpointStore(one.run.checkpoints).load("last")[1]["state_dict"] for one in (plain, more)]
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    for old, new in zip(validations(plain.run), validations(more.run), strict=True):
        assert {**new, **old} == new
        assert list(new)[-2:] == ["val/auroc", "val/precision"]


REFUSED = [
    ("data=diabetes metrics=[auroc,top5] optimizer.lr=-1",
     ["metrics.auroc: compares classes or any number of labels, and the task regression gives real values",
      "metrics.top5: compares classes", "metrics that fit: explained_variance, mape,", "optimizer.lr"]),
    ("data=iris metrics=[aurok]", ["did you mean metrics=[auroc]?"]),
    ("data=iris metrics=[top5]", ["metrics.top5.top_k", "metrics.top5.top_k=2"]),
    ("data=iris metrics=[auroc] metrics.auroc.average=none", ["gives 3 numbers", "metrics.auroc.average=macro"]),
    ("data=iris metrics=[auroc] metrics.auroc.average=mean", ["must be one of macro, weighted, none"]),
    ("data=iris metrics=[auroc] +metrics.auroc.sync_on_compute=false", ["is given by nnkit itself"]),
    ("data=iris metrics=[auroc] +metrics.auroc.nonsense=1", ["AUROC takes no such argument"]),
    ("data=iris metrics=[auroc] metrics.auroc.better=larger", ["must be max or min"]),
    ("data=iris metrics=[auroc] metrics.auroc.fits=[texts]", ["must be a list out of classes, labels, values"]),
    ("data=iris metrics=[auroc] metrics.auroc.over=all", ["must be one of seen, occurring, told_apart"]),
    ("data=iris monitor=val/auroc", ["the task logs no val/auroc", "add it: metrics=[auroc]"]),
    ("data=iris metrics=[auroc] metrics.auroc._target_=torchmetrics.text.BLEUScore", ["outside the packages"]),
    ("data=iris metrics=[auroc] metrics.auroc._target_=torchmetrics.classification.BinaryAUROC"
     " ~metrics.auroc.average",
     ["cannot compare classes"]),
    ("data=iris loss=mse loss._target_=torchmetrics.regression.MeanSquaredError", ["outside the packages"]),
    ("data=shakespeare metrics=[auroc]", ["takes no metrics beside its own: loss, perplexity"]),
    ("data=diabetes metrics=[r2]", ["reports a metric of this name already"]),
]  # fmt: skip


@pytest.mark.parametrize(("line", "said"), REFUSED, ids=[line for line, _ in REFUSED])
def test_what_does_not_fit_is_refused_with_what_does(line, said):
    composed, problems = configs.examine(line.split())
    text = "\n".join(map(str, [*problems, *preflight.problems(composed)]))
    for words in said:
        assert words in text


def test_a_metric_of_ones_own(monkeypatch):
    Path("conf/metrics").mkdir(parents=True)
    Path("conf/metrics/f2.yaml").write_text(
        "f2:\n  _target_: torchmetrics.classification.FBetaScore\n  fits: [classes]\n  better: max\n"
        "  beta: 2.0\n  average: macro\n",
        encoding="utf-8",
    )
    result = nnkit.train([*IRIS, "metrics=[f2]", "trainer.max_steps=2", "monitor=val/f2"])
    assert 0 <= result.metrics["test/f2"] <= 1
