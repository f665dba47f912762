import numpy as np
import pytest

from nnkit.data.reading.delimited import read_dialect
from nnkit.data.reading.frame import Numbers, Texts, parse_number, read_frame
from nnkit.errors import UserError


def frame_of(folder, text, as_text=()):
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return read_frame(path, read_dialect(path), as_text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (" 1.5 ", 1.5),
        ("-2e3", -2000.0),
        ("abc", None),
        ("10_20", None),
        ("1,5", None),
        ("12 %", None),
        ("0x1A", None),
    ],
)
def test_a_cell_is_a_number_or_a_text(text, number):
    assert parse_number(text) == number


@pytest.mark.parametrize("text", ["", " ", "NA", "n/a", "NaN", "null", "?", "None", "-"])
def test_marks_of_missing_numbers(text):
    assert np.isnan(parse_number(text))


def test_columns_have_kinds(tmp_path):
    frame = frame_of(tmp_path, "n,t,mixed\n1,a,1\n,?,b\n3, a ,2\n")
    assert frame.num_rows == 3
    np.testing.assert_array_equal(frame.columns["n"].values, [1, np.nan, 3])
    assert frame.columns["t"].values == ["a"]
    assert frame.columns["t"].codes.tolist() == [0, -1, 0]
    assert isinstance(frame.columns["mixed"], Texts)


def test_a_column_of_numbers_can_be_read_as_texts(tmp_path):
    frame = frame_of(tmp_path, "a,b\n01,1\n1,2\n01,3\n", as_text=["a"])
    assert frame.columns["a"].values == ["01", "1"]


def test_few_texts_among_numbers_count_as_missing(tmp_path):
    rows = [f"{number},x" for number in range(30)]
    rows[4], rows[9], rows[20] = "unknown,x", "err,x", "-inf,x"
    column = frame_of(tmp_path, "a,b\n" + "\n".join(rows)).columns["a"]
    assert isinstance(column, Numbers)
    assert np.flatnonzero(np.isnan(column.values)).tolist() == [4, 9, 20]
    assert (column.num_texts, column.num_infinite, column.first_text) == (2, 1, (5, "unknown"))


def test_ranges_with_underscores_are_texts(tmp_path):
    assert isinstance(frame_of(tmp_path, "a,b\n10_20,1\n20_30,2\n").columns["a"], Texts)


def test_decimal_commas_are_numbers(tmp_path):
    frame = frame_of(tmp_path, "a;b\n1,5;x\n-2,25;y\n7;z\n")
    assert frame.columns["a"].values.tolist() == [1.5, -2.25, 7.0]


def test_a_column_that_turns_into_texts_late_loses_nothing(tmp_path):
    cells = [str(number % 7) for number in range(6000)] + ["late"] * 2000
    column = frame_of(tmp_path, "a,b\n" + "\n".join(f"{cell},1" for cell in cells)).columns["a"]
    assert isinstance(column, Texts)
    assert [column.values[code] for code in column.codes] == cells


def test_values_survive_chunks(tmp_path):
    numbers = np.random.default_rng(0).normal(size=(5003, 2)).round(6)
    texts = [f"t{place % 11}" for place in range(5003)]
    lines = [f"{a},{t},{b}" for (a, b), t in zip(numbers.tolist(), texts, strict=True)]
    lines.insert(2500, "")
    frame = frame_of(tmp_path, "a,t,b\n" + "\n".join(lines) + "\n")
    np.testing.assert_array_equal(frame.columns["a"].values, numbers[:, 0])
    np.testing.assert_array_equal(frame.columns["b"].values, numbers[:, 1])
    assert [frame.columns["t"].values[code] for code in frame.columns["t"].codes] == texts


def test_ragged_rows_are_counted(tmp_path):
    with pytest.raises(
        UserError, match=r"line 3: 3 fields, the header has 2 \(2 such rows in all\); put a field"
    ):
        frame_of(tmp_path, "a,b\n1,2\n1,2,3\n4,5\n6\n")


def test_an_open_quote_at_the_end_is_found(tmp_path):
    with pytest.raises(UserError, match="line 3: 1 field, the header has 2"):
        frame_of(tmp_path, 'a,b\n1,2\n"3,4\n5,6\n')


def test_a_header_alone_is_refused(tmp_path):
    with pytest.raises(UserError, match="column names but no rows"):
        frame_of(tmp_path, "a,b\n\n")
