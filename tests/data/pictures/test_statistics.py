import numpy as np
import pytest
import torch

from nnkit.data.pictures.base import normalisation, picture_statistics

PIXELS = np.random.default_rng(0).integers(0, 256, (50, 3, 6, 5), dtype=np.uint8)


def test_mean_and_std_are_those_of_all_pixels():
    learnt = normalisation(torch.from_numpy(picture_statistics(PIXELS)), 30)
    scaled = PIXELS / 255
    assert learnt["mean"] == pytest.approx(scaled.mean(axis=(0, 2, 3)))
    assert learnt["std"] == pytest.approx(scaled.std(axis=(0, 2, 3)))


def test_brightness_is_that_of_pictures_and_of_their_outermost_pixels():
    learnt = normalisation(torch.from_numpy(picture_statistics(PIXELS)), 30)["brightness"]
    means = PIXELS.mean(axis=(1, 2, 3))
    frame = np.ones((6, 5), bool)
    frame[1:-1, 1:-1] = False
    borders = PIXELS[:, :, frame].mean(axis=(1, 2))
    assert learnt["picture"] == pytest.approx([means.mean(), means.std()])
    assert learnt["border"] == pytest.approx([borders.mean(), borders.std()])


def test_pictures_nobody_looked_at_do_not_count():
    statistics = torch.from_numpy(picture_statistics(PIXELS))
    holes = statistics.clone()
    holes[10:] = torch.nan
    assert normalisation(holes, 30) == normalisation(statistics[:10], 30)


def test_a_channel_that_never_changes_is_not_divided_by_zero():
    learnt = normalisation(torch.from_numpy(picture_statistics(np.full((4, 1, 3, 3), 9, np.uint8))), 9)
    assert learnt["std"] == [1.0]
