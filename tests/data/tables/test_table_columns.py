from pathlib import Path

import numpy as np
import pytest
import torch

from nnkit.data.reading.cells import InMemory, Numbers, Texts
from nnkit.data.tables.columns import (
    ColumnOptions,
    encode,
    gather,
    learn_columns,
    mean_and_std,
    num_features,
)
from nnkit.data.tables.loading import TableSource, load_table, open_tables

pytest.importorskip("sklearn")
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def texts(cells):
    values = sorted({cell for cell in cells if cell is not None})
    return Texts(np.array([-1 if cell is None else values.index(cell) for cell in cells], np.int32), values)


def numbers(*cells):
    return Numbers(np.array(cells, dtype=np.float64))


def learn(columns, options=None, *, rows):
    return learn_columns(columns, np.array(rows), options or ColumnOptions())


def features_of(columns, learnt, size):
    return gather(encode(columns, learnt, size), torch.arange(size))[0].numpy()


def test_numbers_and_categories_agree_with_sklearn():
    rng = np.random.default_rng(1)
    values = rng.normal(5, 3, (200, 3))
    values[rng.random((200, 3)) < 0.1] = np.nan
    cells = rng.choice(["red", "green", "blue"], 200).tolist()
    columns = {
        "a": numbers(*values[:, 0]),
        "b": numbers(*values[:, 1]),
        "c": numbers(*values[:, 2]),
        "t": texts(cells),
    }
    train = np.arange(0, 200, 2)
    learnt, dropped = learn(columns, rows=train)
    imputer = SimpleImputer(strategy="median", add_indicator=True).fit(values[train])
    scaler = StandardScaler().fit(imputer.transform(values[train])[:, :3])
    imputed = imputer.transform(values)
    hot = (
        OneHotEncoder(sparse_output=False)
        .fit(np.array(cells)[train, None])
        .transform(np.array(cells)[:, None])
    )
    scaled = scaler.transform(imputed[:, :3])
    expected = np.stack(
        [scaled[:, 0], imputed[:, 3], scaled[:, 1], imputed[:, 4], scaled[:, 2], imputed[:, 5]], axis=1
    )
    assert not dropped
    np.testing.assert_allclose(features_of(columns, learnt, 200), np.hstack([expected, hot]), atol=1e-6)
    assert num_features(learnt) == (6, 3)


def test_statistics_come_from_the_training_rows():
    column = numbers(1, 2, 3, 1000, 2000)
    learnt, _ = learn({"a": column}, rows=[0, 1, 2])
    assert learnt[0]["mean"] == 2
    assert learnt[0]["median"] == 2
    assert learnt[0]["indicator"] is False
    # Ten standard deviations at most, lest one cell outweigh the row.
    assert features_of({"a": column}, learnt, 5)[4, 0] == 10


def test_missing_categories_are_a_category():
    cells = ["a", None, "b", "a"]
    learnt, _ = learn({"t": texts(cells)}, rows=range(4))
    assert features_of({"t": texts(cells)}, learnt, 4).tolist() == [
        [1, 0, 0],
        [0, 0, 1],
        [0, 1, 0],
        [1, 0, 0],
    ]


def test_rare_categories_share_a_feature(caplog):
    cells = ["a"] * 6 + ["b"] * 5 + ["c", "d", "e"]
    learnt, _ = learn({"t": texts(cells)}, ColumnOptions(max_categories=2), rows=range(len(cells)))
    assert (learnt[0]["categories"], learnt[0]["other"]) == (["a", "b"], True)
    assert "the 2 most frequent of 5 categories are kept, the others (21.4% of the rows)" in caplog.text
    unseen = texts(["zzz", "b"])
    assert features_of({"t": unseen}, learnt, 2).tolist() == [[0, 0, 1], [0, 1, 0]]


