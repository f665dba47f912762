"""Dates in the forms of many places and programs, compared with datetime, and what they are not taken for."""

import json
import math
import time
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from babel.dates import format_date

from nnkit.data.reading.dates import (
    DateForm,
    date_form,
    epoch_seconds,
    epoch_unit,
    find_clock_form,
    find_date_form,
    names_time,
    seconds,
    show,
)

MOMENTS = [datetime(2024, 1, 5, 10, 0, 59), datetime(1999, 12, 31, 23, 5, 1), datetime(2024, 2, 29, 0, 30, 0)]
DAYS = ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y"]
DAYS += [
    "%d.%m.%y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d%b%Y",
]
DAYS += ["%a, %d %b %Y", "%A, %B %d, %Y", "%Y年%m月%d日", "%Y-%b-%d", "%Y. %m. %d."]
CLOCKS = ["%H:%M:%S", "%I:%M:%S %p", "%I:%M:%S%p", "%H:%M", "%I:%M %p"]
WHOLE = [
    "%Y%m%dT%H%M%S",
    "%Y%m%d%H%M%S",
    "%Y%m%d%H%M",
    "%a %b %d %H:%M:%S %Y",
    "%d/%b/%Y:%H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
]
WHOLE += ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S.000", "%Y-%m-%d %H:%M:%S,000", "%B %d, %Y at %I:%M:%S %p"]
MONTHS = ["%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%Y年%m月", "%Y %b"]


def in_seconds(moment):
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def read(values):
    form = find_date_form(values)
    assert form is not None
    return seconds(values, DateForm(**json.loads(json.dumps(asdict(form))))).tolist()


@pytest.mark.parametrize(
    "form", [*DAYS, *WHOLE, *(f"{DAYS[n % len(DAYS)]} {CLOCKS[n % 5]}" for n in range(15))]
)
def test_a_column_of_any_form_is_what_strptime_reads(form):
    values = [moment.strftime(form) for moment in MOMENTS]
    assert read(values) == [in_seconds(datetime.strptime(value, form)) for value in values]
    found = find_date_form(values)
    assert found.ambiguous is None
    assert found.has_clock == ("%M" in form)


@pytest.mark.parametrize("form", MONTHS)
def test_months_are_their_first_day(form):
    values = [moment.strftime(form) for moment in MOMENTS]
    assert read(values) == [in_seconds(datetime.strptime(value, form)) for value in values]


@pytest.mark.parametrize(
    "language",
    ["en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "nb", "pl", "cs", "ru", "uk", "tr", "fi"],
)
def test_months_are_known_by_their_names_in_many_languages(language):
    days = [date(2023, month, 28) for month in range(1, 13)]
    values = [format_date(day, "full", language) for day in days]
    expected = [in_seconds(datetime(day.year, day.month, day.day)) for day in days]
    assert read(values) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-01-05T10:00:00Z", datetime(2024, 1, 5, 10)),
        ("2024-01-05 10:00:00+00:00", datetime(2024, 1, 5, 10)),
        ("2024-01-05T10:00:00.123456+02:00", datetime(2024, 1, 5, 8, 0, 0, 123456)),
        ("2024-01-05T10:00:00.123456789", datetime(2024, 1, 5, 10, 0, 0, 123457)),
        ("2024-01-05T10:00-0530", datetime(2024, 1, 5, 15, 30)),
        ("2024-1-5 9:07", datetime(2024, 1, 5, 9, 7)),
        ("20240105T101112Z", datetime(2024, 1, 5, 10, 11, 12)),
        ("2024-W05-1", datetime.fromisocalendar(2024, 5, 1)),
        ("2020-W53", datetime.fromisocalendar(2020, 53, 1)),
        ("2024Q3", datetime(2024, 7, 1)),
        ("2024-Q2", datetime(2024, 4, 1)),
        ("Q4 2024", datetime(2024, 10, 1)),
        ("Mon, 05 Feb 2024 12:34:56 +0100", datetime(2024, 2, 5, 11, 34, 56)),
        ("Mon, 05 Feb 2024 12:34:56 EST", datetime(2024, 2, 5, 17, 34, 56)),
        ("Wed Aug 27 13:08:45 +0000 2008", datetime(2008, 8, 27, 13, 8, 45)),
        ("Mon Feb  5 12:34:56 2024", datetime(2024, 2, 5, 12, 34, 56)),
        ("Mon Feb 05 2024 11:00:00 GMT+0100 (Central European Standard Time)", datetime(2024, 2, 5, 10)),
        ("Monday, February 5th, 2024 at 3:05 p.m.", datetime(2024, 2, 5, 15, 5)),
        ("01/25/2024 12:00 AM", datetime(2024, 1, 25)),
        ("01/25/2024 12:00 PM", datetime(2024, 1, 25, 12)),
        ("14.02.2024, 14:05 Uhr", datetime(2024, 2, 14, 14, 5)),
        ("31.12.2024 24:00", datetime(2025, 1, 1)),
        ("2024年1月5日 下午3:04", datetime(2024, 1, 5, 15, 4)),
        ("2024年1月5日 14时05分06秒", datetime(2024, 1, 5, 14, 5, 6)),
        ("2024年1月5日(金)", datetime(2024, 1, 5)),
        ("2024년 1월 5일 오후 3:04", datetime(2024, 1, 5, 15, 4)),
        ("2024/01/05 (Fri)", datetime(2024, 1, 5)),
    ],
)
def test_single_values_of_programs_and_places(value, expected):
    assert read([value]) == [pytest.approx(in_seconds(expected), abs=1e-6)]


