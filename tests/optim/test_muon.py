"""Muon against torch's own, against a singular value decomposition, and against AdamW where it is AdamW."""

import copy

import pytest
import torch
from torch import nn

from nnkit.models.gpt import GPT
from nnkit.optim.groups import param_groups
from nnkit.optim.muon import Muon, orthogonalised


def test_singular_values_become_one_and_singular_vectors_stay():
    torch.manual_seed(0)
    matrices = torch.randn(3, 24, 40)
    found = orthogonalised(matrices, 5)
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    turned = left.mT @ found @ right.mT
    values = turned.diagonal(dim1=-2, dim2=-1)
    assert ((values > 0.6) & (values < 1.3)).all()
    assert (turned - torch.diag_embed(values)).abs().max() < 1e-4
    assert torch.allclose(orthogonalised(matrices.mT, 5), found.mT, atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 48), (48, 16)])
def test_matrices_move_as_with_torchs_muon(shape):
    torch.manual_seed(0)
    ours = nn.Parameter(torch.randn(shape))
    theirs = copy.deepcopy(ours)
    options = {"lr": 0.01, "weight_decay": 0.1, "momentum": 0.9}
    optimizers = [
        Muon([ours], **options),
        torch.optim.Muon([theirs], **options, nesterov=True, adjust_lr_fn="match_rms_adamw"),
    ]
    before = ours.detach().clone()
    for _ in range(3):
        gradient = torch.randn(shape)
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
    # Theirs computes in bfloat16.
    assert (ours - theirs).norm() < 0.02 * (ours - before).norm()


def test_what_is_no_matrix_moves_as_with_adamw():
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(size)) for size in ((7,), (3, 2, 3, 3))]
    theirs = copy.deepcopy(ours)
    options = {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.9), "eps": 1e-6}
    optimizers = [Muon(ours, **options), torch.optim.AdamW(theirs, **options)]
    for _ in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_embeddings_heads_norms_and_biases_are_left_to_adamw():
    network = nn.Module()
    network.embed, network.body, network.head = nn.Embedding(9, 16), GPT(16, dim=16), nn.Linear(16, 9)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = param_groups(network, 0.1, network.body)
    matrices = {names[id(p)] for group in groups if group["matrices"] for p in group["params"]}
    assert matrices == {
        f"body.layers.{layer}.{name}.weight"
        for layer in range(4)
        for name in ("attention.query_key_value", "attention.out", "feed_forward.0", "feed_forward.3")
    }
    others = [names[id(p)] for group in groups if not group["matrices"] for p in group["params"]]
    assert len(matrices) + len(others) == len(names)
    assert {"embed.weight", "head.weight", "body.positions.weight"} <= set(others)


def test_parameters_without_a_gradient_stay():
    parameters = [nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4))]
    Muon(parameters, lr=0.1, weight_decay=0.5).step()
    assert all((parameter == 1).all() for parameter in parameters)


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", -1.0), ("weight_decay", -0.1), ("momentum", 1.0), ("num_iterations", 0), ("betas", (0.9, 1.0))],
)
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        Muon([nn.Parameter(torch.ones(2, 2))], **{name: value})


def test_a_vector_among_matrices_is_refused():
    with pytest.raises(ValueError, match="matrices"):
        Muon([{"params": [nn.Parameter(torch.ones(2))], "matrices": True}])
