"""Series in tables of users: channels, time, order, gaps, several series, formats, and files that changed."""

import gzip
import json
import logging
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import feather, parquet

from nnkit.data.sampler import Draw
from nnkit.data.series.series import Series
from nnkit.errors import ConfigError, UserError


def days(number, start=date(2021, 1, 1), form="%Y-%m-%d"):
    return [(start + timedelta(days=day)).strftime(form) for day in range(number)]


def values(number=60):
    steps = np.arange(number)
    return np.stack([20 + steps * 0.5, 300 - steps], axis=1)


def table(rows=60, times=None, header="date,heat,wind"):
    lines = [header]
    for when, (heat, wind) in zip(times or days(rows), values(rows), strict=True):
        lines.append(f"{when},{heat},{wind}")
    return lines


@pytest.fixture
def write(tmp_path):
    def write(lines, name="series.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
        return str(path)

    return write


def prepared(path, **options):
    data = Series(path=path, **{"window": 8, "horizon": 2, "batch_size": 16, **options})
    data.setup_data()
    return data


def whole(data):
    """Put the series together again from the windows of the three parts, in the user's units."""
    learnt = data.preprocessing["channels"]
    scale, mean = (np.array([channel[key] for channel in learnt]) for key in ("std", "mean"))
    first = data.split("train")
    inputs = [first[Draw(None, torch.tensor([0]))].inputs[0, :-1]]
    for name in ("train", "val", "test"):
        samples = data.split(name)
        inputs.append(samples[Draw(None, torch.arange(len(samples)))].inputs[:, -1])
    return torch.cat(inputs).double().numpy() * scale + mean


def spoilt(lines, row, column, cell):
    lines = list(lines)
    cells = lines[row].split(",")
    cells[column] = cell
    lines[row] = ",".join(cells)
    return lines


def test_columns_of_numbers_are_channels_and_dates_are_left_out(write, caplog):
    caplog.set_level(logging.INFO)
    data = prepared(write(table()))
    assert [channel["name"] for channel in data.preprocessing["channels"]] == ["heat", "wind"]
    assert data.facts() == {"num_channels": 2, "num_outputs": 4}
    assert "column 'date' is left out: it holds the time" in caplog.text
    assert "WARNING" not in caplog.text
    # Where two parts meet, the last window of one forecasts up to the end: one step is in no window's last place.
    np.testing.assert_allclose(whole(data)[:40], values()[:40], atol=1e-4)


def test_columns_and_targets_can_be_named(write):
    lines = [line + f",{number}" for number, line in enumerate(table(header="date,heat,2020"))]
    lines[0] = "date,heat,2020,more"
    data = prepared(write(lines), columns=[2020, "heat"], target_columns=["heat"])
    assert [channel["name"] for channel in data.preprocessing["channels"]] == ["2020", "heat"]
    assert data.preprocessing["target"]["names"] == ["heat"]
    assert data.facts() == {"num_channels": 2, "num_outputs": 2}
    batch = data.split("train")[Draw(None, torch.tensor([3]))]
    learnt = data.preprocessing["target"]
    units = batch.target[0].double().numpy() * learnt["std"] + learnt["mean"]
    np.testing.assert_allclose(units, values()[11:13, 0], atol=1e-4)


def test_semicolons_decimal_commas_latin_1_and_gzip(write, tmp_path, caplog):
    lines = [line.replace(",", ";").replace(".", ",") for line in table(header="date,wärme,wind")]
    plain = prepared(write(lines, encoding="latin-1"))
    assert "it is read as cp1252" in caplog.text
    packed = tmp_path / "series.csv.gz"
    packed.write_bytes(gzip.compress(("\n".join(table()) + "\n").encode()))
    np.testing.assert_allclose(whole(plain), whole(prepared(str(packed))))


@pytest.mark.parametrize(("key", "options"), [("columns", {"columns": ["heatt"]}), ("target_columns", {})])
def test_a_column_that_is_not_there_is_told_with_the_nearest(write, key, options):
    with pytest.raises(
        ConfigError, match=rf"data\.{key}: .* has no column 'heatt'(?s:.)*did you mean data\.{key}=\[heat\]\?"
    ):
        prepared(write(table()), **(options or {"target_columns": ["heatt"]}))


@pytest.mark.parametrize(
    ("cell", "said"), [("", "an empty, missing or infinite one in row 12"), ("broken", "'broken' in row 12")]
)
def test_gaps_and_words_are_refused_with_their_place_and_filled_in_where_that_is_wanted(
    write, caplog, cell, said
):
    lines = spoilt(spoilt(table(), 12, 2, cell), 30, 1, "")
    with pytest.raises(
        UserError, match=rf"2 cells hold no number; the first is {said} of column 'wind'"
    ) as info:
        prepared(write(lines))
    assert "'heat' 1, 'wind' 1" in str(info.value)
    assert "data.gaps=interpolate" in str(info.value)
    caplog.clear()
    data = prepared(write(lines), gaps="interpolate")
    assert "2 cells hold no number, which is filled by straight lines" in caplog.text
    np.testing.assert_allclose(whole(data)[:40], values()[:40], atol=1e-4)


@pytest.mark.parametrize(
    ("rows", "said"),
    [((1, 2), "begins without a number, rows 1 to 2"), ((60,), "ends without a number, rows 60 to 60")],
)
def test_gaps_at_the_ends_are_never_filled(write, rows, said):
    lines = table()
    for row in rows:
        lines = spoilt(lines, row, 1, "")
    with pytest.raises(UserError, match=f"column 'heat' {said}; .*cut these rows off"):
        prepared(write(lines), gaps="interpolate")


def test_a_gap_before_the_test_part_is_not_filled_from_it(write):
    lines = spoilt(spoilt(table(), 48, 1, ""), 47, 1, "")
    data = prepared(write(lines), gaps="interpolate")
    samples = data.split("test")
    inputs = samples[Draw(None, torch.tensor([0]))].inputs[0, :, 0].double().numpy()
    learnt = data.preprocessing["channels"][0]
    heat = inputs * learnt["std"] + learnt["mean"]
    np.testing.assert_allclose(heat, [*values()[40:46, 0], values()[45, 0], values()[45, 0]], atol=1e-4)


def test_columns_of_words_are_left_out_or_refused_where_they_are_named(write, caplog):
    lines = [line + f",{'ab'[number % 2]}" for number, line in enumerate(table())]
    lines[0] = "date,heat,wind,place"
    assert prepared(write(lines)).facts()["num_channels"] == 2
    assert "column 'place' is left out: it holds words, such as 'b'" in caplog.text
    with pytest.raises(
        UserError, match=r"column 'place' holds words, not numbers \('b' in row 1 is the first\)"
    ):
        prepared(write(lines), columns=["heat", "place"])
    with pytest.raises(UserError, match="has no column of numbers"):
        prepared(write(["date,place", *(f"{day},x{day}" for day in days(60))]))


@pytest.mark.parametrize(
    "times",
    [
        days(60, form="%d.%m.%Y"),
        days(60, form="%m/%d/%Y"),
        days(60, form="%d/%m/%Y"),
        days(60, form="%Y%m%d"),
        [f"{1949 + month // 12}-{month % 12 + 1:02}" for month in range(60)],
        [f"2021-03-28T{hour // 60:02}:{hour % 60:02}:00+01:00" for hour in range(60)],
        [f"2021-03-28 05:{minute:02}" for minute in range(60)],
    ],
    ids=lambda times: times[0],
)
def test_dates_in_many_forms_are_found_and_their_order_is_looked_at(write, caplog, times):
    name = "when" if "-" in times[0] or "." in times[0] or "/" in times[0] else "date"
    header = f"{name},heat,wind"
    assert prepared(write(table(times=times, header=header))).facts()["num_channels"] == 2
    assert "steps of time" not in caplog.text or name == "date"
    turned = [*times[:20], times[21], times[20], *times[22:]]
    with pytest.raises(
        UserError, match=rf"not in the order of time: row 22 \('{times[20][:4]}.*earlier than row 21"
    ):
        prepared(write(table(times=turned, header=header)))


NEWEST_FIRST = ["%Y-%m-%d", "%b %d, %Y", "%m/%d/%y", "%d.%m.%Y", "%m/%d/%Y 11:00 PM", "%Y%m%d"]


@pytest.mark.parametrize("form", NEWEST_FIRST)
def test_rows_with_the_newest_first_are_turned_round_and_that_is_logged(write, caplog, form):
    lines = [line.split(",", 1)[1] for line in table()[1:]]
    dated = [f'"{day}",{line}' for day, line in zip(days(60, form=form), lines, strict=True)]
    straight = prepared(write(["date,heat,wind", *dated], "straight.csv"))
    assert "turned round" not in caplog.text
    turned = prepared(write(["date,heat,wind", *dated[::-1]], "turned.csv"))
    first = days(60, form=form)[-1]
    assert (
        f"the newest row stands first (row 1 is {first} in column 'date'); the rows are turned" in caplog.text
    )
    np.testing.assert_array_equal(whole(turned), whole(straight))
    steps = {
        name: described_of(data, path)
        for name, data, path in (("a", straight, "straight.csv"), ("b", turned, "turned.csv"))
    }
    np.testing.assert_array_equal(steps["a"][0], steps["b"][0])
    assert steps["a"][1]["date"] == steps["b"][1]["date"]
    assert steps["a"][1]["date"][0].startswith("2021-03-02")


def described_of(data, path):
    """Return the window of the only series of a file, and what stands beside its forecast."""
    folder = Path(data.path).parent
    (read,) = data.read_batches([str(folder / path)], 8)
    assert not read.problems
    return read.batch.inputs[0].numpy(), read.kept.to_pydict()


def test_a_column_of_numbers_called_year_is_the_time_unless_it_is_named(write, caplog):
    years = [*range(1900, 1920), *range(1922, 1962)]
    path = write(table(times=years, header="Year,heat,wind"))
    assert prepared(path).facts()["num_channels"] == 2
    assert "from row 20 (1919) to row 21 (1922), of 1 in all" in caplog.text
    caplog.clear()
    assert prepared(path, columns=["Year", "heat"]).facts()["num_channels"] == 2
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    mixed = write(table(times=[*years[:30], *years[30:][::-1]], header="Year,heat,wind"))
    with pytest.raises(
        UserError, match=r"if 'Year' is no time, data\.time=COLUMN .* data\.time=none takes the rows"
    ):
        prepared(mixed)
    assert prepared(mixed, columns=["heat"]).facts()["num_channels"] == 1
    assert prepared(mixed, time="none").facts()["num_channels"] == 3


def test_unequal_steps_of_time_are_told_with_the_first_place(write, caplog):
    times = [*days(30), *days(30, date(2021, 2, 5))]
    prepared(write(table(times=times)))
    assert (
        "steps of time in column 'date' are not equal; the first other one is from row 30 (2021-01-30) to row 31"
        in caplog.text
    )


def test_a_short_file_is_refused_with_what_is_needed(write):
    with pytest.raises(UserError, match=r"has 9 steps, at least \d+ are needed"):
        prepared(write(table(9)))


def test_a_changed_file_is_refused_and_an_unchanged_one_gives_the_same(write, caplog):
    path = write(table())
    first = prepared(path, columns=["wind", "heat"])
    restored = Series(path=path)
    caplog.clear()
    restored.setup_data(json.loads(json.dumps(first.preprocessing)))
    np.testing.assert_array_equal(whole(first), whole(restored))
    assert not caplog.records
    write([*table(), "2022-01-01,1,2"])
    again = Series(path=path)
    again.setup_data(first.preprocessing)
    with pytest.raises(UserError, match="has changed since this run was prepared"):
        again.split("test")


def test_a_file_to_forecast_needs_the_columns_and_a_full_window_only(write, tmp_path):
    first = prepared(write(table()), columns=["wind", "heat"], target_columns=["heat"])
    (tmp_path / "series.csv").unlink()
    data = Series(path="gone.csv")
    data.setup_data(json.loads(json.dumps(first.preprocessing)))
    good = write(["heat,other,wind", *(f"{heat},x,{wind}" for heat, wind in values(9))], "good.csv")
    short = write(table(7), "short.csv")
    lacking = write(["heat", *map(str, range(9))], "lacking.csv")
    gap = write(spoilt(table(20), 15, 1, ""), "gap.csv")
    answers = dict(data.read([good, short, lacking, gap, "nowhere.csv"]))
    batch = answers[good]
    scale, mean = (
        np.array([channel[key] for channel in first.preprocessing["channels"]]) for key in ("std", "mean")
    )
    np.testing.assert_allclose(
        batch.inputs[0].double().numpy() * scale + mean, values(9)[1:, ::-1], atol=1e-4
    )
    assert batch.target.shape == (1, 2)
    assert "has 7 rows, and the model reads the last 8" in answers[short]
    assert "lacks the column 'wind'; its columns: heat" in answers[lacking]
    assert "1 cell holds no number; the first is an empty, missing or infinite one in row 15" in answers[gap]
    assert "no such file" in answers["nowhere.csv"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"path": None}, "data.path=FILE.csv"),
        ({"columns": []}, "at least one column"),
        ({"target_columns": ["a", "a"]}, "each once"),
        ({"gaps": "zero"}, "refuse or interpolate"),
        ({"delimiter": ";;"}, "one character"),
        ({"encoding": "latin-99"}, "codec"),
        ({"path": "-"}, "reads its data again"),
    ],
)
def test_arguments_without_sense_are_refused(options, word):
    with pytest.raises(ValueError, match=word):
        Series(**{"path": "x.csv", **options})