@pytest.mark.parametrize(
    "values",
    [
        *(
            ["hello", "world"],
            ["1.5", "2.25"],
            ["1,234", "5,678"],
            ["10:30", "11:45"],
            ["3.0.1", "3.10.12"],
            [],
            [""],
        ),
        *(
            ["123456789"],
            ["12345678"],
            ["10/12", "11/12"],
            ["a1", "b2"],
            ["Feb 05", "Feb 06"],
            ["2024-02-30"],
        ),
        *(
            ["20242024"],
            ["192.168.10.1"],
            ["05 Feb 12:10"],
            ["30.02.2024"],
            ["2024", "2025"],
            ["7-day", "may 5"],
        ),
        [
            str(number) + " of May, they said in 2024 that nothing would come of it, and that was that "
            for number in (1, 2)
        ],
    ],
)
def test_other_things_are_no_dates(values):
    assert find_date_form(values) is None


def test_the_values_decide_between_day_first_and_month_first():
    assert find_date_form(["01/02/2024", "31/01/2024"]) == DateForm("%d/%m/%Y")
    assert find_date_form(["01/02/2024", "01/31/2024"]) == DateForm("%m/%d/%Y")
    # One slip of the pen in many does not.
    assert (
        find_date_form([f"{day:02}/01/2024" for day in range(1, 29)] + ["02/13/2024"]).pattern == "%d/%m/%Y"
    )


def test_values_that_leave_the_choice_are_ambiguous_with_both_readings():
    form = find_date_form(["01/02/2024", "03/04/2024"])
    assert form.ambiguous == ("%m/%d/%Y", "%d/%m/%Y")
    assert form.doubt("03/04/2024") == (
        "'03/04/2024' is read as 2024-03-04 (%m/%d/%Y), and 2024-04-03 is possible as well: "
        "data.date_format=%d/%m/%Y reads it so"
    )
    assert find_date_form(["01/01/2024", "02/02/2024"]).ambiguous is None
    assert find_date_form(["24-12-31"]).ambiguous == ("%d-%m-%y", "%y-%m-%d")


def test_cells_that_hold_no_date_are_nan():
    form = DateForm("%d.%m.%Y")
    cells = ["31.12.2024", None, "30.02.2024", "", "n/a", " 1.1.1970 ", "01.01.1970 00:00:05"]
    expected = [in_seconds(datetime(2024, 12, 31)), *[math.nan] * 4, 0.0, 5.0]
    np.testing.assert_array_equal(seconds(cells, form), expected)
    np.testing.assert_array_equal(seconds(pa.array(cells), form), expected)
    np.testing.assert_array_equal(seconds(["nothing"], DateForm("%Y-%m-%d")), [math.nan])


