"""What columns of every kind become, value by value, and what is said of them."""

import json
import logging
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import torch

from nnkit.batches import CategoricalBatch
from nnkit.data.sampler import Draw
from nnkit.data.tables.columns import cardinalities
from nnkit.data.tables.table import Table
from nnkit.errors import ConfigError, UserError


@pytest.fixture
def write(tmp_path):
    def write(frame, name="table.csv", **options):
        path = tmp_path / name
        if name.endswith(".parquet"):
            frame.to_parquet(path)
        else:
            frame.to_csv(path, index=False, **options)
        return str(path)

    return write


def prepared(path, **options):
    data = Table(path=path, **{"val_fraction": 0.0, "test_fraction": 0.0, **options})
    data.setup_data()
    return data


def batch_of(data, split="train"):
    samples = data.split(split)
    return samples[Draw(None, torch.arange(len(samples)))]


def restored(data, **options):
    again = Table(path=data.path, **options)
    again.setup_data(json.loads(json.dumps(data.preprocessing)))
    return again


def answers(size):
    return np.where(np.arange(size) % 3 > 0, "no", "yes")


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_dates_become_their_parts(write, name):
    times = [datetime(2023, 1, 30, 6) + timedelta(days=17 * n, hours=5 * n) for n in range(40)]
    frame = pd.DataFrame({"when": pd.Series(times), "y": answers(40)})
    frame.loc[7, "when"] = None
    data = prepared(write(frame, name))
    (spec,) = data.preprocessing["columns"]
    assert spec["parts"] == ["year", "month", "weekday", "hour", "elapsed"]
    found = batch_of(data).inputs.numpy()
    known = frame["when"].dropna()
    angles = {
        "month": (known.dt.month - 1) / 12,
        "weekday": known.dt.day_of_week / 7,
        "hour": (known.dt.hour + known.dt.minute / 60) / 24,
    }
    elapsed = (known - known.min()).dt.total_seconds() / 86400
    scaled = lambda values: (values - values.mean()) / values.std(ddof=0)  # noqa: E731
    columns = [scaled(known.dt.year)]
    for part in angles.values():
        columns += [np.sin(2 * np.pi * part), np.cos(2 * np.pi * part)]
    expected = np.stack([*columns, scaled(elapsed), np.zeros(39)], axis=1)
    np.testing.assert_allclose(np.delete(found, 7, axis=0), expected, atol=1e-6)
    assert found[7].tolist() == [0] * 8 + [1]


@pytest.mark.parametrize("frequency", ["MS", "ME", "YS"])
def test_dates_that_stand_for_months_have_no_weekday(write, frequency):
    days = pd.date_range("2001-01-01", periods=40, freq=frequency).strftime("%Y-%m-%d")
    (spec,) = prepared(write(pd.DataFrame({"day": days, "y": answers(40)}))).preprocessing["columns"]
    assert spec["parts"] == ["year", *["month"] * (frequency != "YS"), "elapsed"]


def test_dates_that_are_all_different_are_no_identifier_and_new_ones_are_read(write):
    days = pd.date_range("2024-01-01", periods=60)
    data = prepared(write(pd.DataFrame({"day": days.strftime("%d.%m.%Y"), "y": answers(60)})))
    assert [spec["kind"] for spec in data.preprocessing["columns"]] == ["date"]
    # A single new row, whose day could be a month, is read as the training rows are.
    new = write(pd.DataFrame({"day": ["05.02.2024"]}), "new.csv")
    [(_, batch)] = data.read([new])
    assert torch.equal(batch.inputs[0], batch_of(data).inputs[35])


def test_codes_with_zeros_in_front_that_are_read_as_numbers_are_logged(write, caplog):
    frame = pd.DataFrame({"zip": ["01067", "80331"] * 20, "size": [0.5, 0, 10, 3] * 10, "y": answers(40)})
    data = prepared(write(frame))
    assert "column 'zip': '01067' and the like are read as numbers; data.categorical=[zip]" in caplog.text
    assert "column 'size'" not in caplog.text
    assert [spec["kind"] for spec in data.preprocessing["columns"]] == ["number", "number"]
    caplog.clear()
    codes = prepared(write(frame), categorical=["zip"]).preprocessing["columns"][0]["categories"]
    assert codes == ["01067", "80331"]
    assert "and the like" not in caplog.text


