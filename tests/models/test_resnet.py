"""ResNet against Hugging Face's ResNetForImageClassification, the paper's counts, and option A written out."""

import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from nnkit.config import catalog
from nnkit.embeds.pixels import Pixels
from nnkit.heads.classifier import Classifier
from nnkit.models.resnet import ResNet
from nnkit.network import Network

DEPTHS, CHANNELS, CLASSES = [1, 2], [4, 8], 5


def network(block, **options):
    torch.manual_seed(0)
    body = ResNet(3, block=block, depths=DEPTHS, channels=CHANNELS, **options)
    net = Network(Pixels(3), body, Classifier(body.dim_out, CLASSES))
    # Normalisations begin at one and zero, where a swap would not be seen.
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 1:
                nn.init.normal_(parameter, mean=1.0, std=0.3)
    return net


def pictures():
    return torch.randn(6, 3, 33, 40, generator=torch.Generator().manual_seed(1))


def of_hugging_face(net, tensors):
    """Return what their parameters and buffers are called, each with our value of it."""
    inner = {"0": "convolution", "1": "normalization"}
    found = {}
    for name, tensor in tensors.items():
        *parts, last, kind = name.split(".")
        if parts[:2] == ["body", "stem"]:
            place = "resnet.embedder.embedder"
        elif parts[:2] == ["body", "stages"]:
            rest = ".".join(parts[4:]).replace("layers", "layer")
            place = f"resnet.encoder.stages.{parts[2]}.layers.{parts[3]}.{rest}"
        else:
            found[f"classifier.1.{kind}"] = tensor
            continue
        found[f"{place}.{inner[last]}.{kind}"] = tensor
    return found


@pytest.mark.parametrize(
    ("block", "stride_in_1x1"), [("basic", False), ("bottleneck", False), ("bottleneck", True)]
)
def test_outputs_loss_gradients_and_statistics_are_those_of_hugging_face(block, stride_in_1x1):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import ResNetConfig, ResNetForImageClassification

        widths = [maps * (4 if block == "bottleneck" else 1) for maps in CHANNELS]
        config = ResNetConfig(
            embedding_size=CHANNELS[0], hidden_sizes=widths, depths=DEPTHS, layer_type=block,
            downsample_in_bottleneck=stride_in_1x1, num_labels=CLASSES,
        )  # fmt: skip
        theirs = ResNetForImageClassification(config)
    ours = network(block, stride_in_1x1=stride_in_1x1)
    theirs.load_state_dict(of_hugging_face(ours, ours.state_dict()))
    labels = torch.arange(6) % CLASSES
    for model in (ours, theirs):
        model.train()
    logits = ours(pictures())
    loss = functional.cross_entropy(logits, labels)
    expected = theirs(pictures(), labels=labels)
    torch.testing.assert_close(logits, expected.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loss, expected.loss, atol=1e-5, rtol=1e-5)
    loss.backward()
    expected.loss.backward()
    gradients = of_hugging_face(ours, {name: p.grad for name, p in ours.named_parameters()})
    for name, parameter in theirs.named_parameters():
        assert parameter.grad.abs().max() > 0
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-5, rtol=1e-4)
    # With the statistics that the step has moved.
    torch.testing.assert_close(
        ours.eval()(pictures()), theirs.eval()(pictures()).logits, atol=1e-5, rtol=1e-5
    )


def test_a_padded_shortcut_is_every_second_pixel_and_zeros():
    net = network("basic", stem="small", shortcut="padding")
    block = net.body.stages[1][0]
    maps = torch.randn(2, 4, 9, 6)
    expected = torch.zeros(2, 8, 5, 3)
    for row in range(5):
        for column in range(3):
            expected[:, :4, row, column] = maps[:, :, 2 * row, 2 * column]
    assert torch.equal(block.shortcut(maps), expected)
    torch.testing.assert_close(block.eval()(maps), (block.layers(maps) + expected).relu())
    # Nothing is pooled in front of the stages: maps have the picture's size.
    assert net.body.stem(pictures()).shape == (6, 4, 33, 40)


@pytest.mark.parametrize(
    ("model", "classes", "count"),
    [
        ("resnet18", 1000, "11,689,512"),
        ("resnet34", 1000, "21,797,672"),
        ("resnet50", 1000, "25,557,032"),
        # Table 6: 0.27, 0.46 and 0.85 million.
        ("resnet20", 10, "269,722"),
        ("resnet32", 10, "464,154"),
        ("resnet56", 10, "853,018"),
    ],
)
def test_sizes_have_the_parameters_of_the_paper(model, classes, count):
    content = catalog.read("model", model)
    arguments = {
        name: value for name, value in content.items() if name not in ("_target_", "embeds", "defaults")
    }
    with torch.device("meta"):
        body = ResNet(3, **arguments)
        head = Classifier(body.dim_out, classes)
    total = sum(parameter.numel() for part in (body, head) for parameter in part.parameters())
    assert f"{total:,}" == count


def test_weights_begin_as_in_delving_deep_into_rectifiers():
    torch.manual_seed(0)
    for name, part in ResNet(3).named_modules():
        if isinstance(part, nn.Conv2d):
            expected = math.sqrt(2 / (part.out_channels * math.prod(part.kernel_size)))
            assert part.weight.std().item() == pytest.approx(expected, rel=0.05), name
            assert part.bias is None


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (7, 33)])
@pytest.mark.parametrize("stem", ["small", "large"])
def test_takes_pictures_of_any_size(size, stem):
    body = ResNet(1, channels=CHANNELS, depths=DEPTHS, stem=stem).eval()
    assert body(torch.randn(2, 1, *size)).shape == (2, body.dim_out) == (2, 8)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dim_in": 0}, "dim_in must be at least 1, not 0"),
        ({"depths": [2]}, "depths and channels must name one number a stage, not 1 and 4"),
        ({"depths": [], "channels": []}, "one number a stage, not 0 and 0"),
        ({"depths": [1, 1, 0, 1]}, "depths must hold numbers of at least 1"),
        ({"channels": [1, 1, 0, 1]}, "channels must hold numbers of at least 1"),
        ({"block": "wide"}, "block must be one of basic, bottleneck, not 'wide'"),
        ({"channels": [8, 8, 4, 8], "shortcut": "padding"}, "cannot leave out maps: .* not \\[8, 8, 4, 8\\]"),
        ({"stem": "none"}, "stem must be one of large, small"),
        ({"shortcut": "none"}, "shortcut must be one of projection, padding"),
    ],
)
def test_refuses_by_name(wrong, said):
    with pytest.raises(ValueError, match=said):
        ResNet(**{"dim_in": 1, **wrong})
