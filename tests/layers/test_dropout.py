"""Dropout against what it promises of its masks."""

import pytest
import torch

from nnkit.layers.dropout import Dropout, dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_as_many_numbers_go_as_asked_and_the_mean_stays(p):
    torch.manual_seed(0)
    layer = Dropout(p)
    found = layer(torch.ones(1000, 1001))
    assert (found == 0).float().mean().item() == pytest.approx(p, abs=1 / 256)
    assert found.mean().item() == pytest.approx(1, abs=0.01)
    kept = found[found != 0]
    assert (kept == kept[0]).all()


@pytest.mark.parametrize("p", [0.001, 0.002, 0.01, 0.1, 0.5, 0.999])
def test_the_share_of_zeros_is_within_five_percent_of_p_and_the_expectation_is_exact(p):
    torch.manual_seed(0)
    # In blocks, so that sums of float32 stay exact enough; 16 million numbers in all.
    blocks = [dropout(torch.ones(1000, 1001), p) for _ in range(16)]
    count = sum(block.numel() for block in blocks)
    gone = sum((block == 0).sum().item() for block in blocks) / count
    deviation = (p * (1 - p) / count) ** 0.5
    smaller = min(p, 1 - p)
    assert abs(gone - p) < 0.05 * smaller + 5 * deviation
    kept = torch.cat([block[block != 0] for block in blocks])
    assert (kept == kept[0]).all()
    # The scale belongs to the share that was really set to zero.
    assert abs(kept[0].item() * (1 - gone) - 1) < 6 * deviation / (1 - p)


def test_the_usual_probabilities_are_drawn_from_bytes_and_rare_ones_by_torch():
    inputs = torch.ones(300, 100)
    for p, is_exact in (
        (0.1, False),
        (0.2, False),
        (0.05, False),
        (0.02, False),
        (0.01, True),
        (0.999, True),
    ):
        torch.manual_seed(0)
        found = dropout(inputs, p)
        torch.manual_seed(0)
        assert torch.equal(found, torch.nn.functional.dropout(inputs, p)) == is_exact


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_none_and_all_are_exact(p):
    assert torch.equal(dropout(torch.ones(100, 100), p), torch.full((100, 100), 1 - p))


def test_numbers_go_independently_of_their_neighbours_and_rows():
    torch.manual_seed(0)
    gone = (Dropout(0.25)(torch.ones(600, 1000)) == 0).double()
    gone = gone - gone.mean()
    variance = gone.square().mean()
    for shift in ((0, 1), (0, 2), (0, 3), (1, 0), (7, 5)):
        assert abs((gone * gone.roll(shift, (0, 1))).mean() / variance) < 0.01


def test_the_gradient_passes_where_the_number_did():
    torch.manual_seed(0)
    inputs = torch.ones(50, 50, requires_grad=True)
    found = Dropout(0.5)(inputs)
    found.sum().backward()
    assert torch.equal(inputs.grad, found.detach())


def test_the_global_generator_decides_and_evaluation_leaves_all_as_it_is():
    layer, inputs = Dropout(0.5), torch.randn(20, 20)
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(layer(inputs))
    assert torch.equal(*found)
    assert not torch.equal(layer(inputs), found[0])
    assert layer.eval()(inputs) is inputs
    assert Dropout(0.0)(inputs) is inputs


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_no_probability_is_refused(p):
    with pytest.raises(ValueError, match="dropout"):
        Dropout(p)
