from collections import Counter

import pytest
import torch

from nnkit.data.counted_random import private_generator
from nnkit.data.splits import check_fractions
from nnkit.data.splitting import split_rows
from nnkit.errors import UserError


@pytest.mark.parametrize("classes", [None, torch.arange(100) % 3])
def test_every_row_is_in_one_part(classes):
    parts = split_rows(100, 0.1, 0.2, 7, classes)
    assert {name: len(part) for name, part in parts.items()} == {"train": 70, "val": 10, "test": 20}
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(100))


def test_the_seed_decides():
    first, again, other = (split_rows(50, 0.1, 0.2, seed)["test"].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_classes_are_dealt_out_in_proportion():
    classes = torch.tensor([0] * 600 + [1] * 300 + [2] * 100)
    for seed in range(5):
        parts = split_rows(1000, 0.1, 0.2, seed, classes)
        for name, share in (("val", 0.1), ("test", 0.2)):
            counts = Counter(classes[parts[name]].tolist())
            for label, size in ((0, 600), (1, 300), (2, 100)):
                assert abs(counts[label] - size * share) <= 1


def test_small_classes_reach_the_test_part_as_often_as_large_ones():
    classes = torch.tensor([0] * 90 + [1] * 4)
    in_test = sum(
        int((classes[split_rows(94, 0.0, 0.25, seed, classes)["test"]] == 1).sum()) for seed in range(200)
    )
    assert 0.8 < in_test / 200 < 1.2


def test_a_class_of_one_row_is_trained_on():
    classes = torch.tensor([0] * 20 + [1])
    for seed in range(20):
        assert 20 in split_rows(21, 0.1, 0.2, seed, classes)["train"].tolist()


def test_each_class_is_trained_on():
    classes = torch.arange(30) % 10
    for seed in range(20):
        train = split_rows(30, 0.1, 0.5, seed, classes)["train"]
        assert len(set(classes[train].tolist())) == 10


def test_ten_rows_fill_three_parts():
    parts = split_rows(10, 0.1, 0.2, 0, torch.arange(10) % 2)
    assert {name: len(part) for name, part in parts.items()} == {"train": 7, "val": 1, "test": 2}


def test_no_validation_part_if_none_is_wanted():
    assert len(split_rows(10, 0.0, 0.2, 0)["val"]) == 0


@pytest.mark.parametrize(
    ("rows", "classes", "words"),
    [(3, None, "3 rows are too few: 4 are needed"), (10, torch.arange(10), r"10 to train on \(10 classes\)")],
)
def test_too_few_rows_are_refused(rows, classes, words):
    with pytest.raises(UserError, match=words):
        split_rows(rows, 0.1, 0.2, 0, classes)


@pytest.mark.parametrize(
    ("val", "test", "words"),
    [
        (-0.1, 0.2, "val_fraction must lie"),
        (0.1, 1.0, "test_fraction must lie"),
        (0.5, 0.6, "at most, not 1.1"),
    ],
)
def test_fractions_that_leave_nothing_are_refused(val, test, words):
    with pytest.raises(ValueError, match=words):
        check_fractions(val, test)


@pytest.mark.parametrize("classes", [[0, 1, 1] * 20, [7] * 50 + [-1, 3, 3], list(range(300)) * 2])
def test_rows_are_dealt_out_as_a_plain_loop_does(classes):
    generator, size = private_generator(5), len(classes)
    order = torch.randperm(size, generator=generator).tolist()
    names = sorted(set(classes))
    starts = dict(zip(names, torch.rand(len(names), generator=generator, dtype=torch.float64), strict=True))
    position = {}
    for name in names:
        rows = [row for row in order if classes[row] == name]
        position |= {row: (rank + starts[name]) / len(rows) for rank, row in enumerate(rows)}
        position[rows[-1]] = 1.0
    order.sort(key=position.__getitem__)
    num_test, num_val = round(size * 0.2), round(size * 0.1)
    parts = split_rows(size, 0.1, 0.2, 5, torch.tensor(classes))
    assert parts["test"].tolist() == sorted(order[:num_test])
    assert parts["val"].tolist() == sorted(order[num_test : num_test + num_val])
    assert parts["train"].tolist() == sorted(order[num_test + num_val :])
