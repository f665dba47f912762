import json
import logging

import numpy as np
import pytest
import torch

from nnkit.data.sampler import Draw
from nnkit.data.tables.table import Table
from nnkit.errors import ConfigError, UserError


@pytest.fixture
def write(tmp_path):
    def write(text, name="table.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return str(path)

    return write


def pets(size=60):
    rng = np.random.default_rng(3)
    rows = ["id,weight,fur,age,kind"]
    for number in range(size):
        kind = "dog" if number % 3 else "cat"
        fur = ["short", "long", ""][int(rng.integers(3))]
        age = "" if number % 10 == 0 else str(int(rng.integers(1, 15)))
        rows.append(f"{number + 1},{rng.normal(20 if number % 3 else 4):.2f},{fur},{age},{kind}")
    return "\n".join(rows) + "\n"


def prepared(path, **options):
    data = Table(path=path, **{"val_fraction": 0.1, **options})
    data.setup_data()
    return data


def everything(data, name):
    samples = data.split(name)
    return samples[Draw(None, torch.arange(len(samples)))]


def test_classes_of_a_mixed_table(write, caplog):
    data = prepared(write(pets()), batch_size=8)
    assert data.facts() == {"num_features": 6, "cardinalities": [], "num_classes": 2, "num_outputs": None}
    assert data.preprocessing["class_names"] == ["cat", "dog"]
    assert data.preprocessing["counts"] == {"train": 42, "val": 6, "test": 12}
    assert "column 'id' is left out: looks like an identifier" in caplog.text
    batch = next(iter(data.train_dataloader()))
    assert batch.inputs.shape == (8, 6)
    assert batch.inputs.dtype == torch.float32
    assert batch.target.dtype == torch.int64
    weight = everything(data, "train").inputs[:, 0]
    assert weight.mean().item() == pytest.approx(0, abs=1e-6)
    assert weight.std(correction=0).item() == pytest.approx(1, abs=1e-6)


def test_rows_keep_their_targets(write):
    data = prepared(
        write("x,y\n" + "".join(f"{i},{'ab'[i % 2]}{'' if i % 5 else 'x'}\n" for i in range(100)))
    )
    column = data.preprocessing["columns"][0]
    names = data.preprocessing["class_names"]
    for part in ("train", "val", "test"):
        batch = everything(data, part)
        for score, target in zip(batch.inputs[:, 0].tolist(), batch.target.tolist(), strict=True):
            x = round(score * column["std"] + column["mean"])
            assert names[target] == f"{'ab'[x % 2]}{'' if x % 5 else 'x'}"


def test_a_restored_run_sees_the_same_rows_and_says_nothing(write, caplog):
    path = write(pets())
    first = prepared(path, split_seed=5)
    second = Table(path=path, split_seed=6)
    caplog.clear()
    second.setup_data(json.loads(json.dumps(first.preprocessing)))
    assert not caplog.records
    for part in ("train", "val", "test"):
        ours, theirs = everything(first, part), everything(second, part)
        assert torch.equal(ours.inputs, theirs.inputs)
        assert torch.equal(ours.target, theirs.target)


def test_a_changed_file_is_refused(write):
    preprocessing = prepared(write(pets())).preprocessing
    data = Table(path=write(pets() + "61,4.0,short,3,cat\n"))
    data.setup_data(preprocessing)
    with pytest.raises(UserError, match="has changed since this run was prepared"):
        data.samples("test")


def test_real_targets_are_standardised_by_the_training_rows(write):
    path = write("a,b,price\n" + "".join(f"{i},{i * i % 13},{1000 + 7.5 * i}\n" for i in range(50)))
    data = prepared(path, target="price", targets=["real"])
    assert data.facts() == {"num_features": 2, "cardinalities": [], "num_classes": None, "num_outputs": 1}
    target = everything(data, "train").target
    assert target.shape == (35, 1)
    assert target.mean().item() == pytest.approx(0, abs=1e-6)
    assert target.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    scale = data.preprocessing["target"]
    units = (
        torch.cat([everything(data, part).target for part in ("train", "val", "test")]) * scale["std"][0]
        + scale["mean"][0]
    )
    assert sorted(units[:, 0].tolist()) == pytest.approx([1000 + 7.5 * i for i in range(50)], abs=1e-3)
    assert scale["name"] == "price"


def test_the_target_may_stand_anywhere(write, caplog):
    caplog.set_level(logging.INFO)
    path = write("y,x\n" + "".join(f"{'ab'[i % 2]},{i}\n" for i in range(30)))
    assert prepared(path, target="y").preprocessing["class_names"] == ["a", "b"]
    assert "the target is" not in caplog.text
    with pytest.raises(ConfigError, match="amounts, not classes"):
        prepared(write("z,x\n" + "".join(f"{'ab'[i % 2]},{i}.5\n" for i in range(30))))


def test_classes_that_are_numbers_stand_in_order(write):
    path = write("x,y\n" + "".join(f"{i},{[10, 9, '9.0', 2][i % 4]}\n" for i in range(40)))
    assert prepared(path).preprocessing["class_names"] == ["2", "9", "10"]


def test_columns_of_numbers_can_be_categories(write):
    path = write("code,y\n" + "".join(f"{[10, 20, 30][i % 3]},{'ab'[i % 2]}\n" for i in range(60)))
    assert prepared(path).facts()["num_features"] == 1
    assert prepared(path, categorical=["code"]).facts()["num_features"] == 3


def test_what_was_found_out_is_said(write, caplog):
    caplog.set_level(logging.INFO)
    rows = [f"{i},5;{'é' if i % 2 else 'a'};{i % 7};{'ja' if i % 3 else 'nein'}" for i in range(40)]
    rows[3] = "x,5;a;1;ja"
    rows[5] = "4,5;a;inf;ja"
    rows[7] = "4,5;a;1;"
    data = prepared(write("größe;t;t;y\n" + "\n".join(rows), encoding="latin-1"))
    assert data.preprocessing["class_names"] == ["ja", "nein"]
    for words in (
        "the target is 'y' (data.target=COLUMN names another)",
        "not in UTF-8; it is read as",
        "cells are separated by ';'",
        "a decimal comma",
        "a second column 't'; it is called 't (2)'",
        "1 of 40 rows have no target",
        "missing in 40 rows: 'größe' 1, 't (2)' 1; a number takes the median",
        "column 'größe': 1 cells are no numbers ('x,5' in row 4 is the first)",
        "column 't (2)': 1 infinite numbers count as missing",
    ):
        assert words in caplog.text
    assert sum(data.preprocessing["counts"].values()) == 39


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("x,y\n1,a\n2,b\n", {"target": "z"}, "data.target: .* has no column 'z'"),
        ("price,y\n1,a\n2,b\n", {"target": "prise"}, "did you mean data.target=price.*Its columns: price, y"),
        ("x,y\n1,a\n2,b\n", {"drop": ["w"]}, "data.drop: .* has no column 'w'"),
        ("x,y\n1,a\n2,b\n", {"drop": ["y"], "target": "y"}, "data.drop: 'y' is the target"),
        ("x,y\n1,a\n2,b\n", {"categorical": ["w"]}, "data.categorical: .* has no column 'w'"),
        ("y,x,y\n1,2,a\n", {"target": "y"}, "data.target: .* has several columns named 'y'"),
        ("x,y\n" + "1,a\n2,a\n" * 9, {}, "data.target: column 'y' has one class only, 'a'"),
        ("x,y\n1,\n2,\n", {}, "data.target: column 'y' holds no value at all"),
        (
            "x,y\n" + "".join(f"{i},{i}.5\n" for i in range(30)),
            {},
            "amounts, not classes.*\n.*task=regression",
        ),
        (
            "x,y\n" + "".join(f"{i},{i * 3}\n" for i in range(60)),
            {},
            "60 different numbers in 60 rows.*\n.*regression",
        ),
        (
            "x,y\n" + "".join(f"{i},n{i}\n" for i in range(30)),
            {},
            "30 different texts in 30 rows.*no classes",
        ),
        ("x,y\n1,a\n2,b\n3,a\n", {"targets": ["real"]}, "holds texts .*'a', 'b'.*\n.*task=classification"),
        (
            "x,y\n" + "1,2\n3,4\n" * 9 + "5,oops\n",
            {"targets": ["real"]},
            r"'oops' in row 19, not a number\n.*data.missing=\[oops\] leaves",
        ),
        ("x,y\n1,3\n2,3\n5,3\n", {"targets": ["real"]}, "holds 3 in every row"),
    ],
)
def test_wrong_columns_are_refused_with_the_key(write, text, options, words):
    with pytest.raises(ConfigError, match=words):
        prepared(write(text), **options)