def test_a_series_that_never_changes_is_nothing_to_forecast(write):
    with pytest.raises(UserError, match="'heat', 'wind' never changes in the training part"):
        prepared(write(["heat,wind", *["3,4"] * 200]))


def channels(data):
    return [channel["name"] for channel in data.preprocessing["channels"]]


def with_column(name, cells, first=False):
    lines = table()
    cells = [name, *map(str, cells)]
    return [f"{cell},{line}" if first else f"{line},{cell}" for cell, line in zip(cells, lines, strict=True)]


UUIDS = [f"{number:08x}-1111-4222-8333-444455556666" for number in range(60)]
SHUFFLED = np.random.default_rng(0).permutation(np.arange(5_000, 5_060)).tolist()


@pytest.mark.parametrize(
    ("name", "cells", "reason"),
    [
        ("", range(60), "it numbers the rows"),
        ("id", range(60), "it numbers the rows"),
        ("step", range(1, 61), "it counts the rows"),
        ("record_id", SHUFFLED, "it numbers the rows"),
        ("key", UUIDS, "it holds words"),
        ("date_num", [1_577_836_800_000 + 86_400_000 * day for day in range(60)], "it counts ms since 1970"),
        ("changed", days(60, form="%d.%m.%Y"), "it holds dates"),
    ],
)
def test_what_numbers_rows_or_tells_their_time_is_no_channel_unless_it_is_named(
    write, caplog, name, cells, reason
):
    path = write(with_column(name, cells, first=not name))
    data = prepared(path)
    assert channels(data) == ["heat", "wind"]
    assert f"column {name or 'unnamed'!r} is left out: {reason}" in caplog.text
    np.testing.assert_allclose(whole(data)[:40], values()[:40], atol=1e-4)
    if name in ("id", "step", "record_id", "date_num"):
        assert channels(prepared(path, columns=["heat", name])) == ["heat", name]