def test_new_rows_are_read_as_each_of_their_files_is_written(write, tmp_path):
    size, day = np.arange(60) * 1.5, pd.date_range("2024-01-01", periods=60)
    data = prepared(write(pd.DataFrame({"size": size, "day": day, "y": answers(60)}), "table.parquet"))
    folder = tmp_path / "new"
    folder.mkdir()
    for name, sign, form in (("a", ".", "%Y-%m-%d"), ("b", ",", "%d.%m.%Y")):
        new = pd.DataFrame({"size": size, "day": day.strftime(form)})
        new.to_csv(folder / f"{name}.csv", index=False, sep=";", decimal=sign)
    parts = list(data.read_batches([str(folder)], 60))
    assert [part.problems for part in parts] == [{}, {}]
    assert all(torch.equal(part.batch.inputs, batch_of(data).inputs) for part in parts)
    # Whatever stands where a date is needed is an error of its row.
    [(_, reason)] = data.read([write(pd.DataFrame({"size": [1.0], "day": ["soon"]}), "soon.csv")])
    assert reason == "column 'day' must hold a date, not 'soon'"


def test_two_readings_of_a_date_are_said_and_one_is_chosen(write, caplog):
    frame = pd.DataFrame({"d": [f"{1 + n % 9:02}/{1 + n % 7:02}/2024" for n in range(40)], "y": answers(40)})
    first = prepared(write(frame))
    assert "02/02/2024" not in caplog.text
    assert "is possible as well: data.date_format=%d/%m/%Y reads it so" in caplog.text
    second = prepared(write(frame), date_format="%d/%m/%Y")
    assert first.preprocessing["columns"][0]["form"]["pattern"] == "%m/%d/%Y"
    assert second.preprocessing["columns"][0]["form"]["pattern"] == "%d/%m/%Y"
    # New rows are read as the training rows are, also where they leave the choice.
    new = write(frame[:9], "new.csv")
    for data in (first, second):
        found = torch.cat([batch.inputs for _, batch in data.read([new])])
        assert torch.equal(found, batch_of(data).inputs[:9])


@pytest.mark.parametrize(("unit", "size"), [("s", 1), ("ms", 1000)])
def test_times_since_1970_are_dates_and_said(write, caplog, unit, size):
    seconds = 1_700_000_000 + np.arange(50) * 7_000
    frame = pd.DataFrame({"timestamp": seconds * size, "x": np.arange(50) % 7, "y": answers(50)})
    data = prepared(write(frame))
    assert f"column 'timestamp' holds times, counted in {unit} since 1970" in caplog.text
    as_dates = frame.assign(timestamp=pd.to_datetime(seconds, unit="s"))
    same = prepared(write(as_dates, "dates.csv"))
    assert torch.equal(batch_of(data).inputs, batch_of(same).inputs)
    found = torch.cat([batch.inputs for _, batch in data.read([data.path])])
    assert torch.equal(found, batch_of(data).inputs)


def test_rich_categories_have_vectors_and_rare_ones_share_one(write, caplog):
    caplog.set_level(logging.INFO)
    cities = [f"city {n}" for n in range(50) for _ in range(4)] + ["rare", "rarer", "rarest"] + [""] * 5
    frame = pd.DataFrame({"city": cities, "x": np.arange(len(cities)) % 9, "y": answers(len(cities))})
    data = prepared(write(frame))
    assert data.facts() == {"num_features": 1, "cardinalities": [52], "num_classes": 2, "num_outputs": None}
    assert "column 'city': each of 50 categories gets a learnt vector; the 3 rarest share one" in caplog.text
    batch = batch_of(data)
    assert isinstance(batch, CategoricalBatch)
    names = sorted(f"city {n}" for n in range(50))
    expected = [names.index(city) + 1 if city in names else 51 if not city else 0 for city in cities]
    assert batch.categories[:, 0].tolist() == expected
    new = write(pd.DataFrame({"x": [1, 2, 3], "city": ["city 7", "never seen", None]}), "new.csv")
    found = [one.categories.item() for _, one in restored(data).read([new])]
    assert found == [names.index("city 7") + 1, 0, 51]


