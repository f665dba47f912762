"""Metrics with bootstrap intervals, per-class scores and calibration, of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
# Makes metrics of totals (..., totals): by name, (...) each.
Metrics = Callable[[Floats], dict[str, Floats]]
REPLICATES, BINS = 1000, 15
# Numbers that are drawn at once.
_AT_ONCE = 1_000_000
_ENDS = (0.025, 0.975)
# Share of the squared errors below which a variance is rounding alone.
_CONSTANT = 1e-12


class Interval(NamedTuple):
    """A metric of some samples.

    Attributes:
        value: Its value.
        low: Lower end of the 95 % interval; not a number where there is none.
        high: Upper end.
    """

    value: float
    low: float
    high: float


class Tally(NamedTuple):
    """Samples as what they add to totals.

    Attributes:
        sums: What each kind of sample adds, (kinds, totals).
        metrics: Makes metrics of added-up totals.
        counts: Samples of each kind, (kinds,).
    """

    sums: Floats
    metrics: Metrics
    counts: Counts


def intervals(totals: Tally, replicates: int = REPLICATES, seed: int = 0) -> dict[str, Interval]:
    """Return metrics with 95 % percentile intervals of the bootstrap.

    As many samples as there are, are drawn with replacement, the metrics are computed of them, and that is repeated;
    the interval leaves out 2.5 % of the values at each end. Efron and Tibshirani 1993, An Introduction to the
    Bootstrap, section 13.3.

    Args:
        totals: The samples.
        replicates: How often they are drawn.
        seed: Of the draw.
    """
    number = int(totals.counts.sum())
    found = totals.metrics(totals.counts @ totals.sums)
    if number < 2:
        return {name: Interval(float(value), np.nan, np.nan) for name, value in found.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = totals.metrics(_drawn(totals, number, replicates, np.random.default_rng(seed)))
        ends = {name: np.nanquantile(values, _ENDS) for name, values in drawn.items() if not _empty(values)}
    missing = (np.nan, np.nan)
    return {
        name: Interval(float(value), *map(float, ends.get(name, missing))) for name, value in found.items()
    }


def _empty(values: Floats) -> bool:
    return bool(np.isnan(values).all())


def _drawn(totals: Tally, number: int, replicates: int, chance: np.random.Generator) -> Floats:
    """Return the totals of each replicate, (replicates, totals)."""
    kinds = len(totals.counts)
    if number > kinds:
        # How many of each kind are drawn has a multinomial distribution.
        return chance.multinomial(number, totals.counts / number, size=replicates) @ totals.sums
    rows = []
    for start in range(0, replicates, most := max(1, _AT_ONCE // number)):
        count = min(most, replicates - start)
        places = chance.integers(kinds, size=(count, number)) + kinds * np.arange(count)[:, None]
        weights = np.bincount(places.ravel(), minlength=count * kinds).reshape(count, kinds)
        rows.append(weights @ totals.sums)
    return np.concatenate(rows)


def each_once(sums: NDArray[Any], metrics: Metrics) -> Tally:
    """Return samples that are all of their own kind."""
    return Tally(sums.astype(np.float64), metrics, np.ones(len(sums), dtype=np.int64))


def confusion(truth: Counts, predicted: Counts, classes: int) -> Counts:
    """Return how often each class (rows) was taken for each (columns), (classes, classes)."""
    counts: Counts = np.bincount(truth * classes + predicted, minlength=classes**2)
    return counts.reshape(classes, classes)


def of_classes(counts: Counts) -> Tally:
    """Return classified samples, a kind for each pair of a true and a predicted class; accuracy and macro F1.

    Args:
        counts: A confusion matrix, rows are true classes.
    """
    classes = len(counts)
    truth, said = np.nonzero(counts)
    sums = np.zeros((len(truth), 3 * classes))
    rows = np.arange(len(truth))
    sums[rows, truth] = truth == said
    sums[rows, classes + truth] = 1
    sums[rows, 2 * classes + said] = 1

    def metrics(totals: Floats) -> dict[str, Floats]:
        right, true, predicted = np.split(totals, 3, axis=-1)
        return {
            "accuracy": right.sum(-1) / true.sum(-1),
            "f1": _mean_where(2 * right, true + predicted),
        }

    return Tally(sums, metrics, counts[truth, said])


def of_labels(truth: NDArray[Any], chosen: NDArray[np.bool_]) -> Tally:
    """Return samples with any number of labels (samples, labels); macro and micro F1, share of samples all right."""
    true = truth > 0
    sums = np.concatenate([true & chosen, true, chosen, (true == chosen).all(1, keepdims=True)], axis=1)
    labels = truth.shape[1]
    ones = np.ones((len(truth), 1))

    def metrics(totals: Floats) -> dict[str, Floats]:
        right, there, said = np.split(totals[..., : 3 * labels], 3, axis=-1)
        return {
            "f1": _mean_where(2 * right, there + said),
            "micro_f1": 2 * right.sum(-1) / (there + said).sum(-1),
            "exact_match": totals[..., -2] / totals[..., -1],
        }

    return each_once(np.concatenate([sums, ones], axis=1), metrics)


def _mean_where(parts: Floats, wholes: Floats) -> Floats:
    """Return the mean of parts / wholes over those of the last axis whose whole is not zero."""
    there = wholes > 0
    shares = np.divide(parts, wholes, out=np.zeros_like(wholes, dtype=np.float64), where=there)
    with np.errstate(invalid="ignore"):
        found: Floats = shares.sum(-1) / there.sum(-1)
    return found


def of_values(truth: Floats, predicted: Floats, steps: int = 1) -> Tally:
    """Return samples with real values; mean absolute error, its root of squares, R2, and the latter's rest as "nrmse".

    Args:
        truth: True values, (rows, outputs).
        predicted: Predicted values, of the same shape.
        steps: Rows that belong together: they are drawn together.
    """
    error, centred = predicted - truth, truth - truth.mean(0)
    parts = np.stack([error**2, abs(error), centred, centred**2, np.ones_like(error)], axis=1)
    starts = np.arange(0, len(parts), steps)
    outputs = truth.shape[1]

    def metrics(totals: Floats) -> dict[str, Floats]:
        shaped = totals.reshape(*totals.shape[:-1], 5, outputs)
        squared, absolute, first, second, count = np.moveaxis(shaped, -2, 0)
        variance = second / count - (first / count) ** 2
        # Outputs that vary; of a constant one there is nothing to be explained.
        varied = np.where(variance > _CONSTANT * squared.max(), variance, 0.0)
        mse = (squared / count).mean(-1)
        return {
            "mae": (absolute / count).mean(-1),
            "mse": mse,
            "rmse": np.sqrt(mse),
            "nrmse": _mean_where(np.sqrt(squared / count), np.sqrt(varied)),
            "r2": 1 - _mean_where(squared / count, varied),
        }

    return each_once(np.add.reduceat(parts, starts, axis=0).reshape(len(starts), -1), metrics)


class ClassScores(NamedTuple):
    """How well each class is found.

    Attributes:
        precision: Share of the answers of a class that are right; not a number where it is never answered.
        recall: Share of its samples that are found; not a number where it has none.
        f1: 2 TP / (2 TP + FP + FN); not a number where it neither occurs nor is answered.
        support: Its samples.
    """

    precision: Floats
    recall: Floats
    f1: Floats
    support: Counts


def class_scores(right: Counts, true: Counts, predicted: Counts) -> ClassScores:
    """Return the scores of classes from how often each is right, true and predicted, (classes,) each."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return ClassScores(right / predicted, right / true, 2 * right / (true + predicted), true)


class Calibration(NamedTuple):
    """How far probabilities can be taken at their word.

    Attributes:
        error: Expected calibration error: the mean over samples of how far accuracy and probability lie apart in
            their bin.
        counts: Samples of each bin, (bins,).
        accuracy: Share of right answers in each bin; not a number where it is empty.
        confidence: Mean probability in each bin; not a number where it is empty.
    """

    error: float
    counts: Counts
    accuracy: Floats
    confidence: Floats


def calibration(confidence: Floats, right: NDArray[np.bool_], bins: int = BINS) -> Calibration:
    """Compare probabilities with how often they are right, in bins of equal width, each with its upper end.

    Guo et al. 2017, "On calibration of modern neural networks", equations 2 and 3.

    Args:
        confidence: Probability of each answer, (samples,).
        right: Whether it is right, (samples,).
        bins: Number of bins.
    """
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(divide="ignore", invalid="ignore"):
        accuracy = np.bincount(place, weights=right, minlength=bins) / counts
        mean = np.bincount(place, weights=confidence, minlength=bins) / counts
    there = counts > 0
    error = float((counts[there] * abs(accuracy[there] - mean[there])).sum() / max(1, len(confidence)))
    return Calibration(error, counts, accuracy, mean)
