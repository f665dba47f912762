"""Dead and saturated units, gradients, and the samples that a unit fires for, beside counts made here."""

import numpy as np
import pytest
import torch
from inspected import in_folder
from torch import nn

from nnkit.analysis.inspection import health
from nnkit.analysis.inspection.extremes import extremes, parsed
from nnkit.batches import TableBatch
from nnkit.errors import UserError
from nnkit.network import Network


class Body(nn.Module):
    """Four units whose inputs are x, -1, 100 x and 0: of ReLU's the second and the last are dead."""

    def __init__(self, activation):
        super().__init__()
        self.linear = nn.Linear(1, 4)
        self.linear.weight.data = torch.tensor([[1.0], [0.0], [1000.0], [0.0]])
        self.linear.bias.data = torch.tensor([0.0, -1.0, 0.0, 0.0])
        self.activation = activation
        self.dim_out = 4

    def forward(self, x):
        return self.activation(self.linear(x))


def batches():
    x = torch.linspace(-1, 1, 40)[:, None]
    for part in x.split(16):
        yield TableBatch(part, torch.zeros(len(part)), torch.arange(len(part)))


def watched(activation):
    network = Network(nn.Identity(), Body(activation), nn.Identity())
    (found,) = health.activity(network, batches()).values()
    return found


def test_dead_units_of_relu():
    found = watched(nn.ReLU())
    assert found.count == 40
    assert found.dead.tolist() == [False, True, False, True]
    assert not found.stuck.any()


def test_saturated_units_of_tanh():
    found = watched(nn.Tanh())
    # The second puts out tanh(-1) always, the third nearly always 1 or -1.
    assert found.dead.tolist() == [False, True, False, True]
    assert found.stuck.tolist() == [False, False, True, False]


def test_padding_is_no_output():
    inputs = torch.tensor([[[1.0], [1.0], [9.0]]])
    mask = torch.tensor([[True, True, False]])
    found = health._units(inputs, mask)
    assert found.tolist() == [[1.0], [1.0]]
    assert health._units(inputs, None).shape == (3, 1)


def test_only_so_many_samples_are_watched():
    sizes = []
    assert [len(batch.inputs) for batch in health.first(batches(), 20, sizes)] == [16, 4] == sizes


def test_gradients_are_those_of_the_loss(monkeypatch):
    run = in_folder("mlp", monkeypatch)
    batch = next(iter(run.data.val_dataloader()))
    found = health.gradients_of(run.task, batch)
    loss, _ = run.task.score(batch)
    weight = run.network.body.layers[0][0].weight
    (expected,) = torch.autograd.grad(loss, [weight])
    np.testing.assert_allclose(found["layers.0.0"], expected.flatten().numpy(), atol=1e-6)
    assert weight.grad is None
    assert [*found] == [*health.weights_of(run.network)]


def test_samples_that_a_unit_fires_for(monkeypatch):
    run = in_folder("lenet5", monkeypatch)
    layer, unit = parsed(run.network, "c1:2")
    most, least = extremes(run.task, run.data.val_dataloader(), layer, unit)
    batch = next(iter(run.data.val_dataloader()))
    with torch.no_grad():
        maps = run.network.body.c1(run.network.embed(batch.inputs))[:, 1]
    values = maps.flatten(1).amax(1)
    order = values.argsort(descending=True)
    assert [one.value for one in most] == pytest.approx(values[order[:4]].tolist())
    assert [one.value for one in least] == pytest.approx(values[order.flip(0)[:4]].tolist())
    assert torch.equal(most[0].sample.inputs[0], batch.inputs[order[0]])
    row, column = most[0].place
    assert float(maps[order[0], row, column]) == pytest.approx(most[0].value)


def test_a_unit_of_a_text_fires_at_a_step(monkeypatch):
    run = in_folder("lstm", monkeypatch)
    most, _ = extremes(run.task, run.data.val_dataloader(), "hidden states", 3)
    for one in most:
        (step,) = one.place
        vectors = run.network.embed(one.sample.inputs)
        features = run.network.body(vectors, one.sample.mask)[0].detach()
        assert float(features[0, step, 3]) == pytest.approx(one.value, abs=1e-5)
        assert float(features[0, :, 3].max()) == pytest.approx(one.value, abs=1e-5)


@pytest.mark.parametrize(("text", "said"), [
    ("C4:1", "there is no layer 'C4'"), ("C1", "LAYER:INDEX"), ("C1:0", "the first unit 1"), ("C1:x", "LAYER:INDEX"),
])  # fmt: skip
def test_a_unit_that_is_not_there_is_answered_with_what_is(text, said, monkeypatch):
    run = in_folder("lenet5", monkeypatch)
    with pytest.raises(UserError, match=said):
        parsed(run.network, text)


def test_a_number_beyond_the_last_unit_is_answered_with_the_last(monkeypatch):
    run = in_folder("lenet5", monkeypatch)
    with pytest.raises(UserError, match="has 6 units, the last is C1:6"):
        run.inspect(units=["C1:7"])