def test_a_straight_line_alone_in_its_file_is_a_channel(write):
    assert channels(prepared(write(["value", *map(str, range(60))]))) == ["value"]


EPOCH = [1_609_459_200 + 86_400 * day for day in range(60)]
CLOCKS = [f"{hour % 24:02}:00" for hour in range(60)]


@pytest.mark.parametrize(
    ("header", "times", "expected"),
    [
        ("timestamp", EPOCH, "2021-03-02"),
        ("ts", [1000 * second for second in EPOCH], "2021-03-02"),
        ("unix", [second + 0.5 for second in EPOCH], "2021-03-02 00:00:00.500000"),
        ("whatever", [1_000_000 * second for second in EPOCH], "2021-03-02"),
        (
            "Date,Time",
            [f"{date(2021, 1, 1) + timedelta(hour // 24)},{hour % 24:02}:00" for hour in range(60)],
            "2021-01-03 12:00:00",
        ),
        (
            "Date,Time",
            [
                f"{1 + hour // 24:02}.01.2021,{(hour - 1) % 12 + 1}:00 {'AP'[hour // 12 % 2]}M"
                for hour in range(1, 61)
            ],
            None,
        ),
        (
            "dteday,hr",
            [f"{date(2021, 1, 1) + timedelta(hour // 24)},{hour % 24}" for hour in range(60)],
            "2021-01-03 12:00:00",
        ),
        ("year,month", [f"{1990 + month // 12},{month % 12 + 1}" for month in range(60)], "1995-01-01"),
        ("year,month", [f"{1990 + n // 12},{date(2000, n % 12 + 1, 1):%B}" for n in range(60)], "1995-01-01"),
        (
            "Year,Month,Day,hour",
            [f"2021,1,{1 + hour // 24},{hour % 24}" for hour in range(60)],
            "2021-01-03 12:00:00",
        ),
        ("Year,Quarter", [f"{1990 + quarter // 4},{quarter % 4 + 1}" for quarter in range(60)], "2005-01-01"),
        ("Month", [f"{date(1990 + n // 12, n % 12 + 1, 1):%b-%y}" for n in range(60)], "1995-01-01"),
        ("yyyymm_date", [f"{1990 + n // 12}{n % 12 + 1:02}" for n in range(60)], "1995-01-01"),
        ("Year", range(1900, 1960), "1960"),
        ("time", [0.25 * step for step in range(60)], "15"),
    ],
)
def test_the_time_is_found_in_one_column_or_several_and_goes_on(write, caplog, header, times, expected):
    path = write(table(times=times, header=f"{header},heat,wind"))
    data = prepared(path)
    assert channels(data) == ["heat", "wind"]
    assert "WARNING" not in caplog.text
    learnt = json.loads(json.dumps(data.preprocessing))
    assert learnt["time"]["columns"] == header.split(",")
    again = Series(path=path)
    again.setup_data(learnt)
    _, beside = described_of(again, path)
    name = "time" if "," in header else header
    assert list(beside) == ["step", name]
    assert beside["step"] == [1, 2]
    assert expected is None or beside[name][0] == expected
    mixed = [*list(times)[:20], list(times)[21], list(times)[20], *list(times)[22:]]
    # By its name alone nobody would take it for a time.
    if header == "whatever":
        return
    with pytest.raises(UserError, match=r"not in the order of time: row 22"):
        prepared(write(table(times=mixed, header=f"{header},heat,wind")))


