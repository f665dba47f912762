"""Patches against a picture cut in loops."""

import pytest
import torch

from nnkit.embeds.patches import Patches


@pytest.mark.parametrize(("height", "width", "size"), [(8, 8, 4), (5, 7, 3), (2, 9, 4), (4, 4, 1)])
def test_patches_are_cut_as_a_loop_cuts_them(height, width, size):
    torch.manual_seed(0)
    embed = Patches(2, patch_size=size, dim=5)
    pictures = torch.randn(3, 2, height, width)
    vectors = embed(pictures)
    rows, columns = -(-height // size), -(-width // size)
    assert vectors.shape == (3, rows * columns, 5)
    for sample in range(3):
        for row in range(rows):
            for column in range(columns):
                patch = torch.zeros(2, size, size)
                cut = pictures[sample, :, row * size : (row + 1) * size, column * size : (column + 1) * size]
                patch[:, : cut.shape[1], : cut.shape[2]] = cut
                expected = embed.linear(patch.flatten())
                place = row * columns + column
                torch.testing.assert_close(vectors[sample, place], expected, atol=1e-5, rtol=1e-5)


def test_it_says_what_it_puts_out():
    assert Patches(3, patch_size=2, dim=6).dim_out == 6


@pytest.mark.parametrize("wrong", [{"in_channels": 0}, {"patch_size": 0}, {"dim": 0}])
def test_what_cannot_be_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        Patches(**{"in_channels": 1, **wrong})
