"""LoRA against W + (alpha / r) B A written out and against the library peft; what is adapted, and what is refused."""

import copy

import pytest
import torch
from torch import nn

from nnkit.adapters.bitfit import BitFit
from nnkit.adapters.lora import LoRA, is_added, merge
from nnkit.errors import ConfigError
from nnkit.layers.packed import PackedLinear
from nnkit.models.bert import BERT
from nnkit.network import Network

PACKED = {"query": 4, "key": 2, "value": 4}


def network_of(*layers):
    return Network(nn.Identity(), nn.Sequential(*layers), nn.Linear(4, 2))


def adapted(network, **options):
    """Adapt it, with matrices B that are not zero."""
    LoRA(**options).adapt(network)
    for name, parameter in network.named_parameters():
        if name.endswith("lora_b"):
            nn.init.normal_(parameter)
    return network


def written_out(network, name, scale):
    """Return W + (alpha / r) B A of a layer that is not packed and has no groups."""
    layer = network.get_submodule(name)
    product = layer.lora_b.flatten(1) @ layer.lora_a.flatten(1)
    return layer.weight + scale * product.view(layer.weight.shape)


def test_a_linear_layer_computes_with_the_sum():
    network = adapted(network_of(nn.Linear(6, 4)), rank=3, alpha=12)
    layer, inputs = network.body[0], torch.randn(5, 7, 6)
    expected = nn.functional.linear(inputs, written_out(network, "body.0", 4), layer.bias)
    assert layer.lora_a.shape == (3, 6)
    torch.testing.assert_close(layer(inputs), expected)


@pytest.mark.parametrize("targets", [None, ["*.query", "*.value"], ["*.key"]])
def test_gradients_are_those_of_the_sum(targets):
    layer = adapted(network_of(PackedLinear(6, PACKED)), rank=2, alpha=6, targets=targets).body[0]
    inputs = torch.randn(5, 7, 6, requires_grad=True)
    learnt = [inputs, layer.lora_a, layer.lora_b]
    whole = nn.functional.linear(inputs, layer.weight + layer.change(), layer.bias)
    expected = torch.autograd.grad(whole.sin().sum(), learnt)
    # As while training, and as where something draws or computes in less precision.
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found = torch.autograd.grad(layer(inputs).float().sin().sum(), learnt)
        for one, other in zip(found, expected, strict=True):
            assert (one - other).abs().max() <= other.abs().max() * (0.1 if autocast else 1e-5)
    torch.testing.assert_close(layer(inputs), whole)
    with torch.no_grad():
        torch.testing.assert_close(layer(inputs), whole)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1), (2, 3, 8, 8)),
        (
            lambda: nn.Conv2d(3, 4, (3, 2), dilation=2, padding="same", padding_mode="reflect", bias=False),
            (2, 3, 9, 7),
        ),
        (lambda: nn.Conv1d(3, 4, 5), (2, 3, 11)),
    ],
)
def test_a_convolution_computes_with_the_sum(layer, shape):
    network = adapted(network_of(layer()), targets=["body"], rank=2, alpha=1)
    layer, inputs = network.body[0], torch.randn(shape)
    expected = layer._conv_forward(inputs, written_out(network, "body.0", 0.5), layer.bias)
    torch.testing.assert_close(layer(inputs), expected, rtol=1e-5, atol=1e-5)


def test_each_part_of_a_packed_layer_has_matrices_of_its_own():
    packed = PackedLinear(6, PACKED)
    network = adapted(network_of(packed), rank=2, alpha=4, targets=["*.query", "*.value"])
    layer = network.body[0]
    assert layer.lora_a.shape == (4, 6)
    changes = [b @ a for b, a in zip(layer.lora_b.split([4, 4]), layer.lora_a.split(2), strict=True)]
    change = torch.cat([changes[0], torch.zeros(2, 6), changes[1]])
    inputs = torch.randn(3, 6)
    torch.testing.assert_close(layer(inputs), packed(inputs) + 2 * inputs @ change.T)
    whole = adapted(network_of(PackedLinear(6, PACKED)), targets=["body.0"], rank=2)
    assert whole.body[0].parts == [*PACKED]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.Linear(6, 4, bias=False), (3, 6)),
        (lambda: PackedLinear(6, PACKED), (3, 6)),
        (lambda: nn.Conv2d(4, 6, 3, groups=2), (2, 4, 5, 5)),
        (lambda: nn.Conv1d(4, 4, 3, groups=4, padding=1, bias=False), (2, 4, 9)),
    ],
)
def test_merged_equals_unmerged(layer, shape):
    plain = layer()
    network = adapted(network_of(copy.deepcopy(plain)), targets=["body"], rank=2)
    inputs = torch.randn(shape)
    before = network.body(inputs)
    assert not torch.allclose(before, plain(inputs))
    merge(network)
    assert type(network.body[0]) is type(plain)
    assert network.state_dict().keys() == network_of(layer()).state_dict().keys()
    torch.testing.assert_close(network.body(inputs), before, rtol=1e-5, atol=1e-5)


