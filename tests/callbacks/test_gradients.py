"""Norms of gradients: those of a step that is written out here, and a resumed run records the same."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from exactness import assert_same_end, cut

import nnkit
from nnkit.analysis.inspection.norms import grouped, read
from nnkit.callbacks.gradients import squares_by_layer
from nnkit.checkpoint.store import CheckpointStore

WORDS = [
    *("data=iris", "model=mlp", "model.hidden=[4]", "trainer.max_epochs=3", "trainer.num_threads=1"),
    *("trainer.log_every_n_steps=2", "data.val_fraction=0.2", "callbacks=[checkpoint,gradients]"),
]


def lines(run):
    rows = map(json.loads, (run.path / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if row["split"] == "gradients"]


def test_norms_of_each_layer_are_roots_of_sums_of_squares():
    layers = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1, bias=False))
    layers(torch.ones(5, 3)).sum().backward()
    layers[2].weight.requires_grad_(False)
    found = squares_by_layer({f"network.body.{name}": one for name, one in layers.named_parameters()})
    assert [*found] == ["body.0", "body.2"]
    weight, bias = layers[0].weight.grad, layers[0].bias.grad
    expected = sum(float(value) ** 2 for value in [*weight.flatten(), *bias])
    assert float(found["body.0"]) == pytest.approx(expected)
    layers[2].weight.grad = None
    assert [*squares_by_layer(dict(layers.named_parameters()))] == ["0"]


def test_the_first_step_s_norms_are_those_of_its_loss(monkeypatch):
    """One batch of all samples: the gradient of the mean loss by the weights before training."""
    one = [
        "data.batch_size=200",
        "trainer.log_every_n_steps=1",
        "trainer.max_epochs=1",
        "trainer.gradient_clip_val=1e-3",
    ]
    kept = {}

    def keep(self):
        kept.update({name: value.detach().clone() for name, value in self.network.state_dict().items()})

    from nnkit.tasks.classification import Classification

    monkeypatch.setattr(Classification, "on_fit_start", keep)
    result = nnkit.train([*WORDS, *one, "logger=[]"])
    (row,) = lines(result.run)
    network = result.session.task.network
    network.load_state_dict(kept)
    (batch,) = result.session.data.in_order(result.session.data.split("train"))
    loss = torch.nn.functional.cross_entropy(network(batch.inputs), batch.target)
    names = [name for name, _ in network.named_parameters()]
    gradients = dict(zip(names, torch.autograd.grad(loss, list(network.parameters())), strict=True))
    for layer in ("body.layers.0.0", "head.linear"):
        expected = math.hypot(*(float(gradients[f"{layer}.{part}"].norm()) for part in ("weight", "bias")))
        assert row[f"gradients/{layer}"] == pytest.approx(expected, rel=1e-4)
    assert (row["step"], row["epoch"]) == (1, 0)


def test_a_resumed_run_records_what_it_would_have_recorded():
    whole = nnkit.train([*WORDS, "logger=[tensorboard]", "name=whole"]).run
    for manifest in CheckpointStore(whole.checkpoints).manifests()[:2]:
        resumed = cut(whole, manifest, "outputs/killed")
        nnkit.resume("killed")
        assert_same_end(whole, resumed)
        assert lines(resumed) == lines(whole)
    assert [row["step"] for row in lines(whole)] == list(range(2, 3 * 6 + 1, 2))


def test_recording_changes_no_weight():
    plain = [word for word in WORDS if not word.startswith("callbacks")] + [
        "callbacks=[checkpoint]",
        "logger=[]",
    ]
    states = [
        nnkit.train(words).session.task.network.state_dict() for words in ([*WORDS, "logger=[]"], plain)
    ]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_what_was_recorded_is_on_the_page_and_nothing_where_nothing_was():
    first = nnkit.train([*WORDS, "logger=[]", "name=first"]).run
    found = nnkit.load("first").inspect()
    norms = found.arrays["weights/gradient norms"]
    rows = lines(first)
    assert norms.labels == {
        "layer": ["layers.0.0", "head.linear"], "step": [str(row["step"]) for row in rows],
    }  # fmt: skip
    assert norms.values[1].tolist() == [row["gradients/head.linear"] for row in rows]
    (axes,) = found.figures["weights/gradient norms"].axes
    assert axes.get_yscale() == "log"
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
    assert drawn == dict(zip(norms.labels["layer"], norms.values.tolist(), strict=True))
    path = Path(first.path / "metrics.jsonl")
    others = [line for line in path.read_text().splitlines() if '"gradients"' not in line]
    path.write_text("\n".join(others))
    assert read(first.path) is None
    assert "weights/gradient norms" not in nnkit.load("first").inspect().figures


def test_layers_of_a_large_network_are_put_together():
    norms = {f"layers.{number}.{part}": np.array([3.0, 4.0]) for number in range(3) for part in ("a", "b")}
    assert grouped(norms, most=6) == norms
    found = grouped(norms, most=4)
    assert [*found] == ["layers.0", "layers.1", "layers.2"]
    np.testing.assert_allclose(found["layers.0"], np.sqrt([18, 32]))
