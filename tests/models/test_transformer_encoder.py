"""The encoder against torch.nn.TransformerEncoder with the same weights, and what it makes of lengths and pictures."""

import pytest
import torch
from torch import nn

from nnkit.embeds.patches import Patches
from nnkit.heads.classifier import Classifier
from nnkit.layers.positions import sinusoids
from nnkit.models.transformer_encoder import TransformerEncoder
from nnkit.network import Network

DIM, HEADS, HIDDEN, LAYERS, TIME = 12, 3, 20, 2, 7
LENGTHS = torch.tensor([7, 1, 4])
MASK = torch.arange(TIME) < LENGTHS[:, None]


def body(**arguments):
    torch.manual_seed(0)
    made = TransformerEncoder(
        DIM,
        **{
            "dim": DIM,
            "num_layers": LAYERS,
            "num_heads": HEADS,
            "hidden": HIDDEN,
            "dropout": 0.0,
            **arguments,
        },
    )
    # Biases and norms begin at zero and one, where a swap would not be seen.
    for parameter in made.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=1.0, std=0.3)
    return made


def twin(ours, norm_first, activation):
    layer = nn.TransformerEncoderLayer(
        DIM, HEADS, HIDDEN, dropout=0.0, activation=activation, batch_first=True, norm_first=norm_first
    )
    norm = nn.LayerNorm(DIM) if norm_first else None
    theirs = nn.TransformerEncoder(layer, LAYERS, norm=norm, enable_nested_tensor=False)
    parts = [(ours.norm, norm)] if norm_first else []
    pairs = []
    for one, other in zip(ours.layers, theirs.layers, strict=True):
        attention = one.attention.query_key_value
        pairs += [
            (attention.weight, other.self_attn.in_proj_weight),
            (attention.bias, other.self_attn.in_proj_bias),
        ]
        parts += [
            (one.attention.out, other.self_attn.out_proj),
            (one.attention_norm, other.norm1),
            (one.feed_forward[0], other.linear1),
            (one.feed_forward[3], other.linear2),
            (one.feed_forward_norm, other.norm2),
        ]
    pairs += [pair for one, other in parts for pair in ((one.weight, other.weight), (one.bias, other.bias))]
    with torch.no_grad():
        for one, other in pairs:
            other.copy_(one)
    assert len(pairs) == len(list(ours.parameters())) == len(list(theirs.parameters()))
    return theirs, pairs


def inputs():
    return torch.randn(len(LENGTHS), TIME, DIM, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_outputs_and_gradients_are_those_of_torch(norm_first, activation):
    ours = body(norm_first=norm_first, activation=activation)
    theirs, pairs = twin(ours, norm_first, activation)
    features, _ = ours(inputs(), MASK)
    placed = inputs() + sinusoids(0, TIME, DIM, inputs())
    expected = theirs(placed, src_key_padding_mask=~MASK)
    real = MASK[..., None]
    torch.testing.assert_close(features * real, expected * real, atol=1e-5, rtol=1e-5)
    weights = torch.randn(DIM, generator=torch.Generator().manual_seed(2))
    for values in (features, expected):
        (values * real * weights).sum().backward()
    for one, other in pairs:
        torch.testing.assert_close(one.grad, other.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "max", "first"])
def test_padding_changes_nothing(pooling):
    ours = body(pooling=pooling)
    features, _ = ours(inputs(), MASK)
    summary = ours.summary(features, MASK)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = inputs()[row : row + 1, :length]
        expected = ours.summary(ours(alone)[0])
        torch.testing.assert_close(summary[row : row + 1], expected, atol=1e-5, rtol=1e-5)


def test_pictures_are_read_by_patches_and_their_order_matters():
    torch.manual_seed(0)
    network = Network(Patches(1, patch_size=4, dim=DIM), body(), Classifier(DIM, num_classes=3))
    pictures = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert network(pictures).shape == (2, 3)
    mirrored = torch.cat([pictures[..., 4:], pictures[..., :4]], dim=-1)
    assert not torch.allclose(network(pictures), network(mirrored), atol=1e-3)
