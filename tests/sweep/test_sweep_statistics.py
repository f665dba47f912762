"""Intervals against scipy's, and verdicts against the definition, by brute force."""

import itertools
import math
import random
import statistics

import pytest
from scipy import stats

from nnkit.sweep.statistics import MOST_SEEDS, best_first, summarize, t_quantile, verdict
from nnkit.tasks.classification import Classification
from nnkit.tasks.forecasting import Forecasting
from nnkit.tasks.language_modeling import LanguageModeling
from nnkit.tasks.masked_lm import MaskedLM
from nnkit.tasks.regression import Regression
from nnkit.tasks.seq2seq import Seq2Seq
from nnkit.tasks.translation import Translation


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 10, 29, 100, 5000])
def test_the_quantile_is_scipys(degrees):
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-12)


@pytest.mark.parametrize("count", [2, 3, 5, 40])
def test_mean_deviation_and_interval(count):
    values = [random.Random(count).gauss(0.97, 0.01) for _ in range(count)]
    found = summarize(values)
    width = stats.t.ppf(0.975, count - 1) * stats.sem(values)
    assert found.mean == pytest.approx(statistics.fmean(values), rel=1e-12)
    assert found.deviation == pytest.approx(statistics.stdev(values), rel=1e-9)
    assert (found.low, found.high) == pytest.approx((found.mean - width, found.mean + width), rel=1e-9)


@pytest.mark.parametrize(
    ("metric", "values", "ends"),
    [
        ("val/accuracy", [0.5, 1.0], (0, 1)),
        ("test/f1", [0.98, 0.99, 1.0], (None, 1)),
        ("test/token_error", [0.0, 0.01], (0, None)),
        ("test/bleu", [99.0, 100.0], (None, 100)),
        ("test/r2", [0.5, 0.9], (None, 1)),
        ("val/perplexity", [1.01, 1.1], (1, None)),
        ("val/loss", [0.0, 0.1], (None, None)),
    ],
)
def test_an_interval_ends_where_the_values_of_its_metric_do(metric, values, ends):
    found = summarize(values, metric)
    width = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    free = (found.mean - width, found.mean + width)
    expected = [one if one is not None else other for one, other in zip(ends, free, strict=True)]
    assert [found.low, found.high] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "task", [Classification, Regression, Forecasting, LanguageModeling, MaskedLM, Seq2Seq, Translation]
)
def test_each_metric_of_a_task_but_its_losses_has_an_end(task):
    for metric in task.metrics:
        found = summarize([-1e9, 1e9], metric)
        free = found.high - found.low > 1e9 and found.low < 0 and found.high > 1e9
        assert free == metric.endswith("loss"), metric


def test_the_order_of_the_seeds_changes_no_digit():
    values = [0.1, 0.7, 1e9, -1e9, 0.3]
    assert len({summarize(order) for order in itertools.permutations(values)}) == 1


def test_one_value_has_no_interval_and_what_is_no_number_spoils_the_mean():
    one = summarize([0.5])
    assert (one.mean, one.deviation, one.low, one.high) == (0.5, None, None, None)
    assert math.isnan(summarize([0.5, math.nan, 0.6]).mean)
    assert math.isnan(summarize([0.5, math.inf]).mean)
    same = summarize([0.1, 0.1, 0.1])
    assert (same.mean, same.deviation, same.half_width) == (0.1, 0.0, 0.0)


def test_best_first():
    found = {"a": summarize([2.0]), "b": summarize([math.nan]), "c": summarize([3.0]), "d": summarize([1.0])}
    assert best_first(found, "max") == ["c", "a", "d", "b"]
    assert best_first(found, "min") == ["d", "a", "c", "b"]


@pytest.mark.parametrize(("mode", "winner"), [("max", "high"), ("min", "low")])
def test_a_winner_whose_interval_lies_apart(mode, winner):
    settings = {"low": [0.50, 0.51, 0.505], "high": [0.90, 0.91, 0.905], "middle": [0.70, 0.71, 0.705]}
    found = verdict(settings, mode)
    assert found.winner == winner
    assert found.sentence == f"{winner} is the best: its 95 % interval lies apart from all others"


def part(settings, more):
    """Return, by scipy, whether the best interval is apart from all others, with more seeds."""
    ends = {}
    for name, values in settings.items():
        count = len(values) + more
        width = stats.t.ppf(0.975, count - 1) * statistics.stdev(values) / math.sqrt(count)
        ends[name] = (statistics.fmean(values) - width, statistics.fmean(values) + width)
    best = max(ends, key=lambda name: sum(ends[name]))
    return all(ends[best][0] > high for name, (_, high) in ends.items() if name != best)


@pytest.mark.parametrize("seed", range(12))
def test_as_many_seeds_as_it_takes_and_no_more(seed):
    draw = random.Random(seed)
    settings = {
        name: [draw.gauss(mean, 0.01) for _ in range(draw.randint(2, 4))]
        for name, mean in (("a", 0.97), ("b", 0.96), ("c", 0.94))
    }
    needed = next((more for more in range(MOST_SEEDS + 1) if part(settings, more)), None)
    found = verdict(settings, "max")
    if needed is None:
        assert (found.winner, found.more_seeds) == (None, None)
        assert f"run more than {MOST_SEEDS} more seeds" in found.sentence
    elif needed == 0:
        assert found.winner is not None
    else:
        assert (found.winner, found.more_seeds) == (None, needed)
        assert f"cannot tell: run {needed} more seed" in found.sentence


def test_one_more_seed_is_said_in_the_singular():
    settings = {"a": [0.0, 0.01], "b": [0.12, 0.13]}
    assert not part(settings, 0)
    assert part(settings, 1)
    assert verdict(settings, "max").sentence.startswith("cannot tell: run 1 more seed; b leads")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"a": [0.5], "b": [0.6]}, "cannot tell from one seed each: run at least 2 more"),
        ({"a": [0.5], "b": [0.6, 0.7]}, "cannot tell: a has one seed only, run at least 2 more"),
        (
            {"a": [0.5], "b": [0.6, 0.7], "c": [1]},
            "cannot tell: 2 settings have one seed only, run at least 2 more",
        ),
        ({"a": [0.5, 0.6]}, "there is one setting, so nothing to compare it with"),
        ({"a": [], "b": [0.6, 0.7]}, "cannot tell: b alone has a value"),
        ({"a": [math.nan], "b": [math.nan]}, "cannot tell: no setting has a value to compare"),
        ({}, "cannot tell: no setting has a value to compare"),
        ({"a": [0.5, 0.7], "b": [0.6, 0.6]}, "cannot tell: a and b have the same mean"),
        ({"a": [0.5, 0.5], "b": [0.5, 0.5]}, "cannot tell: a and b have the same mean"),
    ],
)
def test_what_cannot_be_told(settings, sentence):
    found = verdict(settings, "max")
    assert found.sentence == sentence
    assert found.winner is None


def test_a_setting_that_diverged_has_lost():
    found = verdict({"a": [0.5, 0.51], "b": [0.6, math.nan], "c": [0.1, 0.11]}, "max")
    assert found.winner == "a"


def test_near_rivals_are_named_and_many_are_counted():
    found = verdict({name: [0.5 + i / 1e3, 0.6 + i / 1e3] for i, name in enumerate("abcde")}, "max")
    assert found.sentence.endswith("e leads, but may be no better than d or 3 others")
    assert (
        "d or c"
        in verdict({name: [0.5 + i / 1e3, 0.6 + i / 1e3] for i, name in enumerate("cde")}, "max").sentence
    )
