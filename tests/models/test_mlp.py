"""The multilayer perceptron."""

import pytest
import torch
from torch import nn

from nnkit.heads.classifier import Classifier
from nnkit.models.mlp import MLP


def count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_3blue1brown_has_13002_parameters():
    body = MLP(784, hidden=[16, 16], activation="sigmoid")
    assert count(body, Classifier(body.dim_out, 10, activation="sigmoid")) == 13_002


def test_equals_matrix_products_with_tanh_between():
    body = MLP(5, hidden=[4, 3, 2], activation="tanh")
    inputs = torch.randn(6, 5)
    expected = inputs
    weights = [parameter for parameter in body.parameters() if parameter.ndim == 2]
    biases = [parameter for parameter in body.parameters() if parameter.ndim == 1]
    for weight, bias in zip(weights, biases, strict=True):
        expected = torch.tanh(expected @ weight.T + bias)
    assert body.dim_out == 2
    torch.testing.assert_close(body(inputs), expected)


def test_no_hidden_layer_leaves_the_head_alone():
    body = MLP(5, hidden=[])
    inputs = torch.randn(6, 5)
    assert body.dim_out == 5
    assert count(body) == 0
    assert torch.equal(body(inputs), inputs)


def test_dropout_zeroes_its_share_while_training_only():
    body = MLP(10, hidden=[1000], activation="sigmoid", dropout=0.3)
    inputs = torch.randn(20, 10)
    assert (body(inputs) == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert (body.eval()(inputs) > 0).all()


def test_hidden_layers_alike_in_torch_have_alike_initial_weights():
    torch.manual_seed(3)
    body = MLP(5, hidden=[4])
    torch.manual_seed(3)
    assert torch.equal(next(body.parameters()), nn.Linear(5, 4).weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim_in": 0}, "dim_in must be at least 1, not 0"),
        ({"hidden": [3, 0]}, r"hidden must hold numbers of at least 1, not \[3, 0\]"),
        ({"dropout": 2}, r"dropout must lie in \[0, 1\), not 2"),
        ({"activation": "sigmod"}, r"activation must be one of .*, not 'sigmod'"),
    ],
)
def test_refuses_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        MLP(**{"dim_in": 4, **arguments})
