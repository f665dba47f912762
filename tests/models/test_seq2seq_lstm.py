"""The recurrent encoder-decoder: against its equations over torch's own LSTM, causal, indifferent to padding."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nnkit.embeds.pair_tokens import PairTokens
from nnkit.heads.language_model import LanguageModel
from nnkit.models.seq2seq_lstm import Seq2SeqLSTM
from nnkit.network import Network

DIM_IN, DIM = 5, 6
LENGTHS = torch.tensor([7, 1, 4])
MASK = torch.arange(7) < LENGTHS[:, None]
NAMES = ["luong", "bahdanau"]

both = pytest.mark.parametrize("name", NAMES)


def body(name, **arguments):
    torch.manual_seed(0)
    return Seq2SeqLSTM(DIM_IN, dim=DIM, attention=name, **arguments).eval()


def inputs(batch=3, source=7, target=5):
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(batch, time, DIM_IN, generator=generator).requires_grad_() for time in (source, target)
    )


def assert_close(one, other):
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def written_out(model, source, prefix, name):
    """The papers' equations for a batch, the encoder on packed sequences, the decoder on cells."""
    encoder = nn.LSTM(DIM_IN, DIM, bidirectional=True, batch_first=True)
    forwards, backwards = model.encoder.layers[0]
    weights = {key: parameter for key, parameter in forwards.named_parameters()}
    weights |= {f"{key}_reverse": parameter for key, parameter in backwards.named_parameters()}

    def encode(features):
        packed = pack_padded_sequence(features, LENGTHS, batch_first=True, enforce_sorted=False)
        states, (last, _) = torch.func.functional_call(encoder, weights, (packed,))
        return pad_packed_sequence(states, batch_first=True)[0], torch.cat([last[0], last[1]], dim=-1)

    memory, ends = encode(source)
    first, cell = model.first(ends).chunk(2, dim=-1)
    state = torch.tanh(first)
    cell_weights = {key.removesuffix("_l0"): value for key, value in model.decoder.named_parameters()}
    lstm = nn.LSTMCell(model.decoder.input_size, DIM)

    def look(query):
        contexts = []
        for row, length in enumerate(LENGTHS.tolist()):
            energies = []
            for place in range(length):
                key = model.attention.key.weight @ memory[row, place]
                if name == "luong":
                    energies.append(query[row] @ key)
                else:
                    energies.append(
                        (model.attention.query(query[row]) + key).tanh() @ model.attention.energy.weight[0]
                    )
            shares = torch.stack(energies).softmax(0)
            contexts.append(shares @ memory[row, :length])
        return torch.stack(contexts)

    found = []
    for time in range(prefix.shape[1]):
        given = prefix[:, time]
        if name == "bahdanau":
            context = look(state)
            given = torch.cat([given, context], dim=-1)
        state, cell = torch.func.functional_call(lstm, cell_weights, (given, (state, cell)))
        if name == "luong":
            context = look(state)
        found.append(torch.tanh(model.out(torch.cat([state, context], dim=-1))))
    return torch.stack(found, dim=1)


@both
def test_outputs_and_gradients_are_those_of_the_equations(name):
    model = body(name)
    results = []
    for compute in (
        lambda source, prefix: model.decode(prefix, model.encode(source, MASK), MASK)[0],
        lambda source, prefix: written_out(model, source, prefix, name),
    ):
        source, prefix = inputs()
        model.zero_grad()
        features = compute(source, prefix)
        (features * torch.randn(features.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
        gradients = [parameter.grad.clone() for parameter in model.parameters()]
        results.append((features, source.grad * MASK.unsqueeze(-1), prefix.grad, *gradients))
    for one, other in zip(*results, strict=True):
        assert_close(one, other)


@both
@pytest.mark.parametrize("num_layers", [1, 2])
def test_step_by_step_is_the_whole_target_at_once_and_states_have_the_batch_first(name, num_layers):
    model = body(name, num_layers=num_layers)
    source, prefix = inputs()
    memory = model.encode(source, MASK)
    whole, _ = model.decode(prefix, memory, MASK)
    steps, state = [], None
    for token in prefix.split([1, 2, 1, 1], dim=1):
        features, state = model.decode(token, memory, MASK, state)
        assert all(len(part) == 3 for part in state)
        steps.append(features)
    assert_close(torch.cat(steps, dim=1), whole)


@both
def test_padding_and_neighbours_change_nothing(name):
    model = body(name, num_layers=2)
    source, prefix = inputs()
    spoilt = source.detach().masked_fill(~MASK.unsqueeze(-1), 9.0)
    together, _ = model.decode(prefix, model.encode(spoilt, MASK), MASK)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, _ = model.decode(prefix[row : row + 1], model.encode(source[row : row + 1, :length]))
        assert_close(together[row], alone[0])


@both
def test_what_comes_later_is_not_seen(name):
    model = body(name)
    source, prefix = inputs()
    features, _ = model.decode(prefix, model.encode(source))
    features[:, 2].sum().backward()
    reached = prefix.grad.abs().sum((0, 2)) > 0
    assert reached.tolist() == [True, True, True, False, False]


@both
def test_weights_are_kept_on_request(name):
    model = body(name)
    source, prefix = inputs()
    memory = model.encode(source, MASK)
    model.decode(prefix, memory, MASK)
    assert model.attention.weights is None
    model.attention.record = True
    model.decode(prefix, memory, MASK)
    weights = model.attention.weights
    assert weights.shape == (3, 1, 5, 7)
    assert_close(weights.sum(-1), torch.ones(3, 1, 5))
    assert (weights * ~MASK[:, None, None, :] == 0).all()
    assert not weights.requires_grad


@both
def test_one_batch_is_learnt(name):
    torch.manual_seed(0)
    network = Network(
        PairTokens(12, 9, dim=16), Seq2SeqLSTM(16, dim=24, attention=name), LanguageModel(24, 9)
    )
    generator = torch.Generator().manual_seed(3)
    source = torch.randint(2, 12, (8, 7), generator=generator)
    target = torch.randint(2, 9, (8, 5), generator=generator)
    prefix = torch.cat([torch.zeros(8, 1, dtype=torch.int64), target[:, :-1]], dim=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(source, None, prefix).flatten(0, 1), target.flatten())
        loss.backward()
        optimizer.step()
    assert loss < 0.05


def test_dropout_acts_in_training_only():
    model = body("luong", dropout=0.5, num_layers=2)
    source, prefix = inputs()
    one, other = (model.decode(prefix, model.encode(source))[0] for _ in range(2))
    assert torch.equal(one, other)
    dropped = model.train().decode(prefix, model.encode(source))[0]
    assert 0.2 < (dropped == 0).float().mean() < 0.8


@pytest.mark.parametrize(
    "wrong", [{"dim": 0}, {"num_layers": 0}, {"dropout": 1.0}, {"attention": "dot"}]
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Seq2SeqLSTM(DIM_IN, **wrong)


@both
def test_the_number_of_parameters_is_that_of_the_equations(name):
    def lstm(width):
        return 4 * (width * DIM + DIM * DIM + 2 * DIM)

    memory = 2 * DIM
    expected = 2 * lstm(DIM_IN) + memory * memory + memory
    expected += memory * DIM + (memory + DIM) * DIM + DIM
    expected += lstm(DIM_IN) if name == "luong" else lstm(DIM_IN + memory) + DIM * DIM + DIM + DIM
    assert sum(parameter.numel() for parameter in body(name).parameters()) == expected