def test_without_vectors_the_rarer_categories_share_a_feature(write, caplog):
    frame = pd.DataFrame({"city": [f"c{n % 50}" for n in range(400)], "y": answers(400)})
    data = prepared(write(frame), max_vectors=0)
    assert data.facts()["num_features"] == 33
    assert cardinalities(data.preprocessing["columns"]) == []
    assert "the 32 most frequent of 50 categories are kept" in caplog.text


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        (
            "key",
            [f"{n:08x}-0000-4000-8000-{n % 7:012x}" for n in range(60)],
            "UUIDs such as '00000000-0000-4000",
        ),
        ("", list(range(60)), "looks like an identifier"),
        ("split", ["train", "dev", "test"] * 20, "data.split_column=split splits by it"),
    ],
)
def test_what_says_nothing_of_other_rows_is_left_out_with_a_sentence(write, caplog, name, values, words):
    data = prepared(write(pd.DataFrame({name: values, "x": np.arange(60) % 7 + 0.5, "y": answers(60)})))
    assert [spec["name"] for spec in data.preprocessing["columns"]] == ["x"]
    assert words in caplog.text


def test_the_number_of_each_row_is_said(write, caplog):
    prepared(write(pd.DataFrame({"n": range(1, 41), "x": np.arange(40) % 7, "y": answers(40)})))
    assert "column 'n' holds the number of each row" in caplog.text
    assert "data.drop=[n] leaves it out" in caplog.text


def test_numbers_as_people_write_them_are_numbers(write, caplog):
    size = 60
    frame = pd.DataFrame(
        {
            "area": [f"{1000 + 37 * n:,}" for n in range(size)],
            "share": [f"{n} %" for n in range(size)],
            "price": [f"${1000 + 11 * n:,}.50" for n in range(size)],
        }
    )
    data = prepared(write(frame), targets=["real"])
    found = [(spec["name"], spec["mean"]) for spec in data.preprocessing["columns"]]
    assert found == [("area", pytest.approx(1000 + 37 * 29.5)), ("share", pytest.approx(29.5))]
    assert data.preprocessing["target"]["mean"] == [pytest.approx(1000.5 + 11 * 29.5)]
    assert "column 'area': numbers are written with ',' between thousands" in caplog.text


def test_words_for_missing_values_are_said_and_can_be_kept(write, caplog):
    frame = pd.DataFrame({"country": ["NA", "DE", "", "FR"] * 15, "continent": ["NA", "EU", "EU", "AS"] * 15})
    data = prepared(write(frame), target="continent")
    assert data.preprocessing["class_names"] == ["AS", "EU"]
    for name in frame:
        assert f"column {name!r}: 'NA' (15 cells) counts as missing; data.missing=[] keeps it" in caplog.text
    kept = prepared(write(frame), target="continent", missing=[])
    assert kept.preprocessing["class_names"] == ["AS", "EU", "NA"]
    assert kept.preprocessing["columns"][0]["categories"] == ["DE", "FR", "NA"]
    assert kept.preprocessing["columns"][0]["missing"] is True
    own = prepared(write(frame), target="continent", missing=["DE"])
    assert own.preprocessing["columns"][0]["categories"] == ["FR", "NA"]


