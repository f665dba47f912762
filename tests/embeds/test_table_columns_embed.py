"""Vectors of categories against torch's own lookup."""

import pytest
import torch
from torch.nn import functional

from nnkit.embeds.table import TableColumns, width_of


def test_vectors_of_the_categories_follow_the_numbers():
    torch.manual_seed(0)
    embed = TableColumns(num_features=2, cardinalities=[40, 300])
    inputs, categories = torch.randn(5, 2), torch.tensor([[0, 299], [39, 0], [1, 2], [1, 3], [7, 7]])
    found = [
        functional.one_hot(categories[:, n], size).float() @ embed.vectors[n].weight
        for n, size in ((0, 40), (1, 300))
    ]
    torch.testing.assert_close(embed(inputs, categories), torch.cat([inputs, *found], dim=1))
    assert embed.dim_out == 2 + 13 + 39


def test_without_categories_rows_stay_as_they_are_and_nothing_is_learnt():
    state = torch.random.get_rng_state()
    embed = TableColumns(num_features=3)
    inputs = torch.randn(4, 3)
    assert embed(inputs) is inputs
    assert (embed.dim_out, list(embed.parameters())) == (3, [])
    torch.random.set_rng_state(state)
    TableColumns(num_features=3)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(("size", "width"), [(1, 2), (2, 2), (10, 6), (100, 21), (1000, 50), (50_000, 50)])
def test_widths_follow_the_published_rule(size, width):
    """fastai's `emb_sz_rule`, capped at 50."""
    assert width_of(size) == width == min(50, round(1.6 * size**0.56))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0,), "num_features must be at least 1"),
        ((-1,), "at least 0"),
        ((2, [3, 0]), "cardinalities must hold numbers"),
    ],
)
def test_what_cannot_be_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        TableColumns(*arguments)