def test_an_unseen_category_has_no_feature_where_none_is_trained():
    learnt, _ = learn({"t": texts(["a", "b", "a", "b"])}, rows=range(4))
    assert features_of({"t": texts(["c", None, "b"])}, learnt, 3).tolist() == [[0, 0], [0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("name", "column", "reason"),
    [
        ("a", numbers(3, 3, 3, 3, 3, 3), "the same value in all training rows: 3"),
        ("a", numbers(*[0.1 + 0.2] * 3, *[0.3] * 3), "the same value in all training rows"),
        ("a", texts(["x"] * 6), "the same value in all training rows: x"),
        ("a", numbers(*[np.nan] * 6), "no value in the training rows"),
        ("a", texts([None] * 6), "no value in the training rows"),
        ("name", texts(list("abcdef")), "6 different texts in 6 rows, such as 'a'"),
        ("id", numbers(6, 5, 4, 3, 2, 1), "looks like an identifier"),
        ("PassengerId", numbers(1, 2, 3, 4, 5, 6), "looks like an identifier"),
        ("user_id", numbers(10, 22, 31, 47, 5, 6), "looks like an identifier"),
        ("unnamed", numbers(0, 1, 2, 3, 4, 5), "looks like an identifier"),
        ("Unnamed: 0", numbers(0, 1, 2, 3, 4, 5), "looks like an identifier"),
        ("OBS", numbers(0, 1, 2, 3, 4, 5), "looks like an identifier"),
    ],
)
def test_columns_that_say_nothing_are_left_out(name, column, reason):
    learnt, dropped = learn({name: column}, rows=range(6))
    assert not learnt
    assert reason in dropped[name]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("x", numbers(0, 1, 2, 3, 4, 5)),
        ("paid", numbers(0, 1, 2, 3, 4, 5)),
        ("id", numbers(1, 1, 2, 3, 4, 5)),
        ("id", numbers(0.5, 1, 2, 3, 4, 5)),
        ("grid", numbers(0, 1, 2, 3, 4, 5)),
        ("a", numbers(7, 7, np.nan, 7, 7, 7)),
        ("a", texts(["x", None, "x", "x", "x", "x"])),
        ("city", texts(["x", "y", "z", "x", "y", "z"])),
    ],
)
def test_columns_that_may_say_something_are_kept(name, column):
    learnt, dropped = learn({name: column}, rows=range(6))
    assert [spec["name"] for spec in learnt] == [name]
    assert not dropped


def test_thousands_of_equally_rare_texts_are_left_out():
    cells = [f"t{place // 3}" for place in range(6000)]
    _, dropped = learn({"t": texts(cells)}, ColumnOptions(max_vectors=0), rows=range(6000))
    assert "2,000 different texts, the 32 most frequent of them make up 1.6% of the rows" in dropped["t"]


def test_a_list_of_columns_to_drop_is_all_that_is_dropped():
    columns = {"id": numbers(0, 1, 2, 3, 4, 5), "name": texts(list("abcdef"))}
    learnt, dropped = learn(columns, ColumnOptions(drop=("x",)), rows=range(6))
    assert [spec["name"] for spec in learnt] == ["id", "name"]
    assert dropped == {}


@pytest.mark.parametrize("size", [1.0, 1e-300, 1e300])
def test_no_size_of_numbers_overflows(size):
    values = np.array([1.0, 2.0, 4.0]) * size
    mean, std = mean_and_std(values)
    assert mean == pytest.approx(7 / 3 * size)
    assert std == pytest.approx(np.std([1, 2, 4]) * size)
    learnt, _ = learn({"a": numbers(*values)}, rows=range(3))
    assert np.isfinite(features_of({"a": numbers(*-values)}, learnt, 3)).all()


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="tells which pages of a file are in memory")
def test_columns_in_files_leave_memory_once_they_are_looked_at(tmp_path):
    def make_sink(name, dtype):
        sink = InMemory(name, dtype)
        finish = sink.finish

        def finish_in_file():
            finish().tofile(tmp_path / f"{name}.column")
            return np.memmap(tmp_path / f"{name}.column", dtype, mode="c")

        sink.finish = finish_in_file
        return sink

    def kilobytes():
        lines = Path("/proc/self/smaps").read_text().splitlines()
        places = [place for place, line in enumerate(lines) if line.endswith(".column")]
        sizes = [next(line for line in lines[place:] if line.startswith("Rss:")) for place in places]
        return len(sizes), sum(int(size.split()[1]) for size in sizes)

    rows = "".join(f"{row % 777},{'ab'[row % 2]},{row % 3}\n" for row in range(20_000))
    (tmp_path / "table.csv").write_text(f"number,text,y\n{rows}")
    source = TableSource(files={"train": str(tmp_path / "table.csv")}, target=("y",))
    loaded = load_table(open_tables(source), source, ("index",), say=True, make_sink=make_sink)
    columns, training = loaded.columns, np.arange(10_000)
    assert kilobytes() == (2, 0)
    learnt, _ = learn_columns(columns, training, ColumnOptions())
    assert len(learnt) == 2
    assert kilobytes() == (2, 0)
    encode(columns, learnt, loaded.num_rows)
    assert kilobytes() == (2, 0)