def test_day_or_month_first_is_decided_by_the_order_of_the_rows(write, caplog):
    caplog.set_level(logging.INFO)
    months = [f"01/{month:02}/{year}" for year in range(2010, 2015) for month in range(1, 13)]
    data = prepared(write(table(times=months)))
    assert "dates in column 'date' are read as %d/%m/%Y, by which the rows follow one another" in caplog.text
    assert data.preprocessing["time"]["step"] == ["months", 1.0]
    # A file to forecast may be too short to tell.
    short = write(table(12, times=months[:12]), "short.csv")
    assert described_of(data, short)[1]["date"] == ["2011-01-01", "2011-02-01"]
    other = write(table(20, times=days(20, form="%m/%d/%Y")), "other.csv")
    assert described_of(data, other)[1]["date"] == ["2021-02-20", "2021-03-20"]
    caplog.clear()
    unclear = write(
        [
            "date,heat,wind",
            *(f"0{n}/0{n + 1}/{year},{n},{n * n}" for year in range(2000, 2012) for n in (1, 3, 5, 7)),
        ]
    )
    prepared(unclear)
    assert (
        "'01/02/2000' is read as 2000-01-02 (%m/%d/%Y), and 2000-02-01 is possible as well: " in caplog.text
    )
    data = prepared(unclear, date_format="%d/%m/%Y")
    assert data.preprocessing["time"]["form"]["pattern"] == "%d/%m/%Y"
    with pytest.raises(UserError, match=r"column 'date' are no dates of the form data\.date_format=%Y-%m-%d"):
        prepared(unclear, date_format="%Y-%m-%d")
    with pytest.raises(ValueError, match="%k is unknown"):
        Series(path="x.csv", date_format="%k")


