"""The Transformer against torch.nn.Transformer with the same weights: outputs, gradients, masks, steps, counts."""

import math
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from nnkit.embeds.pair_tokens import PairTokens
from nnkit.heads.language_model import LanguageModel
from nnkit.layers.positions import rotations
from nnkit.models.transformer import Transformer
from nnkit.network import Network

DIM, HEADS, HIDDEN, LAYERS = 12, 3, 20, 2
LENGTHS = torch.tensor([7, 1, 4])
MASK = torch.arange(7) < LENGTHS[:, None]
CONF = Path(__file__).parent.parent.parent / "conf" / "model"

norms = pytest.mark.parametrize("norm_first", [False, True], ids=["post_norm", "pre_norm"])


rotary = pytest.mark.parametrize("rotary", [False, True], ids=["plain", "rotary"])


def body(norm_first, activation="relu", rotary=False):
    torch.manual_seed(0)
    model = Transformer(
        DIM, dim=DIM, num_layers=LAYERS, num_heads=HEADS, hidden=HIDDEN,
        dropout=0.0, norm_first=norm_first, activation=activation, rotary=rotary,
    )  # fmt: skip
    # Biases and norms begin at zero and one, where a swap would not be seen.
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=1.0, std=0.3)
    return model


def twin(model, norm_first, activation="relu"):
    """torch's own, and pairs of the weights that correspond: ours, theirs."""
    theirs = nn.Transformer(
        DIM, HEADS, LAYERS, LAYERS, HIDDEN,
        dropout=0.0, activation=activation, batch_first=True, norm_first=norm_first,
    )  # fmt: skip
    pairs = []
    if norm_first:
        pairs += both(model.encoder_norm, theirs.encoder.norm) + both(model.decoder_norm, theirs.decoder.norm)
    else:
        # torch normalises once more after the last layer, the paper does not.
        theirs.encoder.norm = theirs.decoder.norm = None
    for ours, other in zip(model.encoder, theirs.encoder.layers, strict=True):
        pairs += layer(ours, other) + both(ours.feed_forward_norm, other.norm2)
    for ours, other in zip(model.decoder, theirs.decoder.layers, strict=True):
        pairs += (
            layer(ours, other)
            + both(ours.memory_norm, other.norm2)
            + both(ours.feed_forward_norm, other.norm3)
        )
        cross, attention = ours.memory_attention, other.multihead_attn
        pairs += [
            ([cross.query.weight, cross.key_value.weight], attention.in_proj_weight),
            ([cross.query.bias, cross.key_value.bias], attention.in_proj_bias),
            *both(cross.out, attention.out_proj),
        ]
    pairs = [(ours if isinstance(ours, list) else [ours], other) for ours, other in pairs]
    with torch.no_grad():
        for ours, other in pairs:
            other.copy_(torch.cat(ours))
    assert {id(other) for _, other in pairs} == {id(parameter) for parameter in theirs.parameters()}
    assert sum(len(ours) for ours, _ in pairs) == len(list(model.parameters()))
    return theirs, pairs


def both(ours, theirs):
    return [(ours.weight, theirs.weight), (ours.bias, theirs.bias)]


def layer(ours, theirs):
    attention = ours.attention
    return [
        (attention.query_key_value.weight, theirs.self_attn.in_proj_weight),
        (attention.query_key_value.bias, theirs.self_attn.in_proj_bias),
        *both(attention.out, theirs.self_attn.out_proj),
        *both(ours.attention_norm, theirs.norm1),
        *both(ours.feed_forward[0], theirs.linear1),
        *both(ours.feed_forward[3], theirs.linear2),
    ]