def test_all_wrong_names_are_said_at_once(write):
    with pytest.raises(ConfigError) as caught:
        prepared(write("x,y\n1,a\n"), target="q", drop=["r"], categorical=["s"])
    assert [problem.key for problem in caught.value.problems] == [
        "data.target",
        "data.drop",
        "data.categorical",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("y\n" + "1.5\n2.5\n" * 3, "has one column only, 'y'.*\n.*data.delimiter=X"),
        (
            "c,y\n" + "7,a\n7,b\n" * 9,
            r"no column to learn from .*'c': the same value in all training rows: 7",
        ),
        ("x,y\n1,a\n2,b\n", "2 rows are too few: 4 are needed"),
        ("x,y\n", "column names but no rows"),
        ("x,y\n1,a\n2\n", "line 3: 1 field, the header has 2: '2'; put"),
    ],
)
def test_tables_that_teach_nothing_are_refused(write, text, words):
    with pytest.raises(UserError, match=words):
        prepared(write(text))


def test_a_name_that_is_a_number_may_come_as_one(write):
    path = write("x,z,2019,2020\n" + "".join(f"{i},{i % 5},{i % 7},{'ab'[i % 2]}\n" for i in range(20)))
    data = prepared(path, target=2020, drop=[2019])
    assert [column["name"] for column in data.preprocessing["columns"]] == ["x", "z"]


