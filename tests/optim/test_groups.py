"""Which parameters decay."""

import pytest
import torch
from torch import nn

from nnkit.models.cnn import CNN
from nnkit.optim.groups import param_groups


def test_each_parameter_is_in_one_group_and_only_matrices_decay():
    module = nn.Sequential(CNN(3), nn.Linear(64, 64), nn.LayerNorm(64))
    tied = nn.Linear(64, 64, bias=False)
    tied.weight = module[1].weight
    module.append(tied)
    groups = param_groups(module, weight_decay=0.1)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in module.parameters())
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in module.named_parameters():
        is_weight = (
            name.endswith("weight") and "blocks" in name and parameter.ndim == 4
        ) or name == "1.weight"
        assert decays[id(parameter)] == (0.1 if is_weight else 0.0), name


def test_a_step_without_gradient_shrinks_weights_and_leaves_biases():
    module = nn.Linear(3, 3)
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    optimizer = torch.optim.AdamW(param_groups(module, weight_decay=0.5), lr=0.1)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(module.weight.detach(), before["weight"] * 0.95)
    assert torch.equal(module.bias, before["bias"])


def test_a_module_without_matrices_has_one_group():
    assert len(param_groups(nn.LayerNorm(4), weight_decay=0.1)) == 1


def test_refuses_negative_decay():
    with pytest.raises(ValueError, match=r"weight_decay must not be negative, not -0.1"):
        param_groups(nn.Linear(2, 2), weight_decay=-0.1)
