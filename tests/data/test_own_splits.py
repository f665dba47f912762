"""Splits that a user settles: by group, by time, by a column, by folds, by files of their own."""

import logging

import pytest
import torch

from nnkit.data.splits import SPLITS, SplitOptions, files_of_splits, settled_by_sizes, settled_by_words
from nnkit.data.splitting import make_splits
from nnkit.errors import UserError


def lists(rows):
    return {name: part.tolist() for name, part in rows.items()}


def split(num_rows, report=None, **arguments):
    options = {
        name: arguments.pop(name)
        for name in list(arguments)
        if name not in ("classes", "groups", "times", "settled")
    }
    rows, notes = make_splits(num_rows, SplitOptions(**options), **arguments)
    if report is not None:
        report += [text for _, text in notes]
    return rows


def test_a_group_is_in_one_split_and_the_shares_are_met():
    generator = torch.Generator().manual_seed(0)
    groups = torch.randint(0, 60, (1000,), generator=generator)
    notes = []
    rows = split(1000, notes, val_fraction=0.1, test_fraction=0.2, group="patient", groups=groups)
    members = {name: set(groups[part].tolist()) for name, part in rows.items()}
    assert not members["train"] & members["test"] and not members["train"] & members["val"]
    assert not members["val"] & members["test"]
    assert sorted(torch.cat(list(rows.values())).tolist()) == list(range(1000))
    assert abs(len(rows["test"]) - 200) <= 10 and abs(len(rows["val"]) - 100) <= 10
    counts = ", ".join(
        f"{len(members[name])} for {title}"
        for name, title in zip(SPLITS, ("training", "validation", "test"), strict=True)
    )
    assert notes == [f"values of 'patient': {counts}"]


def test_groups_are_stratified_where_they_can_be():
    # 100 patients of ten rows, one in four ill.
    groups = torch.arange(100).repeat_interleave(10)
    classes = (groups % 4 == 0).long()
    for seed in range(5):
        rows = split(1000, group="g", groups=groups, classes=classes, test_fraction=0.2, split_seed=seed)
        assert int(classes[rows["test"]].sum()) == 50 and len(rows["test"]) == 200


def test_a_large_group_is_not_held_out():
    groups = torch.cat([torch.zeros(1000, dtype=torch.int64), 1 + torch.arange(200)])
    for seed in range(5):
        rows = split(1200, group="g", groups=groups, val_fraction=0.05, test_fraction=0.1, split_seed=seed)
        assert 0 in rows["train"].tolist() and (len(rows["val"]), len(rows["test"])) == (60, 120)


def test_each_split_has_a_group_however_small_its_share():
    groups = torch.arange(3).repeat_interleave(100)
    rows = split(300, group="g", groups=groups, val_fraction=0.01, test_fraction=0.01)
    assert [len(part) for part in rows.values()] == [100, 100, 100]
    with pytest.raises(
        UserError, match=r"data.group: column 'g' holds 2 different values, too few for 3 parts"
    ):
        split(200, group="g", groups=groups[:200], val_fraction=0.1, test_fraction=0.1)


def test_rows_without_a_group_are_groups_of_their_own():
    notes = []
    groups = torch.tensor([0] * 40 + [-1] * 60)
    rows = split(100, notes, group="g", groups=groups, test_fraction=0.2)
    assert len(rows["test"]) == 20
    assert notes[0] == "60 of 100 rows have no 'g'; each is a group of its own"


def test_a_class_that_is_not_trained_on_is_noted():
    notes = []
    times = torch.arange(10.0).double()
    split(10, notes, time="t", times=times, classes=(times >= 8).long(), test_fraction=0.2)
    assert "1 of 2 classes have no training row in this split" in notes


def test_the_oldest_train_and_the_newest_test():
    times = torch.randperm(100, generator=torch.Generator().manual_seed(1)).double()
    notes = []
    rows = split(100, notes, time="day", times=times, val_fraction=0.1, test_fraction=0.2)
    assert sorted(times[rows["train"]].tolist()) == list(range(70))
    assert sorted(times[rows["val"]].tolist()) == list(range(70, 80))
    assert sorted(times[rows["test"]].tolist()) == list(range(80, 100))
    assert rows["test"].tolist() == sorted(rows["test"].tolist())
    assert notes[-1] == "test rows: 'day' is 80 to 99"


