"""Sentences that name some of many."""

import pytest

from nnkit.suggest import some_of


@pytest.mark.parametrize(
    ("count", "joint", "expected"),
    [
        (0, ", ", ""),
        (2, ", ", "0, 1"),
        (3, ", ", "0, 1, 2"),
        (4, ", ", "0, 1, 2 and 1 more"),
        (1503, ", ", "0, 1, 2 and 1,500 more"),
        (5, "\n  ", "0\n  1\n  2\n  and 2 more"),
    ],
)
def test_the_first_are_named_and_the_others_counted(count, joint, expected):
    assert some_of(range(count), 3, joint) == expected
