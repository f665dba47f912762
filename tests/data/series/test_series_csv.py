"""Series in CSV files: columns, time, gaps, words, and files that changed."""

import gzip
import json
import logging
from datetime import date, timedelta

import numpy as np
import pytest
import torch

from nnkit.data.sampler import Draw
from nnkit.data.series.series_csv import SeriesCSV
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
    data = SeriesCSV(path=path, **{"window": 8, "horizon": 2, "batch_size": 16, **options})
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
    assert "read as Latin-1" in caplog.text
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


def test_a_file_with_the_newest_row_first_is_to_be_turned_round(write):
    with pytest.raises(UserError, match=r"row 2 \(.2021-02-28.*in 59 places\n.*turn the file round"):
        prepared(write(table(times=days(60)[::-1])))


def test_a_column_of_numbers_called_year_is_the_time_unless_it_is_named(write, caplog):
    years = [*range(1900, 1920), *range(1922, 1962)]
    path = write(table(times=years, header="Year,heat,wind"))
    assert prepared(path).facts()["num_channels"] == 2
    assert "from row 20 (1919) to row 21 (1922), of 1 in all" in caplog.text
    caplog.clear()
    assert prepared(path, columns=["Year", "heat"]).facts()["num_channels"] == 2
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    turned = write(table(times=years[::-1], header="Year,heat,wind"))
    with pytest.raises(UserError, match=r"if 'Year' is no time, name the channels in data\.columns"):
        prepared(turned)
    assert prepared(turned, columns=["heat"]).facts()["num_channels"] == 1


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
    restored = SeriesCSV(path=path)
    caplog.clear()
    restored.setup_data(json.loads(json.dumps(first.preprocessing)))
    np.testing.assert_array_equal(whole(first), whole(restored))
    assert not caplog.records
    write([*table(), "2022-01-01,1,2"])
    again = SeriesCSV(path=path)
    again.setup_data(first.preprocessing)
    with pytest.raises(UserError, match="has changed since this run was prepared"):
        again.split("test")


def test_a_file_to_forecast_needs_the_columns_and_a_full_window_only(write, tmp_path):
    first = prepared(write(table()), columns=["wind", "heat"], target_columns=["heat"])
    (tmp_path / "series.csv").unlink()
    data = SeriesCSV(path="gone.csv")
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
    ],
)
def test_arguments_without_sense_are_refused(options, word):
    with pytest.raises(ValueError, match=word):
        SeriesCSV(**{"path": "x.csv", **options})


def test_a_series_that_never_changes_is_nothing_to_forecast(write):
    with pytest.raises(UserError, match="'heat', 'wind' never changes in the training part"):
        prepared(write(["heat,wind", *["3,4"] * 200]))


def test_standard_input_is_no_series(write):
    data = SeriesCSV(path=write(table()), window=8, horizon=2)
    data.setup_data()
    assert "name the file" in dict(data.read(["-"]))["-"]
