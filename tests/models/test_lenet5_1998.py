"""LeNet-5 of the paper."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from nnkit.heads.rbf import RBF
from nnkit.models.lenet5_1998 import LeNet1998, Subsampling, TableConvolution, scaled_tanh

# The paper's Table I read along its columns: the maps of S2 that each map of C3 sees.
SEES = [
    *([i % 6, (i + 1) % 6, (i + 2) % 6] for i in range(6)),
    *([i % 6, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6] for i in range(6)),
    [0, 1, 3, 4],
    [1, 2, 4, 5],
    [0, 2, 3, 5],
    [0, 1, 2, 3, 4, 5],
]


def c3_by_a_loop(c3, maps):
    """Sum the real kernels of each output map one by one."""
    outputs, kernel = [], 0
    for bias, seen in zip(c3.bias, SEES, strict=True):
        total = bias.expand(len(maps), 1, 10, 10)
        for source in sorted(seen):
            total = total + functional.conv2d(
                maps[:, source : source + 1], c3.weight[kernel].view(1, 1, 5, 5)
            )
            kernel += 1
        outputs.append(total)
    return torch.cat(outputs, 1)


def test_has_exactly_60000_trainable_parameters_in_the_papers_layers():
    body = LeNet1998(1)
    sizes = {name: sum(p.numel() for p in layer.parameters()) for name, layer in body.named_children()}
    assert sizes == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}
    assert sum(sizes.values()) + sum(p.numel() for p in RBF(body.dim_out, 10).parameters()) == 60_000


def test_c3_equals_a_loop_over_the_table_outputs_and_gradients():
    c3 = LeNet1998(1).c3
    maps = torch.randn(3, 6, 14, 14, requires_grad=True)
    slopes = torch.randn(3, 16, 10, 10)
    results = []
    for outputs in (c3(maps), c3_by_a_loop(c3, maps)):
        results.append([outputs, *torch.autograd.grad(outputs, [maps, c3.weight, c3.bias], slopes)])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-5)


def test_kernels_are_stored_output_by_output():
    conv = TableConvolution(("X.X", ".XX"), kernel_size=1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, 10.0, 100.0, 1000.0]).view(4, 1, 1))
        conv.bias.zero_()
    assert conv(torch.tensor([1.0, 2.0]).view(1, 2, 1, 1)).flatten().tolist() == [1.0, 20.0, 100.0 + 2000.0]


def test_subsampling_adds_four_pixels_scales_shifts_and_squashes():
    layer = Subsampling(2)
    maps = torch.randn(3, 2, 4, 6)
    halved = layer(maps)
    assert halved.shape == (3, 2, 2, 3)
    for channel in range(2):
        total = maps[1, channel, 2:4, 4:6].sum().item()
        activation = layer.coefficient[channel].item() * total + layer.bias[channel].item()
        assert halved[1, channel, 1, 2].item() == pytest.approx(
            1.7159 * math.tanh(2 / 3 * activation), abs=1e-6
        )


def test_scaled_tanh_maps_one_to_one_and_is_odd():
    assert scaled_tanh(torch.tensor([-1.0, 0.0, 1.0])).tolist() == pytest.approx([-1.0, 0.0, 1.0], abs=1e-4)


def test_the_whole_body_equals_the_papers_formulas():
    body = LeNet1998(1)
    pictures = torch.randn(2, 1, 32, 32)

    def subsampled(maps, layer):
        sums = maps[..., ::2, ::2] + maps[..., ::2, 1::2] + maps[..., 1::2, ::2] + maps[..., 1::2, 1::2]
        return squash(sums * layer.coefficient.view(1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1))

    def squash(inputs):
        return 1.7159 * torch.tanh(2 * inputs / 3)

    maps = subsampled(squash(functional.conv2d(pictures, body.c1.weight, body.c1.bias)), body.s2)
    maps = subsampled(squash(c3_by_a_loop(body.c3, maps)), body.s4)
    maps = squash(functional.conv2d(maps, body.c5.weight.view(120, 16, 5, 5), body.c5.bias))
    expected = squash(functional.linear(maps.flatten(1), body.f6.weight, body.f6.bias))
    torch.testing.assert_close(body(pictures), expected, atol=1e-5, rtol=1e-5)


def test_weights_start_within_the_papers_bounds_and_fill_them():
    body = LeNet1998(1)
    bounds = {"c1": 2.4 / 25, "c5": 2.4 / 400, "f6": 2.4 / 120}
    for name, bound in bounds.items():
        weight = getattr(body, name).weight.abs()
        assert 0.8 * bound < weight.max() <= bound
    kernel = 0
    for seen in SEES:
        bound = 2.4 / (25 * len(seen))
        largest = body.c3.weight[kernel : kernel + len(seen)].abs().max()
        assert 0.8 * bound < largest <= bound
        kernel += len(seen)


def test_a_fit_to_one_batch_reaches_the_codes():
    torch.manual_seed(0)
    network = nn.Sequential(LeNet1998(1), RBF(84, 10))
    pictures, target = torch.randn(10, 1, 32, 32), torch.arange(10)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(network(pictures), target).backward()
        optimizer.step()
    assert torch.equal(network(pictures).argmax(1), target)


def test_refuses_no_channels():
    with pytest.raises(ValueError, match="dim_in must be at least 1, not 0"):
        LeNet1998(0)