def bert():
    return Network(nn.Identity(), BERT(8, dim=8, num_layers=2, num_heads=2, dropout=0.0), nn.Linear(8, 3))


def test_by_default_all_linear_layers_of_the_body_are_adapted_and_nothing_else_is_trained_but_the_head():
    network = bert()
    before = network(inputs := torch.randn(2, 5, 8))
    names = {name for name, _ in network.named_parameters()}
    LoRA(rank=2).adapt(network)
    # B is zero.
    assert torch.equal(network(inputs), before)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    added = {name for name, _ in network.named_parameters()} - names
    assert trained == added | {"head.weight", "head.bias"}
    assert added == {name for name in trained if is_added(name)}
    linear = [name for name in names if name.startswith("body.") and name.endswith("weight")]
    linear = [name for name in linear if "norm" not in name and "positions" not in name]
    assert {name.rpartition(".")[0] for name in added} == {name.rpartition(".")[0] for name in linear}
    network(inputs).sum().backward()
    frozen = [parameter for parameter in network.parameters() if not parameter.requires_grad]
    assert all(parameter.grad is None for parameter in frozen)


def test_dropout_acts_on_what_a_reads_while_training():
    layer = adapted(network_of(nn.Linear(6, 4)), dropout=0.5).body[0]
    first, *others = layer(inputs := torch.ones(64, 6))
    assert not all(torch.allclose(first, other) for other in others)
    first, *others = layer.eval()(inputs)
    assert all(torch.allclose(first, other) for other in others)


def test_it_equals_peft():
    peft = pytest.importorskip("peft", reason="pip install peft compares with it")
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    ours = adapted(network_of(*copy.deepcopy(plain)), rank=2, alpha=6)
    config = peft.LoraConfig(r=2, lora_alpha=6, target_modules=["0", "2"])
    theirs = peft.get_peft_model(plain, config)
    for number in (0, 2):
        layer = theirs.base_model.model[number]
        layer.lora_A["default"].weight.data.copy_(ours.body[number].lora_a)
        layer.lora_B["default"].weight.data.copy_(ours.body[number].lora_b)
    inputs = torch.randn(3, 6)
    torch.testing.assert_close(ours.body(inputs), theirs(inputs))
    for network in (ours.body, theirs):
        network(inputs).square().sum().backward()
    for number in (0, 2):
        layer = theirs.base_model.model[number]
        gradients = ours.body[number].lora_a.grad, layer.lora_A["default"].weight.grad
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
        gradients = ours.body[number].lora_b.grad, layer.lora_B["default"].weight.grad
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (["*.quary"], r"'\*\.quary' names no linear layer or convolution .*\n.*did you mean \*\.query\?"),
        (["bdoy"], r"'bdoy' names no linear layer or convolution .*\n.*did you mean body\?"),
        # The head is trained whole.
        (["head"], r"'head' names no linear layer"),
    ],
)
def test_targets_that_do_not_exist_are_mistakes(targets, said):
    with pytest.raises(ConfigError, match=said):
        LoRA(targets=targets).adapt(network_of(PackedLinear(6, PACKED)))


def test_a_body_with_nothing_to_adapt_is_a_mistake():
    with pytest.raises(
        ConfigError, match=r"has no linear layer.*\n.*adapter.targets=\[body\] adapts its convolutions"
    ):
        LoRA().adapt(network_of(nn.Conv2d(1, 4, 3)))
    with pytest.raises(ConfigError, match="and no convolution"):
        LoRA().adapt(network_of(nn.LSTM(3, 4)))
    with pytest.raises(ConfigError, match="has no biases"):
        BitFit().adapt(network_of(nn.Linear(3, 4, bias=False)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rank": 0}, "rank"),
        ({"alpha": 0}, "alpha"),
        ({"dropout": 1}, "dropout"),
        ({"targets": []}, "targets"),
    ],
)
def test_values_out_of_range_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        LoRA(**options)


def test_bitfit_trains_biases_and_the_head():
    network = Network(nn.Linear(3, 4), nn.ModuleList([nn.LSTM(4, 4), nn.LayerNorm(4)]), nn.Linear(4, 2))
    BitFit().adapt(network)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    biases = {"embed.bias", "body.0.bias_ih_l0", "body.0.bias_hh_l0", "body.1.bias"}
    assert trained == {*biases, "head.weight", "head.bias"}
