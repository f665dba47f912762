"""GPT against Hugging Face's GPT2LMHeadModel and the paper's count; what a reader from left to right must do."""

import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from nnkit.embeds.tokens import Tokens
from nnkit.heads.language_model import LanguageModel
from nnkit.models.gpt import GPT
from nnkit.network import Network

VOCAB, DIM, LAYERS, HEADS, LENGTH = 50, 24, 3, 4, 15

positions_of = pytest.mark.parametrize("positions", ["learned", "rotary"])


def network(positions="learned", dropout=0.0):
    torch.manual_seed(0)
    body = GPT(
        DIM, dim=DIM, num_layers=LAYERS, num_heads=HEADS, max_len=LENGTH + 3,
        dropout=dropout, positions=positions, activation="gelu_tanh",
    )  # fmt: skip
    net = Network(Tokens(VOCAB, dim=DIM, std=0.02), body, LanguageModel(DIM, VOCAB, tied=True, tied_dim=DIM))
    # Biases and norms begin at zero and one, where a swap would not be seen; small weights would hide mistakes.
    with torch.no_grad():
        for parameter in net.parameters():
            nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.3)
    return net


def tokens(batch=3, length=LENGTH):
    return torch.randint(VOCAB, (batch, length), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def peer():
    """Hugging Face's model with our weights, and pairs of the weights that correspond."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(
            vocab_size=VOCAB, n_embd=DIM, n_layer=LAYERS, n_head=HEADS, n_positions=LENGTH + 3,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, attn_implementation="eager",
            bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        theirs = GPT2LMHeadModel(config)
    ours = network()
    names = {"embed.vectors": "wte", "body.positions": "wpe", "body.norm": "ln_f"}
    for number in range(LAYERS):
        for one, other in (
            ("attention_norm", "ln_1"),
            ("attention.query_key_value", "attn.c_attn"),
            ("attention.out", "attn.c_proj"),
            ("feed_forward_norm", "ln_2"),
            ("feed_forward.0", "mlp.c_fc"),
            ("feed_forward.3", "mlp.c_proj"),
        ):
            names[f"body.layers.{number}.{one}"] = f"h.{number}.{other}"
    there = dict(theirs.transformer.named_parameters())
    pairs = []
    for name, parameter in ours.named_parameters():
        part, _, kind = name.rpartition(".")
        other = there.pop(f"{names[part]}.{kind}")
        # Their linear layers hold the weights the other way round.
        turned = kind == "weight" and names[part].rpartition(".")[2].startswith("c_")
        pairs.append((parameter, other, turned))
    assert not there
    with torch.no_grad():
        for parameter, other, turned in pairs:
            other.copy_(parameter.T if turned else parameter)
    return ours, theirs, pairs


def test_outputs_loss_and_gradients_are_those_of_hugging_face(peer):
    ours, theirs, pairs = peer
    inputs = tokens()
    logits = ours(inputs)
    loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), inputs[:, 1:].flatten())
    expected = theirs(inputs, labels=inputs)
    torch.testing.assert_close(logits, expected.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loss, expected.loss, atol=1e-5, rtol=1e-5)
    for model, value in ((ours, loss), (theirs, expected.loss)):
        model.zero_grad()
        value.backward()
    for parameter, other, turned in pairs:
        assert parameter.grad.abs().max() > 0
        torch.testing.assert_close(
            parameter.grad, other.grad.T if turned else other.grad, atol=1e-5, rtol=1e-4
        )


def test_gpt2_has_the_parameters_of_the_paper(cli):
    code, out, _ = cli("summary", "model=gpt2", "data=shakespeare", "data.vocab_size=50257")
    assert code == 0
    (total,) = [line.split() for line in out.splitlines() if line.strip().startswith("total")]
    assert total[1] == "124,439,808"


def test_a_tied_head_is_one_tensor_without_a_bias():
    net = network()
    assert [name for name in net.state_dict() if "head" in name] == []
    assert sum(parameter.shape == (VOCAB, DIM) for parameter in net.parameters()) == 1
    net(tokens()).sum().backward()
    # Scored with as well as read by, so that tokens that were never read have a gradient too.
    unread = sorted(set(range(VOCAB)) - set(tokens().flatten().tolist()))
    assert net.embed.vectors.weight.grad[unread].abs().min() > 0


@positions_of
def test_a_step_never_sees_what_comes_later(positions):
    net = network(positions)
    inputs = tokens()
    changed = inputs.clone()
    changed[:, 9:] = (changed[:, 9:] + 7) % VOCAB
    one, other = net(inputs), net(changed)
    torch.testing.assert_close(one[:, :9], other[:, :9], atol=1e-5, rtol=1e-5)
    assert (one[:, 9:] - other[:, 9:]).abs().amax(-1).min() > 1e-3


@positions_of
def test_padding_on_the_right_changes_nothing(positions):
    net = network(positions)
    inputs = tokens()
    short = inputs[:, :6]
    mask = torch.arange(LENGTH).expand_as(inputs) < 6
    features, _ = net.body(net.embed(inputs), mask)
    alone, _ = net.body(net.embed(short), torch.ones_like(short, dtype=torch.bool))
    torch.testing.assert_close(features[:, :6], alone, atol=1e-5, rtol=1e-5)
    summaries = net.body.summary(features, mask), net.body.summary(alone)
    torch.testing.assert_close(*summaries, atol=1e-5, rtol=1e-5)


@positions_of
@pytest.mark.parametrize("cuts", [[1] * LENGTH, [6, 1, 1, 7], [LENGTH]])
def test_reading_on_with_a_cache_is_reading_at_once(positions, cuts):
    net = network(positions).eval()
    inputs = tokens()
    whole = net(inputs)
    state, end = None, 0
    for part in inputs.split(cuts, dim=1):
        scores, state = net.step(part, state)
        end += part.shape[1]
        torch.testing.assert_close(scores, whole[:, end - 1], atol=1e-5, rtol=1e-5)


def test_more_than_it_can_read_is_refused():
    net = network()
    with pytest.raises(ValueError, match="19 steps are more than max_len, 18"):
        net(tokens(length=19))
    _, state = net.step(tokens(length=18))
    with pytest.raises(ValueError, match="19 steps are more than max_len, 18"):
        net.step(tokens(length=1), state)


def test_weights_begin_as_in_the_paper():
    torch.manual_seed(0)
    body = GPT(128, dim=128, num_layers=8, num_heads=4)
    for name, parameter in body.named_parameters():
        if name.endswith("norm.weight"):
            assert (parameter == 1).all()
        elif parameter.ndim == 1:
            assert (parameter == 0).all()
        else:
            back = name.endswith(("out.weight", "feed_forward.3.weight"))
            expected = 0.02 / math.sqrt(2 * 8) if back else 0.02
            assert parameter.std().item() == pytest.approx(expected, rel=0.05), name


def test_dropout_is_off_in_evaluation_and_on_in_training():
    net = network(dropout=0.5)
    inputs = tokens()
    assert torch.equal(net.eval()(inputs), net(inputs))
    assert not torch.equal(net.train()(inputs), net(inputs))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"num_heads": 5}, "num_heads must divide dim"),
        ({"num_heads": 8, "positions": "rotary"}, "heads of even width"),
        ({"positions": "sinusoids"}, "positions must"),
        ({"max_len": 0}, "max_len must"),
        ({"dropout": 1.0}, "dropout must"),
    ],
)
def test_what_cannot_be_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        GPT(24, **{"dim": 24, "num_heads": 4, **wrong})
