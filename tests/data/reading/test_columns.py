"""Cells as numbers, dates and codes of texts: every value against what was written."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nnkit.data.reading import cells as cells_module
from nnkit.data.reading.cells import Datetimes, Numbers, Texts
from nnkit.data.reading.columns import read_frame
from nnkit.data.reading.dialect import ReadOptions
from nnkit.data.reading.table_file import open_table
from nnkit.data.reading.values import PLAIN, NumberForm, find_number_form, is_missing, parse_number
from nnkit.errors import UserError


def column(tmp_path, cells, *, as_text=(), delimiter=";", **reading):
    """Read one column beside another that tells nothing."""
    path = tmp_path / "t.csv"
    path.write_text(f"x{delimiter}k\n" + "".join(f"{cell}{delimiter}z\n" for cell in cells))
    table = open_table(str(path), ReadOptions(header=True, delimiter=delimiter, **reading))
    return read_frame(table, as_text=as_text).columns["x"]


NAN = float("nan")


@pytest.mark.parametrize(
    ("cells", "values", "form"),
    [
        (["1", " 2.5", "-3e4", "+.5"], [1, 2.5, -3e4, 0.5], PLAIN),
        (["1,234", "623", "-12,345,678.9"], [1234, 623, -12345678.9], NumberForm(".", ",")),
        (["1.234,56", "12,5", "3"], [1234.56, 12.5, 3], NumberForm(",", ".")),
        (["0,5", "1,25"], [0.5, 1.25], NumberForm(",")),
        (["12%", "3.5 %", "-1%"], [12, 3.5, -1], NumberForm(percent=True)),
        (["$1,200", "-$4.50", "$ 3"], [1200, -4.5, 3], NumberForm(".", ",", currency="$")),
        (["1.200,00 €", "3,10 €"], [1200, 3.1], NumberForm(",", ".", currency="€")),
        (["1 234", "12 000"], [1234, 12000], NumberForm(".", " \u00a0\u202f\u2009'\u2019")),
        (["\u22125", "3"] * 9, [-5, 3] * 9, None),
        (["1", "", "NA", "-", "2"], [1, NAN, NAN, NAN, 2], PLAIN),
    ],
)
def test_numbers_as_people_write_them(tmp_path, cells, values, form):
    found = column(tmp_path, cells)
    assert isinstance(found, Numbers)
    np.testing.assert_allclose(found.values, values)
    assert form is None or found.forms == ((form,) if form != PLAIN else ())
    assert found.num_texts == 0


def test_a_decimal_comma_elsewhere_in_the_file_makes_points_stand_between_thousands(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1.234;0,5\n2.345;1,25\n")
    values = read_frame(open_table(str(path))).columns["a"].values
    assert values.tolist() == [1234, 2345]
    path.write_text("a;b\n1.234;0.5\n2.345;1.25\n")
    assert read_frame(open_table(str(path))).columns["a"].values.tolist() == [1.234, 2.345]


@pytest.mark.parametrize(("decimals", "delimiter"), [(True, ";"), (False, ";"), (False, ",")])
def test_numbers_are_those_of_pandas(tmp_path, decimals, delimiter):
    random = np.random.default_rng(0)
    values = np.round(random.normal(size=5_000) * 10.0 ** random.integers(-3, 7, 5_000), 4)
    values[random.random(5_000) < 0.1] = np.nan
    path = tmp_path / "t.csv"
    frame = pd.DataFrame({"v": values, "k": "z"})
    frame.to_csv(path, sep=delimiter, decimal="," if decimals else ".", index=False)
    found = read_frame(open_table(str(path))).columns["v"]
    np.testing.assert_array_equal(found.values, values)


def test_few_texts_among_numbers_count_as_missing_and_are_named(tmp_path):
    found = column(tmp_path, [*map(str, range(30)), "broken", "31", "inf"])
    assert (found.num_texts, found.first_text, found.num_infinite) == (1, (31, "broken"), 1)
    assert np.isnan(found.values[[30, 32]]).all()
    assert found.values[31] == 31


def test_a_column_that_turns_into_texts_late_loses_nothing(tmp_path):
    cells = [str(number % 900) for number in range(150_000)] + [
        f"code {number % 7}" for number in range(100_000)
    ]
    found = column(tmp_path, cells)
    assert isinstance(found, Texts)
    assert [found.values[code] for code in found.codes.tolist()] == cells


@pytest.mark.parametrize(
    ("missing", "codes", "words"),
    [
        (None, [0, -1, -1, 1], {"": 1, "NA": 1}),
        (("",), [0, 1, -1, 2], {"": 1}),
        (("b", ""), [0, 1, -1, -1], {"": 1, "b": 1}),
    ],
)
def test_words_for_missing_values_are_counted_or_kept(tmp_path, missing, codes, words):
    found = column(tmp_path, ["a", "NA", "", "b"], missing=missing)
    assert (found.codes.tolist(), found.missing) == (codes, words)


def test_numbers_count_words_as_well(tmp_path):
    found = column(tmp_path, ["1", "n/a", "", "n/a", "2.5", "-"])
    assert found.missing == {"n/a": 2, "": 1, "-": 1}


@pytest.mark.parametrize("is_typed", [False, True])
def test_numbers_that_stand_for_a_missing_one_count_as_missing_however_they_are_written(tmp_path, is_typed):
    values = [3.5, -999.0, 7.0, -999.0, None]
    if is_typed:
        pq.write_table(pa.table({"x": values}), tmp_path / "t.parquet")
        table = open_table(str(tmp_path / "t.parquet"), ReadOptions(missing=("-999",)))
        found = read_frame(table).columns["x"]
    else:
        found = column(tmp_path, ["3.5", "-999", "7", "-999.0", ""], missing=("-999",))
    np.testing.assert_array_equal(found.values, [3.5, NAN, 7, NAN, NAN])
    assert found.missing["-999"] == 2
    assert is_missing("-999.0", ("-999",), number=True)
    assert not is_missing("-999.0", ("-999",))


def test_each_file_of_a_table_is_read_as_it_is_written(tmp_path):
    (tmp_path / "a.csv").write_text("x,day\n" + "".join(f"{i}.25,2024-03-{i + 1:02}\n" for i in range(20)))
    (tmp_path / "b.csv").write_text("x;day\n" + "".join(f"1.00{i},5;{i + 11}.04.2024\n" for i in range(9)))
    (tmp_path / "c.csv").write_text("x,day\n" + "".join(f'"$2,00{i}",05/{i + 11}/2024\n' for i in range(9)))
    found = read_frame(open_table(str(tmp_path / "*.csv"))).columns
    x = [i + 0.25 for i in range(20)] + [1000.5 + i for i in range(9)] + [2000 + i for i in range(9)]
    np.testing.assert_array_equal(found["x"].values, x)
    days = pd.date_range("2024-03-01", periods=20).append(
        [pd.date_range("2024-04-11", periods=9), pd.date_range("2024-05-11", periods=9)]
    )
    np.testing.assert_array_equal(found["day"].values, days.astype("datetime64[s]").astype("int64"))
    assert [form.said() for form in found["x"].forms] == [
        "'.' between thousands and a decimal comma",
        "',' between thousands and the currency $",
    ]


def test_a_later_file_decides_whether_the_day_or_the_month_comes_first(tmp_path):
    (tmp_path / "a.csv").write_text("x,day\n1,03/04/2024\n2,04/04/2024\n")
    (tmp_path / "b.csv").write_text("x,day\n1,28/04/2024\n2,29/04/2024\n")
    found = read_frame(open_table(str(tmp_path))).columns["day"]
    days = pd.to_datetime(["2024-04-03", "2024-04-04", "2024-04-28", "2024-04-29"])
    np.testing.assert_array_equal(found.values, days.astype("datetime64[s]").astype("int64"))


def test_codes_that_look_like_numbers_stay_as_they_are_written(tmp_path):
    found = column(tmp_path, ["01", "1", "1E2", "100"], as_text=("x",))
    assert found.values == ["01", "1", "1E2", "100"]


def test_too_many_texts_are_told_apart_no_longer(tmp_path, monkeypatch):
    monkeypatch.setattr(cells_module, "MAX_VALUES", 3)
    found = column(tmp_path, ["a", "b", "c", "d", "a"])
    assert found.too_many
    assert found.values == ["a", "b", "c"]
    assert found.codes.tolist() == [0, 1, 2, -1, 0]


def test_typed_columns_keep_their_kinds(tmp_path):
    table = pa.table(
        {
            "i": pa.array([1, None, 3], pa.int8()),
            "b": pa.array([True, None, False]),
            "d": pa.array([0, None, 86_400], pa.timestamp("s")),
            "t": pa.array([1, 2, None], pa.int32()).cast(pa.date32()),
            "s": pa.array(["1", "2", "x"]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    frame = read_frame(open_table(str(tmp_path / "t.parquet")))
    np.testing.assert_array_equal(frame.columns["i"].values, [1, NAN, 3])
    assert (frame.columns["b"].values, frame.columns["b"].codes.tolist()) == (["true", "false"], [0, -1, 1])
    assert isinstance(frame.columns["d"], Datetimes)
    np.testing.assert_array_equal(frame.columns["d"].values, [0, NAN, 86_400])
    np.testing.assert_array_equal(frame.columns["t"].values, [86_400, 172_800, NAN])
    assert isinstance(frame.columns["s"], Texts)


def test_dates_of_texts(tmp_path):
    found = column(tmp_path, ["2024-01-05", "", "2023-12-31", "later", *["2024-01-01"] * 30])
    assert isinstance(found, Datetimes)
    expected = [pd.Timestamp("2024-01-05").timestamp(), NAN, pd.Timestamp("2023-12-31").timestamp(), NAN]
    np.testing.assert_array_equal(found.values[:4], expected)
    assert (found.num_texts, found.first_text) == (1, (4, "later"))


def test_rows_far_below_decide_whether_the_day_or_the_month_comes_first(tmp_path):
    moments = pd.date_range("2024-02-01", periods=90_000, freq="min")
    path = tmp_path / "minutes.csv"
    path.write_text("when\n" + "\n".join(moments.strftime("%d/%m/%Y %H:%M:%S")))
    when = read_frame(open_table(str(path))).columns["when"]
    assert isinstance(when, Datetimes)
    assert (when.form.pattern, when.form.ambiguous) == ("%d/%m/%Y", None)
    np.testing.assert_array_equal(when.values, moments.values.astype("datetime64[s]").astype(float))


def test_a_table_without_rows_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n")
    with pytest.raises(UserError, match="column names but no rows"):
        read_frame(open_table(str(tmp_path / "t.csv")))


@pytest.mark.parametrize(("text", "number"), [("1e3", 1000), ("1_0", None), ("x", None), (" 7 ", 7)])
def test_a_cell_is_a_number_or_a_text(text, number):
    assert parse_number(text) == number


def test_words_in_numbers_only():
    assert is_missing("None", number=True)
    assert not is_missing("None")
    assert is_missing(None)
    assert not is_missing("NA", ())
    assert find_number_form(["a", "b", "1"]) is None
