"""What tokens of a prefix add, and what a class token attends to, beside what is computed here."""

import numpy as np
import pytest
import torch
from inspected import in_folder, seen

from nnkit.analysis.inspection.attending import over_pixels, rollout
from nnkit.analysis.inspection.attribution import complete_gradients
from nnkit.analysis.inspection.capture import capture


def first(run):
    return run.task.first_sample(next(iter(run.data.val_dataloader())))


def logits_of(run, vectors):
    """Return the logits (steps, tokens) of a language model that reads vectors (1, steps, dim) instead of tokens."""
    features, _ = run.network.body(vectors)
    hidden = run.network.head.linear(features)[0]
    return hidden @ run.network.embed.token_vectors.T if run.network.head.tied else hidden


@pytest.mark.parametrize("name", ["gpt", "llama"])
def test_what_the_prefix_adds_is_the_change_of_the_next_token_s_score(name, monkeypatch):
    run = in_folder(name, monkeypatch)
    found, tokens = seen(name), first(run).inputs
    added = found.arrays["input 1/integrated gradients"]
    assert added.axes == ("step",)
    assert added.labels["step"] == run.data.token_texts(tokens[0].tolist())
    with torch.no_grad():
        vectors = run.network.embed(tokens)
        whole, nothing = (logits_of(run, some)[-1] for some in (vectors, torch.zeros_like(vectors)))
    token = int(whole.argmax())
    change = float(whole[token] - nothing[token])
    assert added.values.sum() == pytest.approx(change, abs=0.02 * abs(change) + 1e-3)
    assert f"the score changes by {change:.4g}" in " ".join(found.sections[-1].texts)
    assert "the next token" in found.figures["input 1/contributions"].get_suptitle()


def test_attributions_of_a_prefix_are_a_sum_over_points_of_the_path(monkeypatch):
    """Gradients of the next token's logit at the 32 points, by a loop and torch's backward."""
    run = in_folder("gpt", monkeypatch)
    tokens = first(run).inputs
    vectors = run.network.embed(tokens).detach()
    token = int(logits_of(run, vectors)[-1].argmax())
    total = torch.zeros_like(vectors)
    for number in range(32):
        point = ((number + 0.5) / 32 * vectors).requires_grad_()
        logits_of(run, point)[-1, token].backward()
        total += point.grad
    expected = (vectors * total / 32).sum(-1)[0]
    added = seen("gpt").arrays["input 1/integrated gradients"].values
    np.testing.assert_allclose(added, expected.numpy(), atol=1e-5)


def test_what_tokens_add_to_a_masked_one(monkeypatch):
    run = in_folder("bert_tiny", monkeypatch)
    found = run.inspect("the [MASK] saw a dog")
    outcome = found.outcomes["input 1"]
    added = found.arrays["input 1/integrated gradients"]
    step = outcome.focus[0]
    assert added.labels["step"][step] == "[MASK]"
    title = found.figures["input 1/contributions"].get_suptitle()
    assert title.endswith(f"at step {step + 1}")
    assert added.shape == (len(outcome.rows),)


def test_points_are_added_until_the_sum_is_the_change():
    """A step at 0.01 of the way: 32 points find its height, 1, only by the one that lies on it."""
    x = torch.tensor([[1.0]]).double()

    def score(inputs):
        return torch.sigmoid((inputs[:, 0] - 0.01) * 400)

    found = complete_gradients(score, x, torch.zeros_like(x))
    assert found.steps > 32
    assert float(found.values) == pytest.approx(found.change, rel=0.01)
    straight = complete_gradients(lambda inputs: 3 * inputs[:, 0], x, torch.zeros_like(x))
    assert (straight.steps, straight.change, float(straight.values)) == (32, 3.0, pytest.approx(3.0))
    large = complete_gradients(score, x, torch.zeros_like(x), numbers=2**24)
    assert large.steps == 32


def test_rollout_is_the_written_out_product():
    generator = np.random.default_rng(0)
    layers = [generator.dirichlet(np.ones(4), size=(3, 4)) for _ in range(3)]
    first_layer, second, third = (0.5 * layer.mean(0) + 0.5 * np.eye(4) for layer in layers)
    expected = np.zeros((4, 4))
    for i in range(4):
        for j in range(4):
            expected[i, j] = sum(
                third[i, k] * second[k, m] * first_layer[m, j] for k in range(4) for m in range(4)
            )
    found = rollout(layers)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found.sum(1), 1)


def test_patches_cover_their_pixels_and_are_cut_at_the_edge():
    shares = np.arange(6.0)
    found = over_pixels(shares, height=3, width=5, patch=2)
    assert found.tolist() == [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]


def test_what_the_class_token_attends_to_lies_where_its_patches_are(monkeypatch):
    run = in_folder("vit_tiny", monkeypatch)
    found = seen("vit_tiny")
    weights = [part.values for part in capture(run.task, first(run), run.data).attention]
    size, (height, width) = run.network.embed.patch_size, first(run).inputs.shape[-2:]
    across = -(-width // size)
    heads = found.arrays["input 1/class token"].values
    flow = found.arrays["input 1/attention rollout"].values
    mixed = np.eye(weights[0].shape[-1])
    for layer in weights:
        mixed = (0.5 * layer.mean(0) + 0.5 * np.eye(len(mixed))) @ mixed
    assert heads.shape == (len(weights[-1]), height, width)
    for row in range(height):
        for column in range(width):
            patch = 1 + row // size * across + column // size
            assert flow[row, column] == pytest.approx(mixed[0, patch], abs=1e-6)
            np.testing.assert_allclose(heads[:, row, column], weights[-1][:, 0, patch])
    panels = [axes.get_title().split("\n")[0] for axes in found.figures["input 1/class token"].axes]
    assert panels[:3] == ["rollout of all layers", "mean of the heads", "head 1"]


def test_networks_without_a_class_token_have_no_map(monkeypatch):
    in_folder("cnn", monkeypatch)
    assert "input 1/class token" not in seen("cnn").figures
