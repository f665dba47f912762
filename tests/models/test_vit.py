"""ViT against Hugging Face's ViTForImageClassification and the published counts."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from nnkit.embeds.patches import Patches
from nnkit.heads.classifier import Classifier
from nnkit.models.vit import ViT
from nnkit.network import Network

DIM, LAYERS, HEADS, CLASSES, SIDE, PATCH = 24, 3, 4, 7, 12, 4


def network(**options):
    torch.manual_seed(0)
    body = ViT(
        DIM, height=SIDE, width=SIDE, patch_size=PATCH, dim=DIM, num_layers=LAYERS, num_heads=HEADS, **options
    )
    net = Network(Patches(3, patch_size=PATCH, dim=DIM), body, Classifier(DIM, CLASSES))
    # Norms and biases begin at one and zero, where a swap would not be seen; small weights would hide mistakes.
    with torch.no_grad():
        for parameter in net.parameters():
            nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.3)
    return net


def pictures(*shape):
    return torch.randn(*(shape or (5, 3, SIDE, SIDE)), generator=torch.Generator().manual_seed(1))


def of_hugging_face(net, values):
    """Return what their parameters are called, each with our value of it."""
    names = {
        "embed.linear": ["vit.embeddings.patch_embeddings.projection"],
        "body.norm": ["vit.layernorm"],
        "head.linear": ["classifier"],
        "attention_norm": ["layernorm_before"],
        "attention.query_key_value": ["attention.q_proj", "attention.k_proj", "attention.v_proj"],
        "attention.out": ["attention.o_proj"],
        "feed_forward_norm": ["layernorm_after"],
        "feed_forward.0": ["mlp.fc1"],
        "feed_forward.3": ["mlp.fc2"],
    }
    found = {
        "vit.embeddings.cls_token": values(net.body.class_token)[None, None],
        "vit.embeddings.position_embeddings": values(net.body.positions.weight)[None],
    }
    for name, parameter in net.named_parameters():
        part, _, kind = name.rpartition(".")
        if name in ("body.class_token", "body.positions.weight"):
            continue
        _, layer, inner = part.split(".", 3)[1:] if part.startswith("body.layers.") else ("", "", part)
        theirs = names[inner]
        for other, piece in zip(theirs, values(parameter).chunk(len(theirs)), strict=True):
            found[f"vit.layers.{layer}.{other}.{kind}" if layer else f"{other}.{kind}"] = piece
    # A convolution whose stride is its kernel.
    weight = found["vit.embeddings.patch_embeddings.projection.weight"]
    found["vit.embeddings.patch_embeddings.projection.weight"] = weight.view(DIM, 3, PATCH, PATCH)
    return found


@pytest.mark.parametrize(("eps", "activation"), [(1e-6, "gelu"), (0.1, "relu")])
def test_outputs_loss_and_gradients_are_those_of_hugging_face(eps, activation):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import ViTConfig, ViTForImageClassification

        config = ViTConfig(
            hidden_size=DIM, num_hidden_layers=LAYERS, num_attention_heads=HEADS, intermediate_size=4 * DIM,
            image_size=SIDE, patch_size=PATCH, num_channels=3, num_labels=CLASSES, layer_norm_eps=eps,
            hidden_act=activation, attn_implementation="eager",
        )  # fmt: skip
        theirs = ViTForImageClassification(config)
    ours = network(eps=eps, activation=activation)
    theirs.load_state_dict(of_hugging_face(ours, torch.detach))
    labels = torch.arange(5)
    logits = ours(pictures())
    loss = functional.cross_entropy(logits, labels)
    expected = theirs(pictures(), labels=labels)
    torch.testing.assert_close(logits, expected.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loss, expected.loss, atol=1e-5, rtol=1e-5)
    loss.backward()
    expected.loss.backward()
    gradients = of_hugging_face(ours, lambda parameter: parameter.grad)
    for name, parameter in theirs.named_parameters():
        assert parameter.grad.abs().max() > 0
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("model", "count"), [("vit_tiny", "5,717,416"), ("vit_small", "22,050,664")])
def test_published_sizes_have_the_published_numbers_of_parameters(cli, model, count):
    size = ["data.num_classes=1000", "data.height=224", "data.width=224", "data.root=none"]
    code, out, _ = cli("summary", f"model={model}", "data=image_folder", *size)
    assert code == 0
    (total,) = [line.split() for line in out.splitlines() if line.strip().startswith("total")]
    assert total[1] == count


def test_a_picture_that_patches_do_not_divide_is_padded():
    body = ViT(DIM, height=9, width=13, patch_size=4, dim=DIM)
    features, _ = body(Patches(3, patch_size=4, dim=DIM)(pictures(2, 3, 9, 13)))
    assert features.shape == (2, 1 + 3 * 4, DIM)
    assert torch.equal(body.summary(features), features[:, 0])


def test_another_number_of_patches_is_refused():
    with pytest.raises(ValueError, match="12 patches are not 9"):
        network()(pictures(2, 3, 12, 16))


def test_weights_begin_small():
    torch.manual_seed(0)
    body = ViT(128, dim=128, height=28, width=28)
    for name, parameter in body.named_parameters():
        if "norm.weight" in name:
            assert (parameter == 1).all()
        elif name.endswith("bias"):
            assert (parameter == 0).all()
        else:
            # A normal distribution cut at two deviations has 0.88 of its deviation.
            assert parameter.std().item() == pytest.approx(0.88 * 0.02, rel=0.15), name


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"num_heads": 5}, "num_heads must divide dim"),
        ({"height": 0}, "height must be at least 1, not 0"),
        ({"patch_size": 0}, "patch_size must"),
        ({"num_layers": 0}, "num_layers must"),
        ({"dropout": 1.0}, "dropout must"),
        ({"activation": "swish"}, "activation must be one of"),
    ],
)
def test_what_cannot_be_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        ViT(24, **{"dim": 24, "height": 8, "width": 8, **wrong})