def test_two_digits_of_a_year_are_those_of_strptime():
    assert read(["31.12.68", "31.12.69"]) == [in_seconds(datetime(year, 12, 31)) for year in (2068, 1969)]


def test_a_pattern_that_the_user_types_is_read_or_refused():
    form = date_form("%Y|%d|%m %H.%M", ["2024|05|01 14.30"])
    assert (form.has_clock, seconds(["2024|05|01 14.30"], form).tolist()) == (
        True,
        [in_seconds(datetime(2024, 1, 5, 14, 30))],
    )
    german = date_form("%d %B %Y", ["5 Dezember 2024"])
    assert seconds(["5 Dezember 2024"], german).tolist() == [in_seconds(datetime(2024, 12, 5))]
    assert seconds(["5.1.2024 1:02:03.5"], date_form("%d.%m.%Y %H:%M:%S.%f")).tolist() == [
        in_seconds(datetime(2024, 1, 5, 1, 2, 3, 500000))
    ]
    for wrong, word in (("%d/%m", "year"), ("%Y-%k", "%k is unknown"), ("%Y %", "% is unknown")):
        with pytest.raises(ValueError, match=word):
            date_form(wrong)


def test_clock_times_without_a_date():
    for values, expected in {
        ("10:30", "23:05"): [37_800, 83_100],
        ("10:30:01.5", "0:00:00"): [37_801.5, 0],
        ("1:30 PM", "12:10 am"): [48_600, 600],
    }.items():
        assert seconds(values, find_clock_form(values)).tolist() == expected
    assert find_clock_form(["25:10"]) is None
    assert find_clock_form(["2024-01-05"]) is None


def test_numbers_that_count_from_1970_are_known_by_range_and_name():
    day = np.arange(10) * 86_400.0 + 1_704_067_200
    for unit, size in {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}.items():
        for name in ("x", "timestamp"):
            assert epoch_unit(day * size, name) == unit
        np.testing.assert_allclose(epoch_seconds(day * size, unit), day)
    shuffled = day[[3, 1, 2, 0, 9]]
    assert (epoch_unit(shuffled, "created_at"), epoch_unit(shuffled, "price")) == ("s", None)
    assert epoch_unit(day + 0.5, "price") is None
    assert epoch_unit(np.arange(10.0), "time") is None
    assert epoch_unit(np.array([np.nan]), "time") is None


def test_names_that_speak_of_time():
    for name in (
        "time",
        "Date",
        "DATETIME",
        "timestamp",
        "event_time",
        "pickupTime",
        "created_at",
        "Date (UTC)",
        "ts",
        "unix ts",
    ):
        assert names_time(name), name
    for name in ("update", "price", "at", "sometimes", "runtimes", "candidate", "heat", "parts"):
        assert not names_time(name), name


def test_times_are_shown_as_iso_writes_them():
    assert [show(value) for value in (0, 86_399, 0.25, math.nan)] == [
        *("1970-01-01", "1970-01-01 23:59:59", "1970-01-01 00:00:00.250000", "no date"),
    ]


def test_a_fifth_of_a_million_cells_take_less_than_a_second():
    base = np.datetime64("2020-01-01T00:00:00") + np.arange(200_000) * np.timedelta64(37, "s")
    for form in ("%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S"):
        cells = pa.compute.strftime(pa.array(base), form)
        before = time.process_time()
        np.testing.assert_array_equal(
            seconds(cells, find_date_form(cells[:100].to_pylist())), base.astype(float)
        )
        assert time.process_time() - before < 1


def test_zones_of_summer_and_winter_are_one_line_of_time():
    zones = [timezone(timedelta(hours=hours)) for hours in (1, 2)]
    moments = [datetime(2024, 3, 31, 1, 30, tzinfo=zones[0]), datetime(2024, 3, 31, 3, 30, tzinfo=zones[1])]
    first, second = read([moment.isoformat() for moment in moments])
    assert second - first == 3600
