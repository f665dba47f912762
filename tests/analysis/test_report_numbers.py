"""Numbers of a report against formulas that are written out, and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as peers

from nnkit.analysis.report import statistics

CLASSES = 4


@pytest.fixture
def chance():
    return np.random.default_rng(3)


@pytest.fixture
def classified(chance):
    truth = chance.integers(CLASSES, size=300)
    logits = chance.normal(size=(300, CLASSES)) + 2 * np.eye(CLASSES)[truth]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return truth, shares


def test_each_class_is_scored_as_by_scikit_learn(classified):
    truth, shares = classified
    said = shares.argmax(1)
    counts = statistics.confusion(truth, said, CLASSES)
    np.testing.assert_array_equal(counts, peers.confusion_matrix(truth, said))
    found = statistics.class_scores(counts.diagonal(), counts.sum(1), counts.sum(0))
    expected = peers.precision_recall_fscore_support(truth, said)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs)
    value = statistics.intervals(statistics.of_classes(counts))
    assert value["accuracy"].value == pytest.approx(peers.accuracy_score(truth, said))
    assert value["f1"].value == pytest.approx(peers.f1_score(truth, said, average="macro"))


def test_a_class_that_never_occurs_has_no_scores_and_counts_for_nothing():
    counts = statistics.confusion(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 3)
    scores = statistics.class_scores(counts.diagonal(), counts.sum(1), counts.sum(0))
    assert np.isnan(scores.recall[2])
    assert np.isnan(scores.precision[2])
    found = statistics.intervals(statistics.of_classes(counts))
    assert found["f1"].value == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_the_interval_is_that_of_resampled_samples(classified, chance):
    truth, shares = classified
    said = shares.argmax(1)
    found = statistics.intervals(statistics.of_classes(statistics.confusion(truth, said, CLASSES)), 4000)
    drawn = chance.integers(len(truth), size=(4000, len(truth)))
    for name, scored in (
        ("accuracy", lambda rows: (truth[rows] == said[rows]).mean()),
        ("f1", lambda rows: peers.f1_score(truth[rows], said[rows], average="macro")),
    ):
        values = [scored(rows) for rows in (drawn if name == "accuracy" else drawn[:800])]
        low, high = np.quantile(values, [0.025, 0.975])
        assert found[name].low == pytest.approx(low, abs=0.008)
        assert found[name].high == pytest.approx(high, abs=0.008)
    # Of a share it is about that of the normal distribution.
    share = (truth == said).mean()
    half = 1.96 * np.sqrt(share * (1 - share) / len(truth))
    assert found["accuracy"].high - found["accuracy"].low == pytest.approx(2 * half, rel=0.1)


def test_values_are_scored_as_by_scikit_learn_and_their_intervals_are_those_of_rows(chance):
    truth = chance.normal(size=(120, 2)) * [3.0, 0.1] + 5
    said = truth + chance.normal(size=(120, 2)) * [1.0, 0.05]
    found = statistics.intervals(statistics.of_values(truth, said), 3000)
    assert found["mae"].value == pytest.approx(peers.mean_absolute_error(truth, said))
    assert found["mse"].value == pytest.approx(peers.mean_squared_error(truth, said))
    assert found["rmse"].value == pytest.approx(np.sqrt(peers.mean_squared_error(truth, said)))
    assert found["r2"].value == pytest.approx(peers.r2_score(truth, said))
    spread = np.sqrt(((said - truth) ** 2).mean(0)) / truth.std(0)
    assert found["nrmse"].value == pytest.approx(spread.mean())
    values = [peers.r2_score(truth[rows], said[rows]) for rows in chance.integers(120, size=(3000, 120))]
    assert found["r2"].low == pytest.approx(np.quantile(values, 0.025), abs=0.01)
    assert found["r2"].high == pytest.approx(np.quantile(values, 0.975), abs=0.01)


def test_rows_that_belong_together_are_drawn_together(chance):
    # Copies of a row say nothing new: the interval is that of the rows, and would be narrower of the copies.
    truth, said = chance.normal(size=(2, 50, 1))
    alone = statistics.intervals(statistics.of_values(truth, said))["mae"]
    copies = (np.repeat(truth, 8, axis=0), np.repeat(said, 8, axis=0))
    together = statistics.intervals(statistics.of_values(*copies, 8))["mae"]
    apart = statistics.intervals(statistics.of_values(*copies))["mae"]
    assert together == pytest.approx(alone)
    assert apart.high - apart.low < 0.5 * (alone.high - alone.low)


def test_labels_are_scored_as_by_scikit_learn(chance):
    truth = chance.integers(2, size=(80, 3))
    chosen = (chance.random((80, 3)) < 0.3) | (truth > 0)
    found = statistics.intervals(statistics.of_labels(truth, chosen))
    assert found["f1"].value == pytest.approx(peers.f1_score(truth, chosen, average="macro"))
    assert found["micro_f1"].value == pytest.approx(peers.f1_score(truth, chosen, average="micro"))
    assert found["exact_match"].value == pytest.approx(peers.accuracy_score(truth, chosen))
    assert all(one.low < one.value < one.high for one in found.values())


def test_calibration_is_the_mean_distance_of_the_bins(chance):
    confidence = np.concatenate([chance.random(500), [0.2, 0.4, 1.0]])
    right = chance.random(503) < confidence**2
    found = statistics.calibration(confidence, right, 5)
    error = 0.0
    for number in range(5):
        inside = (confidence > number / 5) & (confidence <= (number + 1) / 5)
        if inside.any():
            apart = abs(right[inside].mean() - confidence[inside].mean())
            error += inside.sum() / 503 * apart
            assert found.counts[number] == inside.sum()
            assert found.accuracy[number] == pytest.approx(right[inside].mean())
    assert found.error == pytest.approx(error)
    assert statistics.calibration(np.array([1.0, 1.0]), np.array([True, True])).error == 0


def test_one_sample_has_no_interval_and_equal_draws_have_equal_ones(classified):
    truth, shares = classified
    one = statistics.intervals(statistics.of_values(np.ones((1, 1)), np.zeros((1, 1))))
    assert one["mae"].value == 1
    assert np.isnan(one["mae"].low)
    totals = statistics.of_classes(statistics.confusion(truth, shares.argmax(1), CLASSES))
    assert statistics.intervals(totals) == statistics.intervals(totals)
