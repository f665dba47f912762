"""Attention against a softmax written out in loops, and against torch.nn.MultiheadAttention."""

import math

import pytest
import torch
from torch import nn

from nnkit.layers.attention import CrossAttention, SelfAttention
from nnkit.layers.positions import rotations

BATCH, TIME, KEYS, DIM, HEADS = 2, 6, 9, 12, 3
WIDTH = DIM // HEADS
MASK = torch.arange(TIME) < torch.tensor([6, 4])[:, None]
MEMORY_MASK = torch.arange(KEYS) < torch.tensor([3, 9])[:, None]

causality = pytest.mark.parametrize("causal", [False, True])


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def layer(**arguments):
    torch.manual_seed(0)
    return SelfAttention(DIM, HEADS, **arguments)


def by_loops(query, key, value, may_see):
    """Mix values (batch, keys, dim), for each step and head by itself; return that and the weights."""
    mixed, weights = torch.zeros_like(query), torch.zeros(BATCH, HEADS, query.shape[1], key.shape[1])
    for sample in range(BATCH):
        for head in range(HEADS):
            part = slice(head * WIDTH, (head + 1) * WIDTH)
            for step in range(query.shape[1]):
                seen = [other for other in range(key.shape[1]) if may_see(sample, step, other)]
                scores = [
                    query[sample, step, part] @ key[sample, other, part] / math.sqrt(WIDTH) for other in seen
                ]
                shares = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
                weights[sample, head, step, seen] = shares
                mixed[sample, step, part] = shares @ value[sample, seen, part]
    return mixed, weights


@causality
@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_self_attention_is_the_softmax_of_the_products(causal, precision):
    attention, inputs = layer(), drawn(BATCH, TIME, DIM)
    with torch.no_grad():
        query, key, value = attention.query_key_value(inputs).chunk(3, dim=-1)
        may_see = lambda sample, step, other: MASK[sample, other] and (other <= step or not causal)  # noqa: E731
        expected, weights = by_loops(query, key, value, may_see)
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(precision)
        try:
            output, _ = attention(inputs, mask=MASK, causal=causal)
            attention.record = True
            recorded, _ = attention(inputs, mask=MASK, causal=causal)
        finally:
            torch.set_float32_matmul_precision(before)
    # Products of bfloat16 have eight bits.
    close = {"atol": 1e-5, "rtol": 1e-5} if precision == "highest" else {"atol": 0.02, "rtol": 0.02}
    real = MASK[..., None]
    torch.testing.assert_close(output * real, attention.out(expected) * real, **close)
    torch.testing.assert_close(recorded * real, output * real, **close)
    # A causal step looks at padding only where it is padding itself.
    torch.testing.assert_close(
        attention.weights * MASK[:, None, :, None], weights * MASK[:, None, :, None], **close
    )


def test_attention_to_a_memory_is_the_softmax_of_the_products():
    torch.manual_seed(0)
    attention, inputs, memory = CrossAttention(DIM, HEADS, 7), drawn(BATCH, TIME, DIM), drawn(BATCH, KEYS, 7)
    with torch.no_grad():
        key, value = attention.key_value(memory).chunk(2, dim=-1)
        expected, weights = by_loops(
            attention.query(inputs), key, value, lambda sample, _, other: MEMORY_MASK[sample, other]
        )
        attention.record = True
        output, cache = attention(inputs, memory, MEMORY_MASK)
        again, _ = attention(inputs, torch.zeros_like(memory), MEMORY_MASK, cache)
    torch.testing.assert_close(output, attention.out(expected), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(attention.weights, weights, atol=1e-5, rtol=1e-5)
    assert torch.equal(output, again)


@causality
def test_outputs_weights_and_gradients_are_those_of_torch(causal):
    attention = layer()
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
    pairs = [
        (attention.query_key_value.weight, theirs.in_proj_weight),
        (attention.out.weight, theirs.out_proj.weight),
        (attention.query_key_value.bias, theirs.in_proj_bias),
        (attention.out.bias, theirs.out_proj.bias),
    ]
    with torch.no_grad():
        for ours, other in pairs:
            other.copy_(ours)
    one, other = (drawn(BATCH, TIME, DIM).requires_grad_() for _ in range(2))
    output, _ = attention(one, mask=None if causal else MASK, causal=causal)
    hidden = torch.ones(TIME, TIME, dtype=torch.bool).triu(1) if causal else None
    expected, weights = theirs(
        other,
        other,
        other,
        key_padding_mask=None if causal else ~MASK,
        attn_mask=hidden,
        average_attn_weights=False,
    )
    torch.testing.assert_close(output, expected, atol=1e-6, rtol=1e-5)
    for values in (output, expected):
        (values * drawn(BATCH, TIME, DIM + 1)[..., :DIM]).sum().backward()
    torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-5)
    for ours, their in pairs:
        torch.testing.assert_close(ours.grad, their.grad, atol=1e-5, rtol=1e-5)
    attention.record = True
    attention(one, mask=None if causal else MASK, causal=causal)
    torch.testing.assert_close(attention.weights, weights.detach(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("record", [False, True])
def test_a_cache_is_the_same_as_reading_at_once(rotary, record):
    attention, inputs = layer(), drawn(BATCH, TIME, DIM)
    attention.record = record

    def turned(start, length):
        return rotations(start, length, WIDTH, inputs) if rotary else None

    whole, _ = attention(inputs, causal=True, rotation=turned(0, TIME))
    cache, parts, start = None, [], 0
    for part in inputs.split([2, 3, 1], dim=1):
        output, cache = attention(part, causal=True, rotation=turned(start, part.shape[1]), cache=cache)
        start += part.shape[1]
        parts.append(output)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-6, rtol=1e-5)


def test_dropout_acts_on_weights_while_training_only():
    attention, inputs = layer(dropout=0.5), drawn(BATCH, TIME, DIM)
    plain, _ = layer()(inputs)
    torch.testing.assert_close(attention.eval()(inputs)[0], plain)
    for attention.record in (False, True):
        assert not torch.allclose(attention.train()(inputs)[0], plain, atol=1e-3)


@pytest.mark.parametrize("wrong", [{"num_heads": 5}, {"num_heads": 0}, {"dim": 0}, {"dropout": 1.5}])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SelfAttention(**{"dim": DIM, "num_heads": HEADS, **wrong})
