"""Dates as features: the year, the place in the year, the week and the day, and the time since the first date."""

from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from nnkit.data.reading.dates import EpochUnit

Part = Literal["year", "month", "weekday", "hour", "elapsed"]
Floats = NDArray[np.float64]

_DAY = 86_400
# Parts that begin anew, and how often they do: December lies beside January.
_PERIODS: dict[Part, float] = {"month": 12.0, "weekday": 7.0, "hour": 24.0}


class DateColumn(TypedDict):
    """What is learnt from a column of dates.

    `parts` are those that differ in the training rows, without the weekday where dates stand for months. A period takes
    two features, its sine and its cosine; `scales` holds mean and standard deviation of the others. `origin` is the
    first training date, in seconds since 1970, `form` a `DateForm` as plain data, `epoch` the unit where dates are
    numbers. `indicator` says whether a feature marks missing ones.
    """

    name: str
    kind: Literal["date"]
    parts: list[Part]
    scales: dict[str, list[float]]
    origin: float
    form: dict[str, Any] | None
    epoch: EpochUnit | None
    indicator: bool


def part_values(part: Part, seconds: Floats, origin: float) -> Floats:
    """Return a part of dates: year, month from 0, weekday from 0 on Monday, hour with its fraction, days elapsed.

    Args:
        part: Which.
        seconds: Dates in seconds since 1970; NaN stays NaN.
        origin: Where the days begin, in the same unit.
    """
    if part == "elapsed":
        elapsed: Floats = (seconds - origin) / _DAY
        return elapsed
    days = np.floor(seconds / _DAY)
    if part == "hour":
        hours: Floats = (seconds - days * _DAY) / 3600
        return hours
    if part == "weekday":
        # 1 January 1970 was a Thursday.
        weekday: Floats = (days + 3) % 7
        return weekday
    missing = np.isnan(days)
    whole = np.where(missing, 0.0, days).astype(np.int64)
    first, last = int(whole.min(initial=0)), int(whole.max(initial=0))
    is_dense = last - first < len(whole)
    # Each day once: the calendar takes longer than a look into a table.
    asked = np.arange(first, last + 1) if is_dense else whole
    months = asked.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    found = months // 12 + 1970 if part == "year" else months % 12
    return np.where(missing, np.nan, found[whole - first] if is_dense else found)


def _are_months(seconds: Floats) -> bool:
    """Return whether dates stand for months or years, all on one day of the month or on its last day."""
    days = np.floor(seconds / _DAY).astype("datetime64[D]")
    of_month = days - days.astype("datetime64[M]").astype("datetime64[D]")
    is_last = (days + 1).astype("datetime64[M]").astype("datetime64[D]") == days + 1
    return bool((of_month == of_month[0]).all() or is_last.all())


def learn_dates(
    name: str, seconds: Floats, form: dict[str, Any] | None, epoch: EpochUnit | None
) -> DateColumn | str:
    """Learn how to encode dates, or return why there is nothing to be learnt from them.

    Args:
        name: Name of the column.
        seconds: Dates of the training rows in seconds since 1970, NaN where they are missing.
        form: How they are written, as plain data.
        epoch: Unit of the numbers that they are.
    """
    known = seconds[~np.isnan(seconds)]
    if not len(known):
        return "no value in the training rows"
    origin, indicator = float(known.min()), len(known) < len(seconds)
    parts: list[Part] = []
    scales = {}
    for part in ("year", "month", "weekday", "hour", "elapsed"):
        values = part_values(part, known, origin)
        if values.min() == values.max() or (part == "weekday" and _are_months(known)):
            continue
        parts.append(part)
        if part not in _PERIODS:
            scales[part] = [float(values.mean()), float(values.std())]
    if not parts and not indicator:
        return "the same date in all training rows"
    return DateColumn(
        name=name,
        kind="date",
        parts=parts,
        scales=scales,
        origin=origin,
        form=form,
        epoch=epoch,
        indicator=indicator,
    )


def num_date_features(spec: DateColumn) -> int:
    """Return the number of features that a column of dates takes."""
    return sum(2 if part in _PERIODS else 1 for part in spec["parts"]) + spec["indicator"]


def encode_dates(seconds: Floats, spec: DateColumn, most: float) -> list[Floats]:
    """Return the features of dates, (rows,) float64 each; all are 0 where a date is missing.

    Args:
        seconds: Dates in seconds since 1970, NaN where they are missing.
        spec: From `learn_dates`.
        most: Standard deviations from the mean that a feature may lie at most.
    """
    features = []
    for part in spec["parts"]:
        values = part_values(part, seconds, spec["origin"])
        if part in _PERIODS:
            angle = values * (2 * np.pi / _PERIODS[part])
            features += [np.sin(angle), np.cos(angle)]
        else:
            mean, std = spec["scales"][part]
            features.append(((values - mean) / std).clip(-most, most))
    features = [np.nan_to_num(values) for values in features]
    return [*features, np.isnan(seconds).astype(np.float64)] if spec["indicator"] else features