def test_rows_of_one_time_stay_together():
    # The cut at 80 rows would go through the second of the three times.
    times = torch.tensor([1.0] * 50 + [2.0] * 40 + [3.0] * 10).double()
    assert [len(part) for part in split(100, time="t", times=times, test_fraction=0.2).values()] == [
        90,
        0,
        10,
    ]
    assert [len(part) for part in split(100, time="t", times=times, test_fraction=0.45).values()] == [
        50,
        0,
        50,
    ]
    both = split(100, time="t", times=times, val_fraction=0.01, test_fraction=0.01)
    assert [len(part) for part in both.values()] == [50, 40, 10]
    with pytest.raises(UserError, match="holds 2 different times, and 3 splits need one each"):
        split(90, time="t", times=times[:90], val_fraction=0.1, test_fraction=0.1)


def test_rows_without_a_time_are_left_out_and_counted():
    notes = []
    times = torch.tensor([4.0, float("nan"), 1.0, 2.0, 3.0]).double()
    rows = split(5, notes, time="t", times=times, test_fraction=0.25)
    assert lists(rows) == {"train": [2, 3, 4], "val": [], "test": [0]}
    assert notes[0] == "1 of 5 rows have no 't'; they are left out"


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_folds_are_disjoint_and_make_up_all_rows(stratified, grouped):
    classes = torch.arange(103) % 3 if stratified else None
    groups = torch.arange(103) // 4 if grouped else None
    tests = []
    for fold in range(4):
        rows = split(
            103,
            fold=fold,
            folds=4,
            val_fraction=0.1,
            classes=classes,
            groups=groups,
            group="g" if grouped else None,
        )
        assert sorted(torch.cat(list(rows.values())).tolist()) == list(range(103))
        assert abs(len(rows["val"]) - 10) <= (3 if grouped else 0)
        if grouped:
            assert len({(int(groups[row]), name) for name, part in rows.items() for row in part}) == 26
        tests.append(rows["test"])
    assert sorted(torch.cat(tests).tolist()) == list(range(103))
    assert max(map(len, tests)) - min(map(len, tests)) <= (4 if grouped else 1)
    if stratified and not grouped:
        for test in tests:
            assert max(abs(count - 103 / 12) for count in torch.bincount(classes[test]).tolist()) < 1


def test_folds_follow_from_the_split_seed_alone():
    once = split(60, fold=1, folds=3, val_fraction=0.1)
    assert torch.equal(once["test"], split(60, fold=1, folds=3, val_fraction=0.3, test_fraction=0.5)["test"])
    assert not torch.equal(once["test"], split(60, fold=1, folds=3, split_seed=1)["test"])
    with pytest.raises(UserError, match="3 rows are too few for 5 folds"):
        split(3, fold=0)


def test_a_column_settles_the_split():
    words = ["Train", "dev", "TESTING", "训练", " test "]
    codes = torch.tensor([0, 1, 2, -1, 3, 0, 4])
    settled = settled_by_words(codes, words, "set")
    notes = []
    rows = split(7, notes, split_column="set", settled=settled, val_fraction=0.5, test_fraction=0.4)
    assert lists(rows) == {"train": [0, 4, 5], "val": [1], "test": [2, 6]}
    assert notes == ["1 of 7 rows have no 'set'; they are left out"]


def test_what_a_column_lacks_is_taken_from_its_training_rows():
    settled = settled_by_words(torch.tensor([0] * 8 + [1] * 2), ["train", "test"], "set")
    rows = split(10, split_column="set", settled=settled, val_fraction=0.25, test_fraction=0.5)
    assert rows["test"].tolist() == [8, 9]
    assert len(rows["val"]) == 2 and len(rows["train"]) == 6