def test_a_byte_order_mark_is_no_part_of_a_name(write):
    path = write("x,y\n" + "1,a\n2,b\n" * 9, encoding="utf-8-sig")
    assert prepared(path, encoding="utf-8").preprocessing["columns"][0]["name"] == "x"


@pytest.mark.parametrize(("size", "num_val"), [(999, 0), (1000, 100)])
def test_small_tables_are_not_validated_unless_asked(write, size, num_val):
    path = write("x,y\n" + "".join(f"{i % 97},{'ab'[i % 2]}\n" for i in range(size)))
    data = prepared(path, val_fraction=None)
    assert data.preprocessing["counts"]["val"] == num_val
    assert len(data.split("val")) == num_val
    assert bool(data.val_dataloader()) == bool(num_val)


def test_a_class_that_cannot_be_tested_is_said(write, caplog):
    prepared(write("x,y\n" + "".join(f"{i % 9},{'ab'[i % 2] if i else 'q'}\n" for i in range(40))))
    assert "column 'y': trained on but never tested, as only one row has it: 'q'" in caplog.text


def test_ten_rows_train(write):
    data = prepared(write("x,y\n" + "".join(f"{i}.5,{'ab'[i % 2]}\n" for i in range(10))))
    assert data.preprocessing["counts"] == {"train": 7, "val": 1, "test": 2}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": None}, "path must name a table"),
        ({"max_categories": 0}, "max_categories must be at least 1"),
        ({"delimiter": ";;"}, "delimiter must be one character"),
        ({"encoding": "latin-99"}, "encoding must be a codec"),
        ({"targets": ["pixels"]}, "targets must contain index, real or multi"),
        ({"test_fraction": 1.5}, "test_fraction must lie"),
        ({"batch_size": 0}, "batch_size must be"),
    ],
)
def test_arguments_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Table(**{"path": "x.csv", **options})