def test_a_file_to_forecast_with_other_steps_or_without_a_time_is_told(write, caplog):
    data = prepared(write(table()))
    hours = [f"2024-01-01 {hour:02}:00" for hour in range(20)]
    described_of(data, write(table(20, times=hours), "hours.csv"))
    assert "hours.csv: a step is 3600 seconds, and 86400 seconds in the training data" in caplog.text
    _, beside = described_of(data, write([line.split(",", 1)[1] for line in table(20)], "bare.csv"))
    assert "'date', the time of the training data, is lacking" in caplog.text
    assert beside == {"step": [1, 2], "date": [None, None]}


def test_another_column_can_be_named_as_the_time(write):
    lines = with_column("when", days(60, date(1999, 1, 1), "%d.%m.%Y"))
    assert described_of(prepared(write(lines), time="when"), "series.csv")[1]["when"] == [
        "1999-03-02",
        "1999-03-03",
    ]
    with pytest.raises(UserError, match="column 'place' holds no times, such as 'a' in row 1"):
        prepared(write(with_column("place", ["a"] * 60)), time="place")
    with pytest.raises(ConfigError, match=r"data\.time: .* has no column 'wen'"):
        prepared(write(lines), time="wen")
    with pytest.raises(UserError, match=r"row 7 has no time: '' in column 'date'"):
        prepared(write(spoilt(table(), 7, 0, "")))