class TestTargets:
    def test_codes_stay_codes(self, write):
        frame = pd.DataFrame({"x": np.arange(60) % 7, "code": ["01", "1", "1E2", "100"] * 15})
        data = prepared(write(frame), target="code")
        assert data.preprocessing["class_names"] == ["01", "1", "100", "1E2"]
        assert batch_of(data).target.tolist() == [0, 1, 3, 2] * 15

    @pytest.mark.parametrize(
        ("names", "target", "said"),
        [
            (["label", "x", "z"], "label", "the target is 'label'"),
            (["x", "Target", "label"], "Target", "the target is 'Target'"),
            (["类别", "x", "z"], "类别", "the target is '类别'"),
            (["x", "z", "kind"], "kind", "the target is the last column, 'kind'"),
        ],
    )
    def test_the_target_is_found_by_its_name_or_is_the_last_column(self, write, caplog, names, target, said):
        columns = {name: np.arange(40) % 7 + 0.5 for name in names} | {target: answers(40)}
        data = prepared(write(pd.DataFrame(columns)))
        assert data.preprocessing["target"] == {"name": target}
        assert said in caplog.text

    def test_several_real_targets_are_standardised_each(self, write):
        frame = pd.DataFrame(
            {"a": np.arange(50.0), "y1": np.arange(50) * 3.0, "y2": 7 - np.arange(50) ** 2.0}
        )
        frame.loc[3, "y2"] = None
        data = prepared(write(frame), target=["y1", "y2"], targets=["real"])
        assert data.facts()["num_outputs"] == 2
        kept = frame.drop(3)[["y1", "y2"]]
        assert data.preprocessing["target"] == {
            "names": ["y1", "y2"],
            "mean": pytest.approx(kept.mean().tolist()),
            "std": pytest.approx(kept.std(ddof=0).tolist()),
        }
        expected = (kept - kept.mean()) / kept.std(ddof=0)
        np.testing.assert_allclose(batch_of(data).target.numpy(), expected.to_numpy(), atol=1e-6)

    @pytest.mark.parametrize(
        ("cells", "options"),
        [
            (["a|b", "b", "", "c | a"], {}),
            (["a;b", "b", "", "c;a"], {"target_separator": "semicolon"}),
            (["['a', 'b']", "['b']", "[]", "['c', 'a']"], {}),
            (["['a' 'b']", "['b']", "[]", "['c'\n 'a']"], {}),
            (['["a", "b"]', '["b"]', "[]", '["c", "a"]'], {}),
        ],
    )
    def test_labels_of_one_column(self, write, cells, options):
        frame = pd.DataFrame({"x": np.arange(40) % 7, "tags": cells * 10})
        data = prepared(write(frame), target="tags", targets=["multi"], **options)
        assert data.preprocessing["class_names"] == ["a", "b", "c"]
        target = batch_of(data).target
        assert target.dtype == torch.float32
        assert target[:4].tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]]
        assert data.preprocessing["class_counts"] == [20, 20, 10]

    def test_labels_of_new_rows_are_cut_as_those_in_training(self, write):
        frame = pd.DataFrame({"x": np.arange(40) % 7, "tags": ["a, b|c", "c", "a, b", "d"] * 10})
        data = prepared(write(frame), target="tags", targets=["multi"])
        assert data.preprocessing["class_names"] == ["a, b", "c", "d"]
        # None of these cells holds what separates labels.
        new = write(pd.DataFrame({"x": [1, 2], "tags": ["a, b", "d"]}), "new.csv")
        [read] = restored(data, target="tags", targets=["multi"]).read_batches([new], 10)
        assert read.batch.target.tolist() == [[1, 0, 0], [0, 0, 1]]

    @pytest.mark.parametrize(
        "cells", [["a|b", "c", "a", "b"], ["a, b", "b", "a", "c"], ["['a']", "['b', 'a']"]]
    )
    def test_labels_that_would_be_one_class_for_each_cell_are_refused(self, write, cells):
        path = write(pd.DataFrame({"x": np.arange(40) % 7, "tags": (cells * 20)[:40]}))
        with pytest.raises(ConfigError, match=r"hold several labels, such as .*\n    type task=multilabel"):
            prepared(path, target="tags")
        whole = prepared(path, target="tags", target_separator="")
        assert whole.preprocessing["class_names"] == sorted(set(cells))

    @pytest.mark.parametrize(
        "cells", [["Portland, OR", "Portland, ME", "Bath, ME"], ["x;y", "z", "x;w", "v", "u"]]
    )
    def test_names_that_hold_a_comma_are_classes(self, write, cells):
        data = prepared(write(pd.DataFrame({"x": np.arange(30) % 7, "y": (cells * 10)[:30]})))
        assert data.preprocessing["class_names"] == sorted(cells)

    def test_lists_of_a_parquet_file_are_labels(self, write):
        frame = pd.DataFrame({"x": np.arange(40) % 7, "tags": [["a", "b"], ["b"], [], ["c", "a"]] * 10})
        data = prepared(write(frame, "table.parquet"), target="tags", targets=["multi"])
        assert batch_of(data).target[:4].tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]]

    def test_columns_of_truths_are_labels(self, write):
        frame = pd.DataFrame(
            {"x": np.arange(40) % 7, "wet": [0, 1] * 20, "loud": ["yes", "no", "no", "yes"] * 10}
        )
        data = prepared(write(frame), target=["wet", "loud"], targets=["multi"])
        assert data.preprocessing["class_names"] == ["wet", "loud"]
        assert batch_of(data).target[:4].tolist() == [[0, 1], [1, 0], [0, 0], [1, 1]]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (
                {"target": ["a", "b"]},
                "2 columns, and a class is read from one.*\n.*task=regression.*task=multilabel",
            ),
            (
                {"target": ["a", "b"], "targets": ["multi"]},
                "column 'b' holds '2' in row 3, and a label is 0 or 1",
            ),
            ({"target": ["a", "when"], "targets": ["real"]}, "column 'when' holds dates, not numbers"),
        ],
    )
    def test_columns_that_cannot_be_targets_together_are_refused(self, write, options, words):
        frame = pd.DataFrame(
            {
                "a": np.arange(40) % 2,
                "b": np.arange(40) % 3,
                "when": pd.date_range("2024-01-01", periods=40),
                "x": 1.5,
            }
        )
        with pytest.raises(ConfigError, match=words):
            prepared(write(frame), **options)


