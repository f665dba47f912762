"""How series go on: the times of the steps after the last, compared with the calendar."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from nnkit.data.series.steps import Step, find_step, odd_steps, shown


def in_seconds(day):
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def month(number, day):
    last = date(2020 + (number + 1) // 12, (number + 1) % 12 + 1, 1) - timedelta(1)
    return last if day > last.day else last.replace(day=day)


MONDAY = date(2024, 1, 1)
WORKING = [MONDAY + timedelta(n) for n in range(40) if n % 7 < 5]


@pytest.mark.parametrize(
    ("days", "num_known", "unit"),
    [
        ([MONDAY + timedelta(n) for n in range(12)], 9, "seconds"),
        ([MONDAY + timedelta(7 * n) for n in range(12)], 9, "seconds"),
        (WORKING, 14, "weekdays"),
        (WORKING, 15, "weekdays"),
        ([month(n, 1) for n in range(14)], 9, "months"),
        ([month(n, 31) for n in range(14)], 9, "months"),
        ([month(3 * n, 15) for n in range(9)], 5, "months"),
        ([date(2000 + n, 6, 30) for n in range(9)], 5, "months"),
    ],
)
def test_dates_go_on_as_the_calendar_does(days, num_known, unit):
    times = np.array([in_seconds(day) for day in days])
    step = find_step([times[:num_known]], True)
    assert step.unit == unit
    np.testing.assert_array_equal(step.after(times[num_known - 1], len(days) - num_known), times[num_known:])
    assert all(not len(places) for places in odd_steps(times, step, np.ones(len(times) - 1, bool)))
    assert shown(times[-1:], True) == [days[-1].isoformat()]


def test_other_times_go_on_by_the_usual_step():
    hours = np.array([0.0, 3600, 7200, 14_400, 18_000, 21_600])
    step = find_step([hours], True)
    assert step == Step("seconds", 3600.0)
    assert shown(step.after(21_600, 18), True)[16:] == ["1970-01-01 23:00:00", "1970-01-02 00:00:00"]
    assert odd_steps(hours, step, np.ones(5, bool))[0].tolist() == [2]
    years = find_step([np.array([1990.0, 1991, 1992])], False)
    assert shown(years.after(1992, 2), False) == ["1993", "1994"]
    assert find_step([np.array([5.0]), np.array([5.0, 5.0])], True) is None


def test_the_step_between_two_series_is_none():
    runs = [np.arange(5) * 60.0, np.arange(5) * 60.0 + 1e6]
    assert find_step(runs, True) == Step("seconds", 60.0)