def placed(vectors):
    """Sections 3.4 and 3.5 of the paper, number by number."""
    table = [
        [
            (math.cos if place % 2 else math.sin)(step / 10_000 ** (place // 2 * 2 / DIM))
            for place in range(DIM)
        ]
        for step in range(vectors.shape[1])
    ]
    return vectors * math.sqrt(DIM) + torch.tensor(table)


def inputs(target=5):
    generator = torch.Generator().manual_seed(1)
    return tuple(
        torch.randn(3, time, DIM, generator=generator).requires_grad_() for time in (7, target)
    )  # fmt: skip


def assert_close(one, other):
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@norms
@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "masked"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_outputs_and_gradients_are_those_of_torch(norm_first, mask, activation):
    model = body(norm_first, activation)
    theirs, pairs = twin(model, norm_first, activation)
    (source, prefix), (other_source, other_prefix) = inputs(), inputs()
    features, _ = model.decode(prefix, model.encode(source, mask), mask)
    hidden = None if mask is None else ~mask
    expected = theirs(
        placed(other_source), placed(other_prefix),
        tgt_mask=torch.ones(5, 5, dtype=torch.bool).triu(1),
        src_key_padding_mask=hidden, memory_key_padding_mask=hidden,
    )  # fmt: skip
    assert_close(features, expected)
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(2))
    (features * weights).sum().backward()
    (expected * weights).sum().backward()
    assert_close(source.grad, other_source.grad)
    assert_close(prefix.grad, other_prefix.grad)
    for ours, other in pairs:
        assert_close(torch.cat([part.grad for part in ours]), other.grad)


@norms
@rotary
def test_step_by_step_is_the_whole_target_at_once_and_states_have_the_batch_first(norm_first, rotary):
    model = body(norm_first, rotary=rotary)
    source, prefix = inputs()
    memory = model.encode(source, MASK)
    whole, _ = model.decode(prefix, memory, MASK)
    steps, state = [], None
    for token in prefix.split([1, 2, 1, 1], dim=1):
        features, state = model.decode(token, memory, MASK, state)
        assert all(len(tensor) == 3 for caches in state for cache in caches for tensor in cache)
        steps.append(features)
    assert_close(torch.cat(steps, dim=1), whole)


@norms
@rotary
def test_padding_and_neighbours_change_nothing(norm_first, rotary):
    model = body(norm_first, rotary=rotary)
    source, prefix = inputs()
    spoilt = source.detach().masked_fill(~MASK.unsqueeze(-1), 9.0)
    together, _ = model.decode(prefix, model.encode(spoilt, MASK), MASK)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, _ = model.decode(prefix[row : row + 1], model.encode(source[row : row + 1, :length]))
        assert_close(together[row], alone[0])


@norms
@rotary
def test_the_decoder_does_not_see_what_comes_later_and_the_encoder_sees_all(norm_first, rotary):
    model = body(norm_first, rotary=rotary)
    source, prefix = inputs()
    features, _ = model.decode(prefix, model.encode(source))
    features[:, 2].square().sum().backward()
    assert (prefix.grad.abs().sum((0, 2)) > 0).tolist() == [True, True, True, False, False]
    assert (source.grad.abs().sum((0, 2)) > 0).all()


def test_rotary_self_attention_is_that_of_a_complex_product():
    model = body(True, rotary=True)
    source, _ = inputs()
    attention, norm = model.encoder[0].attention, model.encoder[0].attention_norm
    features = norm(placed(source))
    query, key, value = attention.query_key_value(features).view(3, 7, 3, HEADS, -1).unbind(2)
    half = DIM // HEADS // 2
    angles = torch.arange(7.0)[:, None] / 10_000 ** (torch.arange(half) / half)
    turn = torch.polar(torch.ones_like(angles), angles)
    # Number i and number i + half of a head are a complex number (Su et al. 2021, equation 16).
    query, key = (torch.complex(*part.chunk(2, dim=-1)) * turn[:, None] for part in (query, key))
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key.conj()).real / (2 * half) ** 0.5
    mixed = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), value).flatten(2)
    rotation = rotations(0, 7, 2 * half, source)
    found, _ = attention(features, rotation=rotation)
    assert_close(found, attention.out(mixed))
    # And the model does attend so.
    model.encoder[0].attention.record = True
    model.encode(source)
    assert_close(model.encoder[0].attention.weights, scores.softmax(-1))


def test_attention_that_is_recorded_is_the_same_attention():
    model = body(False)
    source, prefix = inputs()
    expected, _ = model.decode(prefix, model.encode(source, MASK), MASK)
    for layer in model.decoder:
        layer.memory_attention.record = layer.attention.record = True
    found, _ = model.decode(prefix, model.encode(source, MASK), MASK)
    assert_close(found, expected)
    for layer in model.decoder:
        weights = layer.memory_attention.weights
        assert weights.shape == (3, HEADS, 5, 7)
        assert (weights * ~MASK[:, None, None, :] == 0).all()
        assert (layer.attention.weights.triu(1) == 0).all()


@norms
def test_one_batch_is_learnt(norm_first):
    torch.manual_seed(0)
    model = Transformer(16, dim=16, num_layers=1, num_heads=2, dropout=0.0, norm_first=norm_first)
    network = Network(PairTokens(12, 9, dim=16), model, LanguageModel(16, 9, tied=True, tied_dim=16))
    generator = torch.Generator().manual_seed(3)
    source = torch.randint(2, 12, (8, 7), generator=generator)
    target = torch.randint(2, 9, (8, 5), generator=generator)
    prefix = torch.cat([torch.zeros(8, 1, dtype=torch.int64), target[:, :-1]], dim=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(80):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(source, None, prefix).flatten(0, 1), target.flatten())
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_the_paper_s_size_has_the_paper_s_parameters():
    node = yaml.safe_load((CONF / "transformer_base.yaml").read_text(encoding="utf-8"))
    arguments = {name: value for name, value in node.items() if name not in ("_target_", "embeds")}
    with torch.device("meta"):
        embed = PairTokens(37_000, 37_000, dim=512, shared=True)
        network = Network(
            embed, Transformer(512, **arguments), LanguageModel(512, 37_000, tied=True, tied_dim=512)
        )
    attention, norm = 4 * (512 * 512 + 512), 2 * 512
    feed_forward = 512 * 2048 + 2048 + 2048 * 512 + 512
    encoder = 6 * (attention + feed_forward + 2 * norm)
    decoder = 6 * (2 * attention + feed_forward + 3 * norm)
    count = sum(parameter.numel() for parameter in network.parameters())
    # 65 million in table 3, with a vocabulary of about 37,000.
    assert count == encoder + decoder + 37_000 * 512 == 63_082_496


@pytest.mark.parametrize(
    "wrong",
    [
        {"dim": 0},
        {"num_layers": 0},
        {"num_heads": 5},
        {"dropout": 1.0},
        {"num_heads": 4, "dim": DIM, "rotary": True},
    ],
)
def test_values_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Transformer(DIM, **wrong)
