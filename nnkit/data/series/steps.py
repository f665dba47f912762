"""Steps of time in a series: how long they are, which are odd, and the times of those that follow the last."""

import logging
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnkit.data.reading.dates import show

_logger = logging.getLogger("nnkit")

Seconds = NDArray[np.float64]

_DAY = 86_400
# Months are never shorter.
_SHORTEST_MONTH = 28
# Steps that are shorter or longer than this share of the usual one are odd.
REGULAR = (0.5, 1.5)


class Step(NamedTuple):
    """How far one step is from the next.

    Attributes:
        unit: Seconds, calendar months, days from Monday to Friday, or the numbers of the column.
        size: How many of them.
    """

    unit: Literal["seconds", "months", "weekdays", "numbers"]
    size: float

    def after(self, last: float, number: int) -> Seconds:
        """Return the times of the steps that follow one.

        Args:
            last: Time of the last step.
            number: How many follow it.
        """
        ahead: Seconds = np.arange(1, number + 1, dtype=np.float64) * self.size
        if self.unit == "months":
            return _months_later(last, ahead)
        if self.unit == "weekdays":
            day = np.datetime64(int(last // _DAY), "D")
            days: Seconds = np.busday_offset(day, ahead.astype(np.int64), roll="backward").astype(np.float64)
            return days * _DAY + last % _DAY
        return np.asarray(last + ahead)

    def between(self, times: Seconds) -> Seconds:
        """Return by how many steps each time differs from the one before it."""
        if self.unit == "months":
            return np.diff(months_of(times)[0]) / self.size
        if self.unit == "weekdays":
            days = (times // _DAY).astype(np.int64).astype("datetime64[D]")
            return np.busday_count(days[:-1], days[1:]).astype(np.float64) + np.diff(times % _DAY) / _DAY
        return np.diff(times) / self.size


def find_step(runs: Sequence[Seconds], is_date: bool) -> Step | None:
    """Return the usual step of times in order, None where none follows another later.

    Dates that fall on one day of the month, or on its last day, are months apart; daily ones without any weekend are
    those of working days.

    Args:
        runs: The times of each series.
        is_date: Whether they are seconds since 1970.
    """
    differences = np.concatenate([np.diff(times) for times in runs])
    differences = differences[differences > 0]
    if not len(differences):
        return None
    usual = float(np.median(differences))
    if not is_date:
        return Step("numbers", usual)
    times = np.concatenate(list(runs))
    if usual >= _SHORTEST_MONTH * _DAY:
        _, days, is_last = months_of(times)
        if (days == days[0]).all() or is_last.all():
            later = np.concatenate([np.diff(months_of(run)[0]) for run in runs])
            return Step("months", float(np.median(later[later > 0])))
    if usual == _DAY:
        weekday = (times // _DAY + 3) % 7
        if (weekday < 5).all() and (differences == 3 * _DAY).any():
            return Step("weekdays", 1.0)
    return Step("seconds", usual)


def months_of(times: Seconds) -> tuple[Seconds, Seconds, NDArray[np.bool_]]:
    """Return months since 1970, seconds since each began, and whether it is its last day."""
    days = np.floor(times / _DAY).astype(np.int64).astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    since = times - months.astype("datetime64[D]").astype(np.float64) * _DAY
    is_last = (days + 1).astype("datetime64[M]") != months
    return months.astype(np.float64), since, is_last


def _months_later(last: float, ahead: Seconds) -> Seconds:
    month, since, is_last = (part[0] for part in months_of(np.array([last])))
    months = (month + ahead).astype(np.int64).astype("datetime64[M]")
    lengths = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.float64)
    day = np.full(len(ahead), np.inf) if is_last else np.full(len(ahead), since // _DAY)
    first = months.astype("datetime64[D]").astype(np.float64)
    # The 31st goes on with the last day of shorter months.
    later: Seconds = (first + np.minimum(day, lengths - 1)) * _DAY + since % _DAY
    return later


def shown(times: Seconds, is_date: bool) -> list[str]:
    """Return times as they are written beside forecasts: ISO 8601, with a clock time where one of them has any."""
    if not is_date:
        return [f"{time:.10g}" for time in times.tolist()]
    texts = [show(time) for time in times.tolist()]
    if any(" " in text for text in texts):
        return [text if " " in text else f"{text} 00:00:00" for text in texts]
    return texts


def odd_steps(
    times: Seconds, step: Step, inside: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places before steps that are not of the usual length, and those before times that repeat.

    Args:
        times: Of rows in order, series by series.
        step: The usual step.
        inside: Whether two times that follow one another are of one series, (times - 1,).
    """
    lengths = step.between(times)
    repeated = inside & (lengths == 0)
    odd = inside & ~repeated & ((lengths < REGULAR[0]) | (lengths > REGULAR[1]))
    return np.flatnonzero(odd), np.flatnonzero(repeated)
