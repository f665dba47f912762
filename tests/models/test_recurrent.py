"""RNN, LSTM and GRU against torch's own layers: outputs, gradients, lengths, directions, causality, state."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nnkit.embeds.tokens import Tokens
from nnkit.heads.classifier import Classifier
from nnkit.heads.language_model import LanguageModel
from nnkit.layers.recurrent import LSTMLayers
from nnkit.models.gru import GRU
from nnkit.models.lstm import LSTM
from nnkit.models.rnn import RNN
from nnkit.network import Network

FAMILIES = {"rnn": (RNN, nn.RNN, 1), "lstm": (LSTM, nn.LSTM, 4), "gru": (GRU, nn.GRU, 3)}
BATCH, TIME, DIM_IN, DIM = 4, 9, 5, 6
LENGTHS = torch.tensor([9, 1, 4, 7])
MASK = torch.arange(TIME) < LENGTHS[:, None]

family = pytest.mark.parametrize("name", FAMILIES)
directions = pytest.mark.parametrize("bidirectional", [False, True])


def twins(name, bidirectional, num_layers=2):
    """A body of ours and torch's whole stack with the same weights."""
    ours_class, torch_class, _ = FAMILIES[name]
    torch.manual_seed(0)
    body = ours_class(DIM_IN, dim=DIM, num_layers=num_layers, bidirectional=bidirectional)
    theirs = torch_class(DIM_IN, DIM, num_layers, bidirectional=bidirectional, batch_first=True)
    if not bidirectional:
        pairs = [(parameter, getattr(theirs, key)) for key, parameter in body.layers[0][0].named_parameters()]
    else:
        pairs = [
            (parameter, getattr(theirs, key.replace("_l0", f"_l{layer}") + suffix))
            for layer, both in enumerate(body.layers)
            for one, suffix in zip(both, ("", "_reverse"), strict=True)
            for key, parameter in one.named_parameters()
        ]
    with torch.no_grad():
        for ours, other in pairs:
            other.copy_(ours)
    assert len(pairs) == len(list(theirs.parameters()))
    return body, theirs, pairs


def inputs():
    return torch.randn(BATCH, TIME, DIM_IN, generator=torch.Generator().manual_seed(1), requires_grad=True)


def assert_close(one, other):
    torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@family
@directions
def test_outputs_and_gradients_are_those_of_torch(name, bidirectional):
    body, theirs, pairs = twins(name, bidirectional)
    one, other = inputs(), inputs()
    features, _ = body(one)
    expected, _ = theirs(other)
    assert_close(features, expected)
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(2))
    (features * weights).sum().backward()
    (expected * weights).sum().backward()
    assert_close(one.grad, other.grad)
    for ours, other_weight in pairs:
        assert_close(ours.grad, other_weight.grad)


@family
@directions
def test_lengths_are_those_of_packing(name, bidirectional):
    body, theirs, pairs = twins(name, bidirectional)
    one, other = inputs(), inputs()
    packed = pack_padded_sequence(other, LENGTHS, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True)
    features, _ = body(one, MASK)
    seen = MASK.unsqueeze(-1)
    assert_close(features * seen, expected * seen)
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(2)) * seen
    (features * weights).sum().backward()
    (expected * weights).sum().backward()
    assert_close(one.grad, other.grad)
    for ours, other_weight in pairs:
        assert_close(ours.grad, other_weight.grad)


@family
@directions
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_a_longer_pad_changes_nothing_forwards_or_backwards(name, bidirectional, pooling):
    torch.manual_seed(0)
    body = FAMILIES[name][0](DIM, dim=DIM, num_layers=2, bidirectional=bidirectional, pooling=pooling)
    network = Network(Tokens(11, dim=DIM), body, Classifier(body.dim_out, 3))
    tokens = torch.randint(11, (BATCH, TIME), generator=torch.Generator().manual_seed(1))
    longer = torch.cat([tokens, torch.full((BATCH, 5), 7)], dim=1)
    longer[:, :TIME][~MASK] = 7
    wide = torch.cat([MASK, torch.zeros(BATCH, 5, dtype=torch.bool)], dim=1)
    results = []
    for words, mask in ((tokens, MASK), (longer, wide)):
        network.zero_grad()
        outputs = network(words, mask)
        outputs.square().sum().backward()
        results.append([outputs, *(parameter.grad.clone() for parameter in network.parameters())])
    for one, other in zip(*results, strict=True):
        assert_close(one, other)


