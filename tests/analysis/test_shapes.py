"""Walking a network: counted against papers and by hand."""

import pytest
import torch
from torch import nn

from nnkit.analysis.shapes import (
    ShapeError,
    counting_saved,
    example_batch,
    network_layers,
    walk,
    without_values,
)
from nnkit.config import compose
from nnkit.errors import UserError
from nnkit.network import Network


def by_name(layers):
    return {layer.name: layer for layer in layers}


def test_lenet5_has_the_connections_of_its_paper():
    # LeCun et al. 1998: C1 has 122,304 connections, 6 x 28 x 28 of them to biases; C5 48,120; F6 10,164.
    layers = by_name(network_layers(compose(["model=lenet5_1998", "data=mnist"]).config))
    assert layers["body.c1"].multiply_adds == 122_304 - 6 * 28 * 28
    assert layers["body.c5"].multiply_adds == 48_120 - 120
    assert layers["body.f6"].multiply_adds == 10_164 - 84
    assert layers["body.c3"].trainable == 1_516
    assert layers["body.s2"].trainable == 12
    assert sum(layer.trainable for layer in layers.values()) == 60_000
    assert layers["body.s4"].output == (1, 16, 5, 5)
    assert list(layers) == [
        f"body.{name}" if name != "embed" else name for name in ["embed", "c1", "s2", "c3", "s4", "c5", "f6"]
    ] + ["head"]


@pytest.mark.parametrize(
    "words", [["model=cnn", "data=digits"], ["model=mlp", "data=iris"], ["model=lenet5"]]
)
def test_meta_and_cpu_agree_and_parameters_add_up(words):
    from nnkit.factory import build_network

    config = compose(words).config
    meta = network_layers(config, size=3)
    network = build_network(config).eval()
    assert walk(network, example_batch(config, 3, "cpu").inputs) == meta
    assert sum(layer.trainable for layer in meta) == sum(p.numel() for p in network.parameters())


def test_multiply_adds_grow_with_the_batch():
    config = compose(["model=cnn", "data=digits"]).config
    one, five = (sum(layer.multiply_adds for layer in network_layers(config, size)) for size in (1, 5))
    assert five == 5 * one > 0


class Twice(nn.Module):
    """Calls one layer twice, and holds a parameter beside it."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(4))
        self.table = nn.Parameter(torch.ones(4, 4), requires_grad=False)

    def forward(self, inputs):
        return self.inner(self.inner(inputs)) @ self.table * self.scale


def test_a_layer_called_twice_is_counted_once_and_own_work_is_not_lost():
    first, second, outer = walk(Twice(), torch.zeros(2, 4))
    assert (first.trainable, second.trainable) == (4 * 4 + 4, 0)
    assert first.multiply_adds == second.multiply_adds == outer.multiply_adds == 2 * 4 * 4
    assert (outer.name, outer.trainable, outer.frozen) == ("", 4, 16)


def test_the_layer_that_refuses_its_input_is_named():
    config = compose(["model=lenet5", "data=mnist", "model.embeds.pictures.size=20"]).config
    with pytest.raises(ShapeError, match=r"layer body\.c5 \(Linear\) refuses 1 x 64: ") as error:
        network_layers(config)
    assert isinstance(error.value, UserError)


def test_hooks_are_gone_afterwards():
    network = Network(nn.Flatten(), nn.Linear(4, 3), nn.Linear(2, 2))
    with pytest.raises(ShapeError):
        walk(network, torch.zeros(1, 4))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_what_looks_at_values_is_computed_on_the_cpu():
    devices = []

    def compute(device):
        devices.append(device)
        return float(torch.ones(2, device=device).sum())

    assert without_values(compute) == 2.0
    assert devices == ["meta", "cpu"]
    with pytest.raises(RuntimeError, match="broadcast"):
        without_values(lambda device: torch.zeros(2, device=device) + torch.zeros(3, device=device))


@pytest.mark.parametrize(
    ("words", "inputs", "target"),
    [
        (["data=mnist"], (5, 1, 28, 28), torch.int64),
        (["data=iris"], (5, 4), torch.int64),
        (["data=diabetes"], (5, 10), torch.float32),
    ],
)
def test_an_example_is_like_a_batch_of_the_data(words, inputs, target):
    config = compose(words).config
    batch = example_batch(config, 5, "cpu")
    assert batch.inputs.shape == inputs
    assert batch.inputs.dtype == torch.float32
    assert batch.target.dtype == target
    assert len(batch.target) == len(batch.indices) == 5
    if target == torch.int64:
        assert 0 <= batch.target.min() <= batch.target.max() < config.data.num_classes


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_bytes_kept_for_the_backward_pass(device):
    with torch.device(device):
        network = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
        inputs = torch.zeros(7, 10)
    with counting_saved(network) as saved:
        network(inputs)
    # The first layer keeps its input, ReLU its output, which is the second layer's input: weights are there anyway.
    assert saved() == 4 * 7 * (10 + 20)