def test_other_words_are_refused_with_those_found():
    with pytest.raises(
        UserError, match=r"column 'set' holds 'a' \(2 rows\), 'b' \(1 rows\), which are no splits"
    ):
        settled_by_words(torch.tensor([0, 1, 1, 2]), ["train", "a", "b"], "set")
    with pytest.raises(UserError, match="no row of column 'set' is for training"):
        settled_by_words(torch.tensor([0, 0]), ["test"], "set")


def test_files_of_their_own_settle_the_split():
    settled = settled_by_sizes({"train": 4, "test": 2})
    rows = split(6, settled=settled, val_fraction=0.25, test_fraction=0.2)
    assert rows["test"].tolist() == [4, 5]
    assert sorted(rows["train"].tolist() + rows["val"].tolist()) == [0, 1, 2, 3] and len(rows["val"]) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fold": 5}, r"fold must lie from 0 to 4 \(folds=5\), not 5"),
        ({"folds": 1}, "folds must be at least 2"),
        ({"fold": 0, "split_column": "s"}, "fold holds one fold out and split_column reads the split from"),
        ({"fold": 0, "time": "t"}, "fold holds one fold out and time holds the newest rows out"),
        ({"group": "g", "time": "t"}, "group keeps the rows of a value together and time holds"),
        ({"group": "g", "split_column": "s"}, "group keeps the rows of a value together and split_column"),
        ({"fold": 0, "test_path": "t.csv"}, "fold holds one fold out and test_path names the test rows"),
        (
            {"split_column": "s", "val_path": "t.csv"},
            "split_column .* and val_path names the validation rows",
        ),
        ({"split_column": "s", "time": "t"}, "split_column .* and time holds"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        SplitOptions.of(options)


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train.csv", "test.csv", "README.md"], {"train": "train.csv", "test": "test.csv"}),
        (["Training/a.csv", "dev/a.csv", "test/a.csv"], {"train": "Training", "val": "dev", "test": "test"}),
        (
            [
                "train-00000-of-00002.parquet",
                "train-00001-of-00002.parquet",
                "validation-00000-of-00001.parquet",
            ],
            {"train": "train-*.parquet", "val": "validation-*.parquet"},
        ),
        (
            ["README.md", "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"],
            {"train": "data/train-*.parquet", "test": "data/test-*.parquet"},
        ),
    ],
)
def test_a_folder_may_hold_a_file_for_each_split(tmp_path, names, expected):
    touch(tmp_path, *names)
    files, notes = files_of_splits(str(tmp_path), None, None, None)
    assert files == {split: str(tmp_path / name) for split, name in expected.items()}
    assert [level for level, _ in notes] == [logging.INFO]


def test_a_folder_without_splits_is_one_table(tmp_path):
    touch(tmp_path, "a.csv", "train.csv", "trainees.csv")
    assert files_of_splits(str(tmp_path), None, None, None) == ({"train": str(tmp_path)}, [])


def test_other_files_beside_the_splits_are_named(tmp_path):
    touch(tmp_path, "train.csv", "test.csv", "sample_submission.csv")
    _, notes = files_of_splits(str(tmp_path), None, None, None)
    assert notes[1] == (
        logging.WARNING,
        f"{tmp_path}: left out, as it is named for no split: sample_submission.csv",
    )


def test_files_that_contradict_each_other_are_refused(tmp_path):
    touch(tmp_path, "train.csv", "test.csv", "test.parquet")
    with pytest.raises(
        UserError, match=r"holds test.csv, test.parquet: name the test rows with data.test_path"
    ):
        files_of_splits(str(tmp_path), None, None, None)
    with pytest.raises(UserError, match="cannot hold the training and the test rows"):
        files_of_splits("a.csv", None, None, "./a.csv")
    with pytest.raises(UserError, match=r"data.path names the training rows already"):
        files_of_splits("a.csv", "b.csv", None, None)
    with pytest.raises(UserError, match=r"data.path: name the file"):
        files_of_splits(None, None, None, "b.csv")
    assert files_of_splits(None, "a.csv", "v.csv", None) == ({"train": "a.csv", "val": "v.csv"}, [])
