"""LeNet-5 in its modern form."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from nnkit.embeds.pixels import Pixels
from nnkit.heads.classifier import Classifier
from nnkit.models.lenet5 import LeNet5


def textbook(in_channels, num_classes, squash, pool):
    """The network as a textbook writes it: each layer in the paper's order, C5 a convolution."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 6, 5),
        squash(),
        pool(2),
        nn.Conv2d(6, 16, 5),
        squash(),
        pool(2),
        nn.Conv2d(16, 120, 5),
        squash(),
        nn.Flatten(),
        nn.Linear(120, 84),
        squash(),
        nn.Linear(84, num_classes),
    )


@pytest.mark.parametrize(
    ("activation", "squash"),
    [("tanh", nn.Tanh), ("relu", nn.ReLU), ("gelu", nn.GELU)],
    ids=["tanh", "relu", "gelu"],
)
@pytest.mark.parametrize(
    ("pooling", "pool"), [("max", nn.MaxPool2d), ("average", nn.AvgPool2d)], ids=["max", "average"]
)
@pytest.mark.parametrize(("in_channels", "num_classes"), [(1, 10), (3, 7)])
def test_equals_the_textbook_network_outputs_and_gradients(
    activation, squash, pooling, pool, in_channels, num_classes
):
    expected = textbook(in_channels, num_classes, squash, pool)
    body = LeNet5(in_channels, activation=activation, pooling=pooling)
    network = nn.Sequential(Pixels(in_channels, size=32), body, Classifier(body.dim_out, num_classes))
    pairs = list(zip(network.parameters(), expected.parameters(), strict=True))
    with torch.no_grad():
        for mine, theirs in pairs:
            mine.copy_(theirs.view(mine.shape))
    pictures, target = torch.randn(5, in_channels, 32, 32), torch.randint(num_classes, (5,))
    outputs = network(pictures), expected(pictures)
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-5)
    for output in outputs:
        functional.cross_entropy(output, target).backward()
    for mine, theirs in pairs:
        torch.testing.assert_close(mine.grad, theirs.grad.view(mine.shape), atol=1e-5, rtol=1e-5)


def test_has_61706_parameters_under_the_papers_names():
    body = LeNet5(1)
    head = Classifier(body.dim_out, 10)
    sizes = {name: sum(p.numel() for p in layer.parameters()) for name, layer in body.named_children()}
    assert {name: size for name, size in sizes.items() if size} == {
        "c1": 156,
        "c3": 2_416,
        "c5": 48_120,
        "f6": 10_164,
    }
    assert sum(sizes.values()) + sum(p.numel() for p in head.parameters()) == 61_706


@pytest.mark.parametrize("size", [8, 28, 40])
def test_takes_pictures_of_any_size_through_its_embed(size):
    network = nn.Sequential(Pixels(1, size=32), LeNet5(1))
    assert network(torch.randn(2, 1, size, size)).shape == (2, 84)


def test_dropout_acts_on_c5_and_f6_while_training_only():
    body = LeNet5(1, dropout=0.5)
    pictures = torch.randn(40, 1, 32, 32)
    assert (body(pictures) == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    body.eval()
    assert torch.equal(body(pictures), body(pictures))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim_in": 0}, "dim_in must be at least 1, not 0"),
        ({"activation": "swish"}, r"activation must be one of .*, not 'swish'"),
        ({"pooling": "mean"}, "pooling must be one of max, average, not 'mean'"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), not 1.0"),
    ],
)
def test_refuses_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        LeNet5(**{"dim_in": 1, **arguments})