class TestRead:
    def test_rows_are_encoded_as_in_training(self, write):
        path = write(pets())
        data = prepared(path, val_fraction=0.0, test_fraction=0.0)
        train = everything(data, "train")
        fresh = Table(path="gone.csv")
        fresh.setup_data(json.loads(json.dumps(data.preprocessing)))
        found = list(fresh.read([path]))
        assert [name for name, _ in found] == [f"{path}:{row}" for row in range(1, 61)]
        assert torch.equal(torch.cat([batch.inputs for _, batch in found]), train.inputs)
        assert found[0][1].target.tolist() == found[0][1].indices.tolist() == [0]

    def test_columns_may_come_in_any_order_and_number(self, write):
        data = prepared(write("a,b,y\n" + "".join(f"{i},{i % 4},{'pq'[i % 2]}\n" for i in range(20))))
        [(_, first)] = data.read([write("b;extra;a\n3;text;5\n", "one.csv")])
        [(_, second)] = data.read([write("a,b\n5,3\n", "two.csv")])
        assert torch.equal(first.inputs, second.inputs)

    def test_bad_rows_and_files_are_reported_and_the_rest_goes_on(self, write, tmp_path):
        data = prepared(write("a,b,y\n" + "".join(f"{i},{i % 4},{'pq'[i % 2]}\n" for i in range(20))))
        rows = write("a,b\n1,2\nabc,2\n5,inf\n,3\n", "rows.csv")
        ragged = write("a,b\n1,2\n1\n3,4\n", "ragged.csv")
        lacking = write("a,c\n1,2\n", "lacking.csv")
        found = dict(data.read(["gone.csv", rows, ragged, lacking]))
        texts = {
            name.removeprefix(str(tmp_path)): item for name, item in found.items() if isinstance(item, str)
        }
        assert texts == {
            "gone.csv": "no such file: gone.csv",
            "/rows.csv:2": "column 'a' must hold a number, not 'abc'",
            "/rows.csv:3": "column 'b' must hold a number, not 'inf'",
            "/ragged.csv": f"{ragged}, line 3: 1 field, the header has 2: '1'; put a cell that holds the delimiter "
            "into double quotes",
            "/lacking.csv": f"{lacking} lacks 1 of the 2 columns the model was trained on: b",
        }
        median = data.preprocessing["columns"][0]
        expected = (median["median"] - median["mean"]) / median["std"]
        assert found[f"{rows}:4"].inputs[0, 0].item() == pytest.approx(expected, abs=1e-6)

    def test_unseen_categories_are_said_once(self, write, caplog):
        data = prepared(write("t,y\n" + "".join(f"{'abc'[i % 3]},{'pq'[i % 2]}\n" for i in range(30))))
        caplog.clear()
        found = list(data.read([write("t\nz\nw\na\nz\n", "new.csv")]))
        assert [record.getMessage() for record in caplog.records] == [
            "column 't': 'z' is not in the training rows; it counts as other, as all do that are not there"
        ]
        assert [batch.inputs.sum().item() for _, batch in found] == [0, 0, 1, 0]

    def test_numbers_far_outside_are_said_once(self, write, caplog):
        data = prepared(write("a,y\n" + "".join(f"{i},{'pq'[i % 2]}\n" for i in range(30))))
        caplog.clear()
        found = list(data.read([write("a\n5\n5000\n-6000\n", "new.csv")]))
        assert [record.getMessage().partition(" lies")[0] for record in caplog.records] == [
            "column 'a': 5000"
        ]
        assert [batch.inputs.item() for _, batch in found][1:] == [10, -10]
