import pytest

from nnkit.data.reading.split_files import read_split_keys
from nnkit.data.reading.table_file import open_table
from nnkit.errors import ConfigError, UserError

ROWS = """who,when,set,y
 b ,2024-03-05,train,1
a,2024-03-06,dev,2
,2024-03-07 12:00,TEST,3
b,,,4
"""


@pytest.fixture
def table(tmp_path):
    (tmp_path / "a.csv").write_text(ROWS)
    return open_table(str(tmp_path / "a.csv"))


def test_nothing_is_read_where_rows_are_split_at_random(table):
    assert read_split_keys(table, {"val_fraction": 0.1, "fold": 1, "group": None}) == {}


def test_rows_of_one_value_have_one_group(table):
    groups = read_split_keys(table, {"group": "who"})["groups"].tolist()
    assert groups[0] == groups[3] != groups[1] and groups[2] == -1


def test_words_become_places_of_splits(table):
    assert read_split_keys(table, {"split_column": "set"})["settled"].tolist() == [0, 1, 2, -1]


def test_dates_and_numbers_are_times(table):
    keys = read_split_keys(table, {"time": "when"})
    first, second, third, missing = keys["times"].tolist()
    assert (second - first, third - second) == (86400, 86400 * 1.5) and missing != missing
    assert [keys["time_text"](time) for time in (first, third)] == ["2024-03-05", "2024-03-07 12:00:00"]
    keys = read_split_keys(table, {"time": "y"})
    assert keys["times"].tolist() == [1, 2, 3, 4] and keys["time_text"](3.0) == "3"


def test_columns_that_cannot_be_used_are_refused(table):
    with pytest.raises(ConfigError) as caught:
        read_split_keys(table, {"group": "wo"})
    (problem,) = caught.value.problems
    assert problem.key == "data.group" and "did you mean data.group=who?" in problem.hint
    with pytest.raises(UserError, match="column 'who' holds texts"):
        read_split_keys(table, {"time": "who"})