@family
@directions
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_the_summary_is_that_of_each_sequence_alone(name, bidirectional, pooling):
    torch.manual_seed(0)
    body = FAMILIES[name][0](DIM_IN, dim=DIM, bidirectional=bidirectional, pooling=pooling)
    summary = body.summary(body(inputs(), MASK)[0], MASK)
    assert summary.shape == (BATCH, body.dim_out)
    for row, length in enumerate(LENGTHS):
        alone = body(inputs()[row : row + 1, :length])[0]
        expected = {
            "last": torch.cat([alone[0, -1, :DIM], alone[0, 0, DIM:]]),
            "mean": alone[0].mean(0),
            "max": alone[0].max(0).values,
        }[pooling]
        assert_close(summary[row], expected)
        assert_close(body.summary(alone)[0], expected)


@family
def test_a_later_step_changes_no_earlier_one(name):
    torch.manual_seed(0)
    for bidirectional in (False, True):
        body = FAMILIES[name][0](DIM_IN, dim=DIM, num_layers=2, bidirectional=bidirectional)
        changed = inputs().detach().clone()
        changed[:, 5] += 1
        before, after = body(inputs())[0], body(changed)[0]
        assert body.causal is not bidirectional
        assert torch.equal(before[:, :5], after[:, :5]) is body.causal
        assert not torch.equal(before[:, 5:], after[:, 5:])


@family
def test_reading_step_by_step_is_reading_at_once(name):
    torch.manual_seed(0)
    body = FAMILIES[name][0](DIM, dim=DIM, num_layers=2, dropout=0.5)
    network = Network(Tokens(11, dim=DIM), body, LanguageModel(DIM, 11)).eval()
    tokens = torch.randint(11, (BATCH, TIME))
    whole, state = network(tokens), None
    assert whole.shape == (BATCH, TIME, 11)
    for step in range(TIME):
        logits, state = network.step(tokens[:, step : step + 1], state)
        assert_close(logits, whole[:, step])
    logits, _ = network.step(tokens[:, 3:], network.step(tokens[:, :3])[1])
    assert_close(logits, whole[:, -1])


@family
@directions
def test_one_batch_is_learnt_by_heart(name, bidirectional):
    torch.manual_seed(0)
    body = FAMILIES[name][0](16, dim=32, bidirectional=bidirectional, pooling="max")
    network = Network(Tokens(20, dim=16), body, Classifier(body.dim_out, 4))
    tokens, target = torch.randint(20, (8, TIME)), torch.arange(8) % 4
    mask = torch.arange(TIME) < torch.randint(3, TIME + 1, (8, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(tokens, mask), target)
        loss.backward()
        optimizer.step()
    assert loss < 0.01


@family
@pytest.mark.parametrize("num_layers", [1, 3])
def test_the_number_of_parameters_is_that_of_the_equations(name, num_layers):
    body, gates = FAMILIES[name][0], FAMILIES[name][2]
    count = sum(p.numel() for p in body(DIM_IN, dim=DIM, num_layers=num_layers).parameters())
    # Input and state matrices of each gate, and torch's two biases.
    widths = [DIM_IN] + [DIM] * (num_layers - 1)
    assert count == gates * sum(DIM * width + DIM * DIM + 2 * DIM for width in widths)


@family
def test_dropout_works_between_layers_and_at_the_output_of_a_single_one(name):
    for bidirectional in (False, True):
        body = FAMILIES[name][0](DIM_IN, dim=64, dropout=0.5, bidirectional=bidirectional)
        dropped = (body.train()(inputs())[0] == 0).float().mean()
        assert 0.4 < dropped < 0.6
        assert (body.eval()(inputs())[0] != 0).all()


def test_the_activation_of_the_elman_network_is_chosen():
    torch.manual_seed(0)
    features, _ = RNN(DIM_IN, dim=32, nonlinearity="relu")(inputs())
    assert features.min() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"dim": 0}, {"num_layers": 0}, {"dropout": 1.0}, {"pooling": "sum"}, {"nonlinearity": "sigmoid"},
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RNN(DIM_IN, **wrong)


def test_an_lstm_is_computed_under_autocast_on_any_cpu():
    # oneDNN refuses it on CPUs without bfloat16.
    torch.manual_seed(0)
    layer, features = LSTMLayers(4, 8, 2, batch_first=True), torch.randn(3, 5, 4)
    expected, _ = layer(features)
    with torch.autocast("cpu", torch.bfloat16):
        found, state = layer(features)
        later, _ = layer(features.bfloat16(), tuple(one.bfloat16() for one in state))
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.02)
    later.float().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in layer.parameters())
