"""Attributions beside closed forms."""

import torch

from nnkit.analysis.inspection.attribution import (
    integrated_gradients,
    occluded_picture,
    occlusion,
    squares,
)

WEIGHTS = torch.tensor([2.0, -1.0, 0.5, 3.0], dtype=torch.float64)


def linear(inputs):
    return inputs @ WEIGHTS + 7


def test_of_a_linear_score_each_number_adds_its_weight_times_its_change():
    x, baseline = torch.tensor([[1.0, 2.0, -4.0, 0.5]]).double(), torch.tensor([[0.5, 0, 0, 1.0]]).double()
    found = integrated_gradients(linear, x, baseline, steps=5)
    torch.testing.assert_close(found, WEIGHTS * (x - baseline)[0])


def test_of_a_product_each_factor_adds_half():
    """F = x y from (0, 0): the gradient along the path is a (y, x), its integral half of it."""
    x = torch.tensor([[3.0, 4.0]]).double()
    found = integrated_gradients(lambda inputs: inputs[:, 0] * inputs[:, 1], x, torch.zeros_like(x))
    torch.testing.assert_close(found, torch.tensor([6.0, 6.0]).double())


def test_attributions_add_up_to_the_change_of_the_score():
    generator = torch.Generator().manual_seed(1)
    layers = torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.Tanh(), torch.nn.Linear(9, 1)).double()
    x = torch.randn(1, 6, generator=generator).double()
    baseline = torch.zeros_like(x)

    def score(inputs):
        return layers(inputs)[:, 0]

    found = integrated_gradients(score, x, baseline, steps=400)
    torch.testing.assert_close(found.sum(), (score(x) - score(baseline))[0].detach(), atol=1e-5, rtol=0)


def test_what_is_lost_where_a_region_is_hidden():
    x = torch.tensor([[1.0, 2.0, -4.0, 0.5]]).double()
    regions = [torch.tensor([True, False, False, False]), torch.tensor([False, True, True, False])]
    found = occlusion(linear, x, torch.zeros_like(x), regions)
    torch.testing.assert_close(found, torch.tensor([2.0, -2.0 - 2.0]).double())


def test_more_regions_than_go_through_at_once_keep_their_order():
    x = torch.arange(40.0)[None]
    regions = list(torch.eye(40, dtype=torch.bool))
    found = occlusion(lambda inputs: inputs.sum(1), x, torch.zeros_like(x), regions)
    torch.testing.assert_close(found, x[0])


def test_squares_cover_a_picture_of_any_size():
    for height, width, side, step in ((28, 28, 6, 3), (8, 8, 2, 1), (5, 9, 4, 3), (3, 3, 5, 2)):
        seen = torch.zeros(height, width)
        for place in squares(height, width, side, step):
            seen[place] += 1
        assert seen.min() >= 1


def test_only_pixels_that_the_score_rests_on_are_missed():
    x = torch.ones(1, 1, 10, 10)

    def score(inputs):
        return inputs[:, 0, 0, 0] * 5

    found = occluded_picture(score, x, torch.zeros_like(x))
    assert found.shape == (10, 10)
    assert found[0, 0] == 5
    assert found[4:, 4:].abs().max() == 0