def test_times_that_repeat_are_logged(write, caplog):
    times = [*days(30), *days(30, date(2021, 1, 30))]
    prepared(write(table(times=times)))
    assert (
        "times repeat in column 'date'; the first are those of row 30 (2021-01-30) and row 31" in caplog.text
    )


SHOPS = {"north": 60, "south": 45, "tiny": 9}


def panel(by_time=True):
    """Return the lines of a table of several series, and the values of each."""
    rows, expected = [], {}
    for number, (shop, length) in enumerate(SHOPS.items(), 1):
        expected[shop] = np.stack([1000 * number + np.arange(length), -(np.arange(length) ** 1.5)], axis=1)
        rows += [
            f"{day},{shop},{a},{b}" for day, (a, b) in zip(days(length), expected[shop].tolist(), strict=True)
        ]
    return ["day,shop,sales,stock", *(sorted(rows) if by_time else rows)], expected


@pytest.mark.parametrize("by_time", [True, False])
def test_windows_of_several_series_never_cross_from_one_to_another(write, caplog, by_time):
    lines, expected = panel(by_time)
    with pytest.raises(
        UserError,
        match=r"rows 1 and \d+ have one time, '2021-01-01'.*'shop' tells them apart\n.*data\.group=shop .* 3 series",
    ):
        prepared(write(lines))
    data = prepared(write(lines), group="shop")
    assert (
        "1 of 3 series are left out, as they are too short for a window in each part: tiny (9 steps)"
        in caplog.text
    )
    mean, std = (np.array([one[key] for one in data.preprocessing["channels"]]) for key in ("mean", "std"))
    for split in ("train", "val", "test"):
        wanted = []
        for shop in ("north", "south"):
            whole_shop, size = expected[shop], SHOPS[shop]
            cuts = {
                "train": (0, round(size * 0.7)),
                "val": (round(size * 0.7), round(size * 0.8)),
                "test": (round(size * 0.8), size),
            }
            if shop == "south":
                # 45 steps: a tenth and a fifth, rounded as Python rounds.
                cuts = {"train": (0, 32), "val": (32, 36), "test": (36, 45)}
            first, end = cuts[split]
            wanted += [whole_shop[at - 8 : at + 2] for at in range(max(first, 8), end - 1)]
        samples = data.split(split)
        batch = samples[Draw(None, torch.arange(len(samples)))]
        both = (
            np.concatenate([batch.inputs.numpy(), batch.target.reshape(-1, 2, 2).numpy()], axis=1) * std
            + mean
        )
        np.testing.assert_allclose(both, np.stack(wanted), atol=1e-2)
    again = Series(path=data.path)
    again.setup_data(json.loads(json.dumps(data.preprocessing)))
    (read,) = again.read_batches([data.path], 8)
    assert read.problems == {}
    kept = read.rows()[1].to_pydict()
    assert kept["shop"] == ["north", "north", "south", "south", "tiny", "tiny"]
    assert kept["day"] == ["2021-03-02", "2021-03-03", "2021-02-15", "2021-02-16", "2021-01-10", "2021-01-11"]
    np.testing.assert_allclose(read.batch.inputs[1].numpy() * std + mean, expected["south"][-8:], atol=1e-2)


