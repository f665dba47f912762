"""Maps, activations, attention, gates and the lens of each family beside forward passes that are written out here."""

import math

import numpy as np
import pytest
import torch
from inspected import in_folder, seen
from torch.nn import functional

from nnkit.analysis.inspection.capture import capture


def first(run):
    return run.task.first_sample(next(iter(run.data.val_dataloader())))


def close(found, expected, name=""):
    np.testing.assert_allclose(found, expected.detach().numpy(), atol=2e-5, err_msg=name)


def array(name, key):
    return seen(name).arrays[f"input 1/{key}"].values


def normalised(x, weights, at):
    """Return (x - mean) / sqrt(variance + eps) * weight + bias, with the statistics that training has kept."""
    mean, variance, weight, bias = (
        weights[f"{at}.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def test_maps_of_a_cnn(monkeypatch):
    run = in_folder("cnn", monkeypatch)
    weights, x = run.network.state_dict(), run.network.embed(first(run).inputs)
    for place in range(len(run.network.body.blocks)):
        if place % 2:
            x = functional.max_pool2d(x, 2)
            name = f"pooling {place // 2 + 1}"
        else:
            at = f"body.blocks.{place}"
            x = functional.conv2d(x, weights[f"{at}.0.weight"], padding=1)
            x = normalised(x, weights, f"{at}.1").clamp(min=0)
            name = f"block {place // 2 + 1}"
        close(array("cnn", name), x[0], name)
    features = x.mean((2, 3))
    scores = features @ weights["head.linear.weight"].T + weights["head.linear.bias"]
    close(seen("cnn").outcomes["input 1"].scores[0], scores)


def test_maps_of_a_resnet(monkeypatch):
    """y = ReLU(F(x) + x); where the size changes, every second pixel is added to, and to maps of zeros (option A)."""
    run = in_folder("resnet20", monkeypatch)
    weights = run.network.state_dict()

    def layer(x, at, stride=1):
        convolved = functional.conv2d(x, weights[f"{at}.0.weight"], stride=stride, padding=1)
        return normalised(convolved, weights, f"{at}.1")

    x = layer(run.network.embed(first(run).inputs), "body.stem").clamp(min=0)
    close(array("resnet20", "stem"), x[0])
    for stage in range(2):
        at, stride = f"body.stages.{stage}.0", 1 + stage
        change = layer(layer(x, f"{at}.layers.0", stride).clamp(min=0), f"{at}.layers.1")
        kept = torch.zeros_like(change)
        kept[:, : x.shape[1]] = x[:, :, ::stride, ::stride]
        x = (change + kept).clamp(min=0)
        close(array("resnet20", f"stage {stage + 1}, block 1"), x[0])
    scores = x.mean((2, 3)) @ weights["head.linear.weight"].T + weights["head.linear.bias"]
    close(seen("resnet20").outcomes["input 1"].scores[0], scores)


def test_activations_of_the_network_of_the_videos(monkeypatch):
    run = in_folder("mlp_3b1b", monkeypatch)
    weights = run.network.state_dict()
    x = run.network.embed(first(run).inputs)
    for number in range(2):
        at = f"body.layers.{number}.0"
        x = 1 / (1 + torch.exp(-(x @ weights[f"{at}.weight"].T + weights[f"{at}.bias"])))
        close(array("mlp_3b1b", f"hidden {number + 1}"), x[0])


def attended(query, key, causal):
    """softmax(Q K^T / sqrt(d)) of one head, row by row."""
    rows = []
    for step in range(len(query)):
        last = step + 1 if causal else len(key)
        scores = torch.stack([query[step] @ key[other] for other in range(last)]) / math.sqrt(query.shape[1])
        shares = torch.exp(scores - scores.max())
        rows.append(functional.pad(shares / shares.sum(), (0, len(key) - last)))
    return torch.stack(rows)


def turned(vectors):
    """Rotate each pair (i, i + d / 2) of the vector of step t by t / 10000^(2i / d), as complex numbers."""
    half = vectors.shape[1] // 2
    angles = torch.arange(len(vectors))[:, None] * 10_000.0 ** (-torch.arange(half) / half)
    whole = torch.complex(vectors[:, :half], vectors[:, half:]) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([whole.real, whole.imag], dim=1)


SELF = {
    "vit_tiny": False,
    "transformer_encoder": False,
    "bert_tiny": False,
    "gpt": True,
    "llama": True,
    "transformer": False,
}


@pytest.mark.parametrize("name", SELF)
def test_attention_of_every_layer_of_a_family(name, monkeypatch):
    run = in_folder(name, monkeypatch)
    shown = capture(run.task, first(run), run.data)
    layers = {
        path: module
        for path, module in run.network.named_modules()
        if hasattr(module, "query_key_value") and f"{path.removeprefix('body.')} weights" in shown.arrays
    }
    kept = {}
    for path, module in layers.items():
        module.register_forward_pre_hook(lambda module, given, path=path: kept.update({path: given[0]}))
    with torch.no_grad():
        run.network(*shown.sample.network_inputs())
    assert layers
    for path, module in layers.items():
        module._forward_pre_hooks.clear()
        packed = module.query_key_value(kept[path])[0]
        query, key, _ = packed.split(module.widths, dim=1)
        heads = len(query[0]) // module.head_dim
        served = heads // (len(key[0]) // module.head_dim)
        values = shown.arrays[f"{path.removeprefix('body.')} weights"].values
        causal = SELF[name] or "decoder" in path
        for head in range(heads):
            parts = [query.split(module.head_dim, 1)[head], key.split(module.head_dim, 1)[head // served]]
            parts = [turned(part) for part in parts] if name == "llama" else parts
            close(values[head], attended(*parts, causal), f"{path}, head {head}")


def test_cross_attention_of_a_transformer_is_of_the_memory(monkeypatch):
    run = in_folder("transformer", monkeypatch)
    shown = capture(run.task, first(run), run.data)
    kept = {}
    module = next(one for _, one in run.network.named_modules() if getattr(one, "is_cross", False))
    handle = module.register_forward_pre_hook(lambda module, given: kept.update(given=given))
    with torch.no_grad():
        run.network(*shown.sample.network_inputs())
    handle.remove()
    features, memory = kept["given"][:2]
    with torch.no_grad():
        assert torch.equal(memory, run.network.body.encode(run.network.embed(shown.sample.inputs), None))
        query, (key, _) = module.query(features)[0], module.key_value(memory)[0].chunk(2, dim=1)
        cross = [one.values for one in shown.attention if one.shape[1:] == (len(query), len(key))]
        width = module.head_dim
        expected = torch.stack(
            [
                attended(query[:, at : at + width], key[:, at : at + width], causal=False)
                for at in range(0, query.shape[1], width)
            ]
        )
    assert any(np.allclose(one, expected.numpy(), atol=2e-5) for one in cross)


def test_the_alignment_of_an_lstm_encoder_decoder_is_a_softmax_of_products(monkeypatch):
    """Luong et al. 2015, equations 7 and 8: exp(s_t . W h_j), made shares of each row."""
    run = in_folder("seq2seq_lstm", monkeypatch)
    shown = capture(run.task, first(run), run.data)
    body, (inputs, _, second, *_) = run.network.body, shown.sample.network_inputs()
    with torch.no_grad():
        memory = body.encode(run.network.embed(inputs))
        hidden, cell, _ = body._first_state(memory, None)
        steps, _ = body.decoder(
            run.network.embed.target(second), (hidden.transpose(0, 1), cell.transpose(0, 1))
        )
        scores = torch.exp(steps[0] @ (memory[0] @ body.attention.key.weight.T).T)
    close(shown.attention[0].values[0], scores / scores.sum(1, keepdim=True))


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_gates_of_a_first_layer_step_by_step(name, monkeypatch):
    """Hochreiter and Schmidhuber 1997 with a forget gate; Cho et al. 2014; Elman 1990."""
    run = in_folder(name, monkeypatch)
    cell = next(module for module in run.network.modules() if isinstance(module, torch.nn.RNNBase))
    vectors = run.network.embed(first(run).inputs)[0]
    prefix = "layer 1 " if cell.num_layers > 1 else ""
    shown = {one.name: one.values for one in capture(run.task, first(run), run.data).gates}
    wide, deep = cell.weight_ih_l0, cell.weight_hh_l0
    of_x, of_h = cell.bias_ih_l0, cell.bias_hh_l0
    hidden = memory = torch.zeros(cell.hidden_size)
    sigmoid = torch.sigmoid
    for step, x in enumerate(vectors):
        given, before = wide @ x + of_x, deep @ hidden + of_h
        if name == "lstm":
            i, f, g, o = (given + before).chunk(4)
            memory = sigmoid(f) * memory + sigmoid(i) * torch.tanh(g)
            hidden = sigmoid(o) * torch.tanh(memory)
            now = {
                "input gate": sigmoid(i),
                "forget gate": sigmoid(f),
                "output gate": sigmoid(o),
                "cell": memory,
            }
        elif name == "gru":
            reset, update = (
                sigmoid(a + b) for a, b in zip(given.chunk(3)[:2], before.chunk(3)[:2], strict=True)
            )
            candidate = torch.tanh(given.chunk(3)[2] + reset * before.chunk(3)[2])
            hidden = (1 - update) * candidate + update * hidden
            now = {"reset gate": reset, "update gate": update, "candidate": candidate}
        else:
            hidden, now = torch.tanh(given + before), {}
        for gate, values in {**now, "hidden": hidden}.items():
            close(shown[prefix + gate][:, step], values, f"{gate} at step {step}")


@pytest.mark.parametrize("name", ["gpt", "llama", "vit_tiny"])
def test_the_lens_reads_the_residual_through_the_last_normalisation(name, monkeypatch):
    run = in_folder(name, monkeypatch)
    shown = capture(run.task, first(run), run.data)
    residuals = {one.name: torch.from_numpy(one.values) for one in shown.layers}
    norm, head = run.network.body.norm, run.network.head
    assert [*shown.lens] == [*residuals]
    for layer, x in residuals.items():
        if name == "llama":
            x = x / (x.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight
        else:
            centred = x - x.mean(-1, keepdim=True)
            x = (
                centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight
                + norm.bias
            )
        if name == "vit_tiny":
            logits = x[:1] @ head.linear.weight.T + head.linear.bias
        else:
            hidden = head.linear(x)
            logits = hidden @ run.network.embed.token_vectors.T if head.tied else hidden
        close(shown.lens[layer].scores[0], logits, layer)
        close(shown.lens[layer].probabilities[0], logits.softmax(-1), layer)


def test_nearest_tokens_and_main_directions_are_those_of_numpy(monkeypatch):
    run = in_folder("lstm", monkeypatch)
    vectors = run.network.embed.token_vectors.detach().numpy().astype(np.float64)
    table = next(one for one in seen("lstm").tables if one.title.startswith("nearest tokens"))
    names = run.data.token_texts(range(len(vectors)))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for row in table.rows:
        token = names.index(row[0])
        order = [other for other in np.argsort(-(unit @ unit[token])) if other != token]
        cosine = unit[order[0]] @ unit[token]
        assert row[1] == f"{names[order[0]]}  {cosine:.2f}"
    _, sizes, _ = np.linalg.svd(vectors - vectors.mean(0))
    share = sizes[0] ** 2 / (sizes**2).sum()
    (axes,) = seen("lstm").figures["input 1/tokens"].axes
    assert axes.get_xlabel() == f"direction 1, {share:.0%} of the variance"
