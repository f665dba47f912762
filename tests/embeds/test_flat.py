"""Flattening."""

import pytest
import torch

from nnkit.embeds.flat import Flat


def test_keeps_row_major_order():
    inputs = torch.arange(24.0).view(2, 3, 2, 2)
    embed = Flat(shape=[3, 2, 2])
    assert embed.dim_out == 12
    assert torch.equal(embed(inputs), torch.arange(24.0).view(2, 12))


def test_refuses_an_empty_dimension():
    with pytest.raises(ValueError, match=r"shape must hold numbers of at least 1, not \[3, 0\]"):
        Flat(shape=[3, 0])