def test_two_columns_may_tell_series_apart_and_one_too_short_cannot_be_forecast(write):
    rows = [
        f"{day},{a},{b},{n * n + a * b}" for n, day in enumerate(days(60)) for a in (1, 2) for b in (1, 2, 3)
    ]
    with pytest.raises(UserError, match=r"'a' and 'b' tell them apart\n.*data\.group=\[a,b\] .* 6 series"):
        prepared(write(["day,a,b,value", *rows]))
    data = prepared(write(["day,a,b,value", *rows]), group=["a", "b"])
    assert channels(data) == ["value"]
    (read,) = data.read_batches([write(["day,a,b,value", *rows[:50], f"{days(60)[-1]},2,9,1"], "new.csv")], 8)
    assert [read.names[place].split("new.csv")[1] for place in read.problems] == [" (2, 9)"]
    assert next(iter(read.problems.values())).endswith(
        "new.csv (2, 9) has 1 rows, and the model reads the last 8"
    )
    assert read.rows()[1].to_pydict()["b"][:4] == ["1", "1", "2", "2"]
    with pytest.raises(UserError, match=r"row 361 belongs to no series"):
        prepared(write(["day,a,b,value", *rows, "2022-01-01,,1,5"]), group=["a", "b"])


def test_each_series_of_a_table_may_stand_with_its_newest_row_first(write, caplog):
    lines, _ = panel(by_time=False)
    turned = [lines[0], *lines[1:61][::-1], *lines[61:]]
    straight, other = (
        prepared(write(rows, name), group="shop") for rows, name in ((lines, "a.csv"), (turned, "b.csv"))
    )
    assert "the rows of 1 of 3 series are turned round" in caplog.text
    for one, two in zip(
        straight.split("test")[Draw(None, torch.arange(5))],
        other.split("test")[Draw(None, torch.arange(5))],
        strict=True,
    ):
        assert torch.equal(one, two)


def test_a_target_that_is_not_among_the_columns_is_forecast_and_not_read(write):
    data = prepared(write(table()), columns=["wind"], target_columns=["heat"])
    assert (channels(data), data.preprocessing["target"]["names"]) == (["wind"], ["heat"])
    assert data.facts() == {"num_channels": 1, "num_outputs": 2}
    batch = data.split("train")[Draw(None, torch.tensor([3]))]
    channel, target = data.preprocessing["channels"][0], data.preprocessing["target"]
    np.testing.assert_allclose(
        batch.inputs[0, :, 0].numpy() * channel["std"] + channel["mean"], values()[3:11, 1], atol=1e-3
    )
    np.testing.assert_allclose(
        batch.target[0].numpy() * target["std"][0] + target["mean"][0], values()[11:13, 0], atol=1e-3
    )
    only = write(
        ["date,wind", *(f"{day},{wind}" for day, (_, wind) in zip(days(9), values(9), strict=True))],
        "only.csv",
    )
    assert described_of(data, only)[0].shape == (8, 1)


def test_every_kind_of_table_holds_the_same_series(write, tmp_path):
    plain = prepared(write(table()))
    cells = [line.split(",") for line in table()[1:]]
    write(["\t".join(line.split(",")) for line in table()], "series.tsv")
    write(
        [json.dumps({"date": day, "heat": float(heat), "wind": float(wind)}) for day, heat, wind in cells],
        "series.jsonl",
    )
    moments = pa.array([date.fromisoformat(day) for day, _, _ in cells])
    columns = [pa.array([float(row[place]) for row in cells]) for place in (1, 2)]
    rows = pa.table([moments.cast(pa.timestamp("ns")), *columns], names=["date", "heat", "wind"])
    parquet.write_table(rows, tmp_path / "series.parquet")
    feather.write_feather(rows.set_column(0, "date", moments), str(tmp_path / "series.feather"))
    (tmp_path / "folder").mkdir()
    write(table()[:31], "folder/2021a.csv")
    write([table()[0], *table()[31:]], "folder/2021b.csv")
    for name in ("series.tsv", "series.jsonl", "series.parquet", "series.feather", "folder", "folder/*.csv"):
        other = prepared(str(tmp_path / name))
        np.testing.assert_array_equal(whole(other), whole(plain))
        assert other.preprocessing["time"]["step"] == ["seconds", 86_400.0]


