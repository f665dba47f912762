"""The RBF output of LeNet-5."""

import pytest
import torch

from nnkit.heads.rbf import RBF, digit_codes


def test_outputs_are_minus_the_squared_distances():
    head = RBF(84, 10)
    features = torch.randn(5, 84)
    expected = [
        [-sum((f - c) ** 2 for f, c in zip(row, code, strict=True)) for code in digit_codes()]
        for row in features
    ]
    torch.testing.assert_close(head(features), torch.tensor(expected))


def test_the_largest_output_is_the_nearest_code_even_with_six_pixels_flipped():
    codes = digit_codes()
    noisy = codes.repeat(20, 1)
    generator = torch.Generator().manual_seed(0)
    for row in noisy:
        row[torch.randperm(84, generator=generator)[:6]] *= -1
    assert torch.equal(RBF(84, 10)(noisy).argmax(1), torch.arange(10).repeat(20))


def test_codes_are_bitmaps_of_plus_and_minus_one_that_differ_clearly():
    codes = digit_codes()
    assert codes.shape == (10, 84)
    assert torch.equal(codes.abs(), torch.ones(10, 84))
    differing = (codes.unsqueeze(1) != codes).sum(-1) + 84 * torch.eye(10, dtype=torch.int64)
    assert differing.min() >= 14


def test_codes_are_neither_trained_nor_counted():
    assert list(RBF(84, 10).parameters()) == []


def test_probabilities_sum_to_one():
    head = RBF(84, 10)
    probabilities = head.probabilities(head(digit_codes()))
    torch.testing.assert_close(probabilities, torch.eye(10), atol=1e-6, rtol=0)


def test_refuses_other_than_ten_digits_and_84_features():
    with pytest.raises(ValueError, match=r"num_classes must be 10, .*, not 26"):
        RBF(84, 26)
    with pytest.raises(ValueError, match=r"dim_in must be 84, .*, not 100"):
        RBF(100, 10)
