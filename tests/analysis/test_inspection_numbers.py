"""Numbers of an inspection beside forward passes that are written out here."""

import numpy as np
import pytest
import torch
from inspected import in_folder
from torch.nn import functional

from nnkit.analysis.inspection.capture import capture


def first(run):
    return run.task.first_sample(next(iter(run.data.val_dataloader())))


def test_maps_of_lenet(monkeypatch):
    run = in_folder("lenet5", monkeypatch)
    sample = first(run)
    seen = {one.name: one.values for one in capture(run.task, sample, run.data).layers}
    weights = dict(run.network.state_dict())

    def of(layer, x):
        return functional.conv2d(x, weights[f"body.{layer}.weight"], weights[f"body.{layer}.bias"])

    with torch.no_grad():
        x = run.network.embed(sample.inputs)
        c1 = of("c1", x)
        s2 = torch.tanh(functional.max_pool2d(c1, 2))
        c3 = of("c3", s2)
        s4 = torch.tanh(functional.max_pool2d(c3, 2))
        c5 = torch.tanh(functional.linear(s4.flatten(1), weights["body.c5.weight"], weights["body.c5.bias"]))
        f6 = torch.tanh(functional.linear(c5, weights["body.f6.weight"], weights["body.f6.bias"]))
    expected = {"C1": c1, "S2": s2, "C3": c3, "S4": s4, "C5": c5, "F6": f6}
    assert [*seen] == [*expected]
    for name, values in expected.items():
        np.testing.assert_allclose(seen[name], values[0].numpy(), atol=1e-5, err_msg=name)


def test_activations_of_a_perceptron(monkeypatch):
    run = in_folder("mlp", monkeypatch)
    sample = first(run)
    seen = {one.name: one.values for one in capture(run.task, sample, run.data).layers}
    x = sample.inputs
    for number, layer in enumerate(run.network.body.layers, 1):
        x = torch.relu(x @ layer[0].weight.T + layer[0].bias)
        np.testing.assert_allclose(seen[f"hidden {number}"], x[0].detach().numpy(), atol=1e-5)


def test_attention_of_a_first_layer(monkeypatch):
    """softmax(Q K^T / sqrt(d)) of GPT's first layer, by head."""
    run = in_folder("gpt", monkeypatch)
    sample, body = first(run), run.network.body
    weights = capture(run.task, sample, run.data).attention[0].values
    layer = body.layers[0]
    with torch.no_grad():
        time = sample.inputs.shape[1]
        x = body.project(run.network.embed(sample.inputs)) + body.positions(torch.arange(time))
        packed = layer.attention.query_key_value(layer.attention_norm(x))[0]
        query, key, _ = packed.split(layer.attention.widths, dim=-1)
        width = layer.attention.head_dim
        for head in range(layer.attention.num_heads):
            place = slice(head * width, (head + 1) * width)
            scores = query[:, place] @ key[:, place].T / width**0.5
            scores = scores.masked_fill(torch.ones(time, time).triu(1).bool(), -torch.inf)
            np.testing.assert_allclose(weights[head], scores.softmax(-1).numpy(), atol=1e-5)


def test_what_columns_add_is_the_change_of_the_score(monkeypatch):
    """Completeness: integrated gradients add up to the score less that of a row of averages."""
    run = in_folder("mlp", monkeypatch)
    sample = first(run)
    found = run.inspect()
    added = found.arrays["input 1/integrated gradients"]
    assert added.labels["column"] == [
        "sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"
    ]  # fmt: skip
    with torch.no_grad():
        scores = run.network(sample.inputs)[0]
        average = run.network(torch.zeros_like(sample.inputs))[0]
    best = int(scores.argmax())
    assert added.values.sum() == pytest.approx(float(scores[best] - average[best]), abs=0.02)
    lost = found.arrays["input 1/occlusion"].values
    for column in range(4):
        without = sample.inputs.clone()
        without[0, column] = 0
        with torch.no_grad():
            assert lost[column] == pytest.approx(
                float(scores[best] - run.network(without)[0, best]), abs=1e-5
            )


def test_what_steps_of_a_window_add_is_the_change_of_the_forecast(monkeypatch):
    run = in_folder("forecast", monkeypatch)
    sample = first(run)
    added = run.inspect().arrays["input 1/integrated gradients"]
    assert added.axes == ("step", "channel")
    ahead = run.task(sample.inputs)[0, 0, 0] - run.task(torch.zeros_like(sample.inputs))[0, 0, 0]
    assert added.values.sum() == pytest.approx(float(ahead.detach()), abs=1e-3)


def test_cross_attention_is_labelled_by_the_text_that_was_written(monkeypatch):
    for name in ("transformer", "seq2seq_lstm"):
        run = in_folder(name, monkeypatch)
        found = run.inspect("the cat saw a dog")
        written = run.answers("the cat saw a dog")[0].text
        assert found.outcomes["input 1"].written == written
        cross = [one for key, one in found.arrays.items() if "weights" in key and one.axes[0] == "head"][-1]
        assert cross.shape[1:] == (len(cross.labels["query"]), len(cross.labels["key"]))
        assert "".join(cross.labels["key"]).replace("\u2423", " ").startswith("the cat")
        if written:
            assert "".join(cross.labels["query"][1:]).replace("\u2423", " ").startswith(written[:3])


def test_masked_tokens_are_those_that_generate_fills_in(monkeypatch):
    run = in_folder("bert_tiny", monkeypatch)
    outcome = run.inspect("the [MASK] saw a dog").outcomes["input 1"]
    (row,) = outcome.focus
    assert outcome.truth == [-1]
    filled = run.fill("the [MASK] saw a dog").candidates[0]
    shares = dict(zip(outcome.columns, outcome.probabilities[0, row].tolist(), strict=True))
    # There special tokens are left out and the others share what is left.
    ratio = shares[filled[0][0]] / shares[filled[1][0]]
    assert ratio == pytest.approx(filled[0][1] / filled[1][1], rel=1e-4)


def test_backward_cells_are_shown_in_the_order_of_the_text(monkeypatch):
    run = in_folder("bilstm", monkeypatch)
    sample = first(run)
    seen = capture(run.task, sample, run.data)
    features = next(one for one in seen.layers if one.name == "layer 1").values
    hidden = {gate.name: gate.values.T for gate in seen.gates if gate.name.endswith("hidden")}
    both = np.concatenate([hidden["layer 1 forwards hidden"], hidden["layer 1 backwards hidden"]], axis=1)
    np.testing.assert_allclose(both, features, atol=1e-5)


def test_of_data_without_a_validation_part_the_test_part_is_seen():
    import nnkit

    run = nnkit.load(nnkit.train(["data=diabetes", "model=mlp", "trainer.max_epochs=1", "logger=[]"]).run)
    assert len(run.data.split("val")) == 0
    found = run.inspect(units=["hidden 1:1"], gradients=True)
    titles = [section.title for section in found.sections]
    assert titles[-1].endswith(": first test sample")
    expected = run.task(first_of_test(run).inputs)
    torch.testing.assert_close(found.outcomes["input 1"].scores.flatten(), expected.detach().flatten())


def first_of_test(run):
    return run.task.first_sample(next(iter(run.data.test_dataloader())))