def test_the_splits_may_have_files_of_their_own(write, tmp_path):
    lines = table()
    write(lines[:41], "train.csv")
    write([lines[0], *lines[41:51]], "valid.csv")
    test = write([lines[0], *lines[51:]], "test.csv")
    data = prepared(
        None, train_path=str(tmp_path / "train.csv"), val_path=str(tmp_path / "valid.csv"), test_path=test
    )
    assert data.preprocessing["counts"] == {"train": 31, "val": 9, "test": 9}
    folder = prepared(str(tmp_path))
    assert folder.preprocessing == data.preprocessing
    samples = data.split("test")
    batch, learnt = samples[Draw(None, torch.tensor([0]))], data.preprocessing["channels"][0]
    np.testing.assert_allclose(
        batch.inputs[0, :, 0].numpy() * learnt["std"] + learnt["mean"], values()[42:50, 0], atol=1e-3
    )
    two = prepared(str(tmp_path / "train.csv"), test_path=test)
    assert two.preprocessing["counts"] == {"train": 27, "val": 3, "test": 9}
    with pytest.raises(UserError, match="not in the order of time: row 11"):
        prepared(test, test_path=str(tmp_path / "train.csv"))
    with pytest.raises(UserError, match=r"name their file with data\.test_path"):
        prepared(str(tmp_path / "train.csv"), val_path=test)
    write(lines[:46], "train.csv")
    again = Series(path=str(tmp_path))
    again.setup_data(folder.preprocessing)
    with pytest.raises(UserError, match="has changed"):
        again.split("train")


def test_a_run_of_an_earlier_release_goes_on_without_a_time(write):
    path = write(table())
    learnt = prepared(path).preprocessing
    del learnt["time"], learnt["group"]
    data = Series(path=path)
    data.setup_data(learnt)
    assert len(data.split("test")) == learnt["counts"]["test"]
    assert list(described_of(data, path)[1]) == ["step"]


def test_date_format_also_reads_whole_numbers_or_is_refused(write, caplog):
    lines = table(times=days(60, form="%d%m%Y"), header="when,heat,wind")
    data = prepared(write(lines), date_format="%d%m%Y")
    assert described_of(data, "series.csv")[1]["when"] == ["2021-03-02", "2021-03-03"]
    years = prepared(
        write(table(times=range(1900, 1960), header="Year,heat,wind"), "years.csv"), date_format="%Y"
    )
    assert described_of(years, "years.csv")[1]["Year"] == ["1960-01-01", "1961-01-01"]
    seconds = write(table(times=EPOCH, header="timestamp,heat,wind"), "seconds.csv")
    with pytest.raises(
        UserError, match=r"no dates of the form data\.date_format=%d\.%m\.%Y, such as '1609459200'"
    ):
        prepared(seconds, date_format="%d.%m.%Y")
    with pytest.raises(UserError, match=r"no column holds dates of the form data\.date_format=%Y-%m-%d"):
        prepared(write(["heat,wind", *(f"{a},{b}" for a, b in values())], "bare.csv"), date_format="%Y-%m-%d")
    moments = pa.array([date.fromisoformat(day) for day in days(60)])
    rows = pa.table([moments, pa.array(values()[:, 0])], names=["date", "heat"])
    parquet.write_table(rows, Path(data.path).with_name("typed.parquet"))
    prepared(str(Path(data.path).with_name("typed.parquet")), date_format="%d.%m.%Y")
    assert "the dates of column 'date' are no texts: data.date_format has no effect" in caplog.text
