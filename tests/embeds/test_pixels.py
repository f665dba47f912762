"""Padding and resizing of pictures."""

import numpy
import pytest
import torch
from PIL import Image

from nnkit.embeds.pixels import Pixels


def test_mnist_is_centred_on_its_own_background():
    pictures = torch.full((2, 1, 28, 28), -0.42)
    pictures[:, :, 5:23, 5:23] = torch.randn(2, 1, 18, 18)
    padded = Pixels(1, size=32)(pictures)
    expected = torch.full((2, 1, 32, 32), -0.42)
    expected[:, :, 2:30, 2:30] = pictures
    assert torch.equal(padded, expected)


def test_odd_difference_and_oblong_pictures_are_padded_to_the_square():
    pictures = torch.randn(1, 3, 27, 30)
    padded = Pixels(3, size=32)(pictures)
    assert padded.shape == (1, 3, 32, 32)
    assert torch.equal(padded[:, :, 2:29, 1:31], pictures)
    assert torch.equal(padded[:, :, 0, 1:31], pictures[:, :, 0])


def test_much_smaller_pictures_are_enlarged_as_pillow_enlarges_them():
    picture = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    enlarged = Pixels(1, size=32)(picture.view(1, 1, 8, 8))
    pillow = Image.fromarray(picture.numpy()).resize((32, 32), Image.Resampling.BILINEAR)
    torch.testing.assert_close(enlarged[0, 0], torch.from_numpy(numpy.array(pillow)), atol=1e-5, rtol=0)


def test_larger_pictures_are_shrunk_with_smoothing_as_pillow_shrinks_them():
    picture = torch.rand(100, 64, generator=torch.Generator().manual_seed(0))
    shrunk = Pixels(1, size=32)(picture.view(1, 1, 100, 64))
    pillow = Image.fromarray(picture.numpy()).resize((32, 32), Image.Resampling.BILINEAR)
    torch.testing.assert_close(shrunk[0, 0], torch.from_numpy(numpy.array(pillow)), atol=1e-5, rtol=0)


def test_without_a_size_pictures_stay_as_they_are():
    pictures = torch.randn(2, 3, 5, 9)
    result = Pixels(3)(pictures)
    assert torch.equal(result, pictures)
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("arguments", "name"), [({"in_channels": 0}, "in_channels"), ({"size": 0}, "size")])
def test_refuses_sizes_below_one(arguments, name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
        Pixels(**{"in_channels": 1, **arguments})
