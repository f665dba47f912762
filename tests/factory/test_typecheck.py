"""Config values against type hints."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import pytest
import torch
from torch import Tensor, nn

from nnkit.config.hints import describe
from nnkit.factory.typecheck import UNKNOWN, MismatchError, convert

TAKEN = [
    (3, int, 3),
    (3, float, 3),
    (0.5, float, 0.5),
    ("a", str, "a"),
    (True, bool, True),
    (None, None, None),
    (None, int | None, None),
    (3, int | str, 3),
    ("3", int | str, "3"),
    (True, bool | int, True),
    (0.5, Optional[float], 0.5),  # noqa: UP045 (torch and Lightning still write it so)
    (3, Union[str, float], 3),  # noqa: UP007
    ("max", Literal["max", "min"], "max"),
    (16, Literal[16, "16"], 16),
    ([1, 2], list[int], [1, 2]),
    ([1, 2], Sequence[int], [1, 2]),
    ([], list[int], []),
    ([1, 2.5], list[float], [1, 2.5]),
    ([1, 2], tuple[int, ...], (1, 2)),
    ([0.9, 0.99], tuple[float, float], (0.9, 0.99)),
    ([0.9, 1], tuple[float | Tensor, float | Tensor], (0.9, 1)),
    ([[1, 2], [3]], list[tuple[int, ...]], [(1, 2), (3,)]),
    ({"a": 1}, dict[str, int], {"a": 1}),
    ({"a": [1]}, Mapping[str, tuple[int, ...]], {"a": (1,)}),
    ({"a": 1}, dict, {"a": 1}),
    ([1, "a"], list, [1, "a"]),
    ("a/b", Path, Path("a/b")),
    ("a/b", str | Path, "a/b"),
    (3, Annotated[int, "a count"], 3),
    # What plain YAML cannot mean is left to the constructor.
    ("x", nn.Module, "x"),
    (3, Any, 3),
    (3, "ForwardReference", 3),
    ("x", Callable[[int], int], "x"),
    (UNKNOWN, int, UNKNOWN),
    ([UNKNOWN, 3], list[int], [UNKNOWN, 3]),
]


@pytest.mark.parametrize(("value", "hint", "expected"), TAKEN)
def test_a_value_that_fits_is_taken(value, hint, expected):
    converted = convert(value, hint)
    assert converted == expected
    assert type(converted) is type(expected)


REFUSED = [
    ("a", int, "a whole number"),
    (2.5, int, "a whole number"),
    (2.0, int, "a whole number"),
    (True, int, "a whole number"),
    (True, float, "a number"),
    ("1e-3", float, "a number"),
    (3, str, "text"),
    (1, bool, "true or false"),
    ("true", bool, "true or false"),
    (None, int, "a whole number"),
    ("a", int | None, "a whole number or null"),
    (0, None, "null"),
    ("mx", Literal["max", "min"], "one of max, min"),
    (True, Literal[1, 2], "one of 1, 2"),
    ("ab", list[str], "a list of texts"),
    (["a"], list[int], "a list of whole numbers"),
    ({"a": 1}, list[int], "a list of whole numbers"),
    ("ab", Sequence[str], "a list of texts"),
    ([1], tuple[int, int], "a list of 2 whole numbers"),
    (["a", 1], tuple[int, str], "a list of 2 values"),
    ([1], dict[str, int], "a mapping"),
    ({"a": "b"}, dict[str, int], "a mapping"),
    (3, Path, "a path"),
    ("a", float | Tensor, "a number"),
    ("a", Tensor | None, "a list of numbers or null"),
    ([], Tensor, "a list of numbers"),
    ("x", nn.Module | None, "null"),
    ("c", Union[Literal["a"], Literal["b", 1], Literal["1"], None], "one of a, b, 1 or null"),  # noqa: UP007
]


@pytest.mark.parametrize(("value", "hint", "expected"), REFUSED)
def test_a_value_that_does_not_fit_is_told_what_would(value, hint, expected):
    with pytest.raises(MismatchError) as error:
        convert(value, hint)
    assert str(error.value) == expected == describe(hint)


def test_numbers_become_a_tensor_of_floats_where_one_is_wanted():
    weights = convert([1, 2.5], Tensor | None)
    assert weights.dtype == torch.float32
    assert weights.tolist() == [1.0, 2.5]
    assert convert([[1, 2], [3, 4]], Tensor).shape == (2, 2)
