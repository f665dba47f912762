"""Mean, spread and interval over seeds, and whether one setting is better than all others."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

# An interval of the mean that holds the true one in 95 of 100 samples.
CONFIDENCE = 0.95
# More seeds than this are never recommended.
MOST_SEEDS = 100
# What a metric can be, by its name without the split; others have no known ends.
_SHARES = ("accuracy", "f1", "token_accuracy", "exact_match", "masked_accuracy", "next_sentence_accuracy")
_ERRORS = ("mae", "mse", "rmse", "nrmse", "token_error", "bits_per_character")
_RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(_SHARES, (0.0, 1.0)),
    **dict.fromkeys(("bleu", "chrf"), (0.0, 100.0)),
    **dict.fromkeys(_ERRORS, (0.0, math.inf)),
    "perplexity": (1.0, math.inf),
    "r2": (-math.inf, 1.0),
}
# With two values an interval is 9 deviations wide to each side; three say a good deal more.
_FEWEST = 3


@dataclass(frozen=True)
class Summary:
    """A metric over seeds.

    Attributes:
        count: Number of values.
        mean: Their mean; not a number if one of them is none.
        deviation: Sample standard deviation (divided by n - 1); None for a single value.
        half_width: Half the width of the 95 % interval of the mean; None for a single value.
        lowest: What the metric cannot be below; the interval ends there.
        highest: What it cannot be above.
    """

    count: int
    mean: float
    deviation: float | None
    half_width: float | None
    lowest: float = -math.inf
    highest: float = math.inf

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        return None if self.half_width is None else max(self.mean - self.half_width, self.lowest)

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""
        return None if self.half_width is None else min(self.mean + self.half_width, self.highest)


@dataclass(frozen=True)
class Verdict:
    """Who won.

    Attributes:
        sentence: What to tell the user.
        winner: The setting whose interval lies apart from all others; None if that cannot be told.
        more_seeds: How many more seeds of each setting would tell; None if there is a winner or no number would.
    """

    sentence: str
    winner: str | None = None
    more_seeds: int | None = None


@cache
def t_quantile(degrees: int) -> float:
    """Return t with P(-t <= T <= t) = 0.95 for Student's t of some degrees of freedom.

    The probability outside is I_x(degrees / 2, 1 / 2), the regularized incomplete beta function, at
    x = degrees / (degrees + t^2): Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.5.27
    and 26.7.1.
    """
    import mpmath  # type: ignore[import-untyped]

    def outside(t: Any) -> Any:
        below = degrees / (degrees + t * t)
        return mpmath.betainc(mpmath.mpf(degrees) / 2, 0.5, 0, below, regularized=True) - (1 - CONFIDENCE)

    # It falls from 12.71 for one degree of freedom to 1.96 for many.
    return float(mpmath.findroot(outside, (1.9, 13), solver="anderson", tol=1e-14))


def summarize(values: Sequence[float], metric: str = "") -> Summary:
    """Return mean, sample standard deviation and 95 % interval of the mean, ``mean ± t s / sqrt(n)``.

    Source: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.2, confidence limits for the mean. The interval ends
    where the metric's values do: the true mean cannot lie beyond, so this does not change how often it is inside.

    Args:
        values: One a seed, at least one; what is not finite makes everything not a number.
        metric: Name of the metric, such as "val/accuracy".
    """
    ends = _RANGES.get(metric.rpartition("/")[2], (-math.inf, math.inf))
    count = len(values)
    if not all(map(math.isfinite, values)):
        return Summary(count, math.nan, None, None)
    # Summed exactly, so that the order of the seeds does not matter.
    mean = math.fsum(values) / count
    if count == 1:
        return Summary(1, mean, None, None)
    if min(values) == max(values):
        return Summary(count, values[0], 0.0, 0.0, *ends)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    return Summary(count, mean, deviation, _half_width(deviation, count), *ends)


def _half_width(deviation: float, count: int) -> float:
    return t_quantile(count - 1) * deviation / math.sqrt(count)


def best_first(summaries: Mapping[str, Summary], mode: str) -> list[str]:
    """Return the names of settings, the best mean first, those without a finite mean last.

    Args:
        summaries: By name of the setting.
        mode: "max" or "min": which way is better.
    """
    sign = -1 if mode == "max" else 1

    def rank(name: str) -> tuple[bool, float]:
        mean = summaries[name].mean
        return (False, sign * mean) if math.isfinite(mean) else (True, 0.0)

    return sorted(summaries, key=rank)


def verdict(settings: Mapping[str, Sequence[float]], mode: str) -> Verdict:
    """Return which setting is the best, or how many more seeds would tell.

    A winner is a setting whose 95 % interval overlaps no other's. That is stricter than a test at 5 %: Schenker and
    Gentleman, On judging the significance of differences by examining the overlap between confidence intervals, The
    American Statistician 55 (2001). A setting with values that are not finite has diverged and loses.

    Args:
        settings: The values of the monitored metric, one a seed, by name of the setting.
        mode: "max" or "min": which way is better.
    """
    summaries = {name: summarize(values) for name, values in settings.items() if values}
    ranked = [name for name in best_first(summaries, mode) if math.isfinite(summaries[name].mean)]
    if len(settings) == 1:
        return Verdict("there is one setting, so nothing to compare it with")
    if not ranked:
        return Verdict("cannot tell: no setting has a value to compare")
    best, *others = ranked
    if not others:
        return Verdict(f"cannot tell: {best} alone has a value")
    single = [name for name in ranked if summaries[name].count == 1]
    if single:
        return _one_seed(single, len(ranked))
    rivals = [name for name in others if not _apart(summaries[best], summaries[name], 0)]
    if rivals:
        return _undecided(summaries, best, rivals)
    return Verdict(f"{best} is the best: its 95 % interval lies apart from all others", winner=best)


def _one_seed(single: Sequence[str], of: int) -> Verdict:
    if len(single) == of:
        text = "cannot tell from one seed each: run at least 2 more"
    else:
        who = f"{single[0]} has" if len(single) == 1 else f"{len(single)} settings have"
        text = f"cannot tell: {who} one seed only, run at least 2 more"
    return Verdict(text, more_seeds=_FEWEST - 1)


def _undecided(summaries: Mapping[str, Summary], best: str, rivals: Sequence[str]) -> Verdict:
    equal = next((name for name in rivals if summaries[name].mean == summaries[best].mean), None)
    if equal is not None:
        return Verdict(f"cannot tell: {best} and {equal} have the same mean")
    more = bisect_left(
        range(1, MOST_SEEDS + 1),
        True,
        key=lambda n: all(_apart(summaries[best], summaries[name], n) for name in rivals),
    )
    near = " or ".join(rivals) if len(rivals) <= 2 else f"{rivals[0]} or {len(rivals) - 1} others"
    leads = f"{best} leads, but may be no better than {near}"
    if more == MOST_SEEDS:
        return Verdict(f"cannot tell: run more than {MOST_SEEDS} more seeds; {leads}")
    # An index counts from 0.
    seeds = "1 more seed" if more == 0 else f"{more + 1} more seeds"
    return Verdict(f"cannot tell: run {seeds}; {leads}", more_seeds=more + 1)


def _apart(one: Summary, other: Summary, more: int) -> bool:
    """Return whether two intervals would not overlap after some more seeds, means and deviations as they are."""
    widths = [_half_width(summary.deviation or 0.0, summary.count + more) for summary in (one, other)]
    return abs(one.mean - other.mean) > sum(widths)