class TestSplits:
    def test_a_column_splits(self, write):
        frame = pd.DataFrame({"x": np.arange(60.0), "split": ["train", "dev", "test"] * 20, "y": answers(60)})
        data = prepared(write(frame), split_column="split", val_fraction=None, target="y")
        columns = data.preprocessing["columns"]
        assert [spec["name"] for spec in columns] == ["x"]
        for part, first in (("train", 0), ("val", 1), ("test", 2)):
            x = batch_of(data, part).inputs[:, 0] * columns[0]["std"] + columns[0]["mean"]
            assert x.round().tolist() == list(range(first, 60, 3))

    def test_files_of_their_own(self, write):
        frame = pd.DataFrame({"x": np.arange(60.0), "y": answers(60)})
        train = write(frame[:40], "train.csv")
        data = prepared(train, test_path=write(frame[40:], "test.csv"), target="y")
        (spec,) = data.preprocessing["columns"]
        assert spec["mean"] == pytest.approx(19.5)
        x = batch_of(data, "test").inputs[:, 0] * spec["std"] + spec["mean"]
        assert x.round().tolist() == list(range(40, 60))

    def test_groups_stay_together_and_time_goes_on(self, write):
        frame = pd.DataFrame(
            {"x": np.arange(60) % 9, "who": [f"p{n % 10}" for n in range(60)],
             "day": pd.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d"), "y": answers(60)}
        )  # fmt: skip
        path = write(frame)
        data = prepared(path, group="who", test_fraction=0.2, target="y")
        assert data.preprocessing["dropped"]["who"] == "says which rows stay together"
        assert data.preprocessing["counts"] == {"train": 48, "val": 0, "test": 12}
        data = prepared(path, time="day", test_fraction=0.25, target="y", drop=["who"])
        (spec,) = (spec for spec in data.preprocessing["columns"] if spec["kind"] == "date")
        assert data.preprocessing["counts"]["train"] == 45
        assert spec["origin"] == pd.Timestamp("2024-01-01").timestamp()

    def test_folds_are_disjoint_and_make_up_all_rows(self, write):
        path = write(pd.DataFrame({"x": np.arange(50.0), "y": answers(50)}))
        rows = []
        for fold in range(5):
            data = prepared(path, fold=fold, target="y")
            (spec,) = data.preprocessing["columns"]
            rows += (batch_of(data, "test").inputs[:, 0] * spec["std"] + spec["mean"]).round().tolist()
        assert sorted(rows) == list(range(50))

    def test_files_with_other_columns_are_refused(self, write):
        frame = pd.DataFrame({"x": np.arange(60.0), "z": 1.0, "y": answers(60)})
        test = write(frame[["x", "y"]], "test.csv")
        with pytest.raises(UserError, match=r"test\.csv lacks 'z', which .*train\.csv has"):
            prepared(write(frame, "train.csv"), test_path=test)


def test_id_columns_are_never_learnt_from(write):
    data = prepared(
        write(pd.DataFrame({"x": np.arange(40.0), "city": answers(40), "y": answers(40)})), id=["city"]
    )
    assert data.preprocessing["dropped"] == {"city": "named in data.id"}


def test_columns_of_a_feature_table_without_numbers_train(write):
    frame = pd.DataFrame({"city": [f"c{n % 50}" for n in range(400)], "y": answers(400)})
    data = prepared(write(frame))
    assert data.facts()["num_features"] == 0
    assert batch_of(data).inputs.shape == (400, 0)


class TestLarge:
    @pytest.fixture
    def large(self, write, monkeypatch, tmp_path):
        monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("nnkit.data.tables.base.LARGE", 0)
        rng = np.random.default_rng(0)
        frame = pd.DataFrame(
            {"x": rng.normal(size=300), "t": rng.choice(["a", "b", None], 300), "c": rng.choice([*"abcdefgh"], 300),
             "when": pd.date_range("2024-01-01", periods=300), "y": answers(300)}
        )  # fmt: skip
        return write(frame)

    def test_the_cache_holds_what_memory_would(self, large, monkeypatch, caplog):
        options = {"test_fraction": 0.2, "max_categories": 4}
        caplog.set_level(logging.INFO)
        cached = prepared(large, **options)
        said = [record.getMessage() for record in caplog.records]
        monkeypatch.setattr("nnkit.data.tables.base.LARGE", 1 << 40)
        in_memory = prepared(large, **options)
        assert cached.preprocessing == in_memory.preprocessing
        for part in ("train", "val", "test"):
            for ours, theirs in zip(batch_of(cached, part), batch_of(in_memory, part), strict=True):
                assert torch.equal(ours, theirs)
        # A later start reads no cell, and says the same.
        monkeypatch.setattr("nnkit.data.tables.base.LARGE", 0)
        monkeypatch.setattr("nnkit.data.tables.base.load_table", None)
        caplog.clear()
        again = prepared(large, **options)
        assert [record.getMessage() for record in caplog.records] == said
        assert torch.equal(batch_of(again).inputs, batch_of(cached).inputs)
        resumed = restored(cached, val_fraction=0.0, **options)
        assert torch.equal(batch_of(resumed).inputs, batch_of(cached).inputs)

    def test_other_options_and_a_changed_file_are_read_anew(self, large, write):
        first = prepared(large)
        assert prepared(large, max_categories=4).facts() != first.facts()
        path = write(pd.read_csv(large)[:200])
        assert sum(prepared(path).preprocessing["counts"].values()) == 200
        with pytest.raises(UserError, match="has changed since this run was prepared"):
            restored(first).split("train")


def test_date_format_reads_whole_numbers_and_is_said_where_no_column_has_it(write, caplog):
    days = pd.date_range("2024-01-01", periods=40)
    frame = pd.DataFrame({"d": days.strftime("%d%m%Y"), "n": range(100, 140), "y": answers(40)})
    data = prepared(write(frame), date_format="%d%m%Y")
    assert [spec["kind"] for spec in data.preprocessing["columns"]] == ["date", "number"]
    assert data.preprocessing["columns"][0]["origin"] == days[0].timestamp()
    [(_, batch)] = data.read([write(frame[5:6], "new.csv")])
    assert torch.equal(batch.inputs[0], batch_of(data).inputs[5])
    assert "data.date_format" not in caplog.text
    prepared(write(frame), date_format="%Y-%m-%d")
    assert "no column holds dates of the form data.date_format=%Y-%m-%d" in caplog.text
