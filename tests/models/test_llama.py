"""Llama against Hugging Face's LlamaForCausalLM and the published count; what a reader from left to right must do."""

import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from nnkit.embeds.tokens import Tokens
from nnkit.heads.language_model import LanguageModel
from nnkit.models.llama import Llama
from nnkit.network import Network

VOCAB, DIM, LAYERS, HEADS, KV_HEADS, LENGTH = 50, 24, 3, 4, 2, 15


def network(kv_heads=KV_HEADS, **options):
    torch.manual_seed(0)
    body = Llama(
        DIM, dim=DIM, num_layers=LAYERS, num_heads=HEADS, num_kv_heads=kv_heads, max_len=LENGTH + 3, **options
    )
    net = Network(Tokens(VOCAB, dim=DIM), body, LanguageModel(DIM, VOCAB, bias=body.head_bias))
    # Norms begin at one, where a swap would not be seen; small weights would hide mistakes.
    with torch.no_grad():
        for parameter in net.parameters():
            nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.3)
    return net


def tokens(length=LENGTH):
    return torch.randint(VOCAB, (3, length), generator=torch.Generator().manual_seed(1))


def of_hugging_face(net, values):
    """Return what their parameters are called, by the names of ours, each with our value of it."""
    names = {
        "embed.vectors": ["model.embed_tokens"],
        "body.norm": ["model.norm"],
        "head.linear": ["lm_head"],
        "attention_norm": ["input_layernorm"],
        "attention.query_key_value": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        "attention.out": ["self_attn.o_proj"],
        "feed_forward_norm": ["post_attention_layernorm"],
        "feed_forward.gate": ["mlp.gate_proj"],
        "feed_forward.up": ["mlp.up_proj"],
        "feed_forward.down": ["mlp.down_proj"],
    }
    found = {}
    for name, parameter in net.named_parameters():
        part, value = name.removesuffix(".weight"), values(parameter)
        _, layer, inner = part.split(".", 3)[1:] if part.startswith("body.layers.") else ("", "", part)
        theirs = names[inner]
        sizes = net.body.layers[0].attention.widths if len(theirs) == 3 else [len(value)]
        for other, piece in zip(theirs, value.split(sizes), strict=True):
            found[f"model.layers.{layer}.{other}.weight" if layer else f"{other}.weight"] = piece
    return found


@pytest.mark.parametrize(
    ("kv_heads", "base", "eps"), [(KV_HEADS, 10_000.0, 1e-5), (1, 5e5, 1e-6), (None, 1e4, 0.1)]
)
def test_outputs_loss_and_gradients_are_those_of_hugging_face(kv_heads, base, eps):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            vocab_size=VOCAB, hidden_size=DIM, intermediate_size=64, num_hidden_layers=LAYERS,
            num_attention_heads=HEADS, num_key_value_heads=kv_heads or HEADS, rms_norm_eps=eps,
            rope_parameters={"rope_type": "default", "rope_theta": base}, max_position_embeddings=LENGTH + 3,
            tie_word_embeddings=False, attn_implementation="eager",
        )  # fmt: skip
        theirs = LlamaForCausalLM(config)
    ours = network(kv_heads, rotary_base=base, eps=eps)
    theirs.load_state_dict(of_hugging_face(ours, torch.detach))
    inputs = tokens()
    logits = ours(inputs)
    loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), inputs[:, 1:].flatten())
    expected = theirs(inputs, labels=inputs)
    torch.testing.assert_close(logits, expected.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loss, expected.loss, atol=1e-5, rtol=1e-5)
    loss.backward()
    expected.loss.backward()
    gradients = of_hugging_face(ours, lambda parameter: parameter.grad)
    for name, parameter in theirs.named_parameters():
        assert parameter.grad.abs().max() > 0
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-5, rtol=1e-4)


def test_tinyllama_has_the_published_number_of_parameters(cli):
    code, out, _ = cli("summary", "model=tinyllama", "data=shakespeare", "data.vocab_size=32000")
    assert code == 0
    (total,) = [line.split() for line in out.splitlines() if line.strip().startswith("total")]
    # Of the tensors of TinyLlama/TinyLlama-1.1B-Chat-v1.0.
    assert total[1] == "1,100,048,384"


@pytest.mark.parametrize("cuts", [[1] * LENGTH, [6, 1, 1, 7]])
def test_reading_on_with_a_cache_of_shared_heads_is_reading_at_once(cuts):
    net = network().eval()
    inputs = tokens()
    whole = net(inputs)
    state, end = None, 0
    for part in inputs.split(cuts, dim=1):
        scores, state = net.step(part, state)
        end += part.shape[1]
        torch.testing.assert_close(scores, whole[:, end - 1], atol=1e-5, rtol=1e-5)
    assert state[0][0][0].shape == (3, KV_HEADS, LENGTH, DIM // HEADS)


def test_a_step_sees_neither_what_comes_later_nor_padding():
    net = network()
    inputs = tokens()
    changed = inputs.clone()
    changed[:, 9:] = (changed[:, 9:] + 7) % VOCAB
    mask = torch.arange(LENGTH).expand_as(inputs) < 9
    one, other = (net.body(net.embed(each), mask)[0] for each in (inputs, changed))
    torch.testing.assert_close(one[:, :9], other[:, :9], atol=1e-5, rtol=1e-5)
    assert (one[:, 9:] - other[:, 9:]).abs().amax(-1).min() > 1e-3
    torch.testing.assert_close(net.body.summary(one, mask), one[:, 8])


def test_more_than_it_can_read_is_refused():
    _, state = network().step(tokens(length=18))
    with pytest.raises(ValueError, match="19 steps are more than max_len, 18"):
        network().step(tokens(length=1), state)


def test_weights_begin_as_gpt2s_do():
    torch.manual_seed(0)
    body = Llama(128, dim=128, num_layers=8)
    for name, parameter in body.named_parameters():
        if parameter.ndim == 1:
            assert (parameter == 1).all()
        else:
            back = name.endswith(("out.weight", "down.weight"))
            expected = 0.02 / math.sqrt(2 * 8) if back else 0.02
            assert parameter.std().item() == pytest.approx(expected, rel=0.05), name


def test_the_hidden_width_is_the_papers_rounded_up():
    # 8 / 3 * 128 = 341.3
    assert Llama(128, dim=128).layers[0].feed_forward.gate.out_features == 384
    assert Llama(96, dim=96).layers[0].feed_forward.gate.out_features == 256


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"num_heads": 5}, "num_heads must divide dim"),
        ({"num_heads": 8}, "heads of even width"),
        ({"num_kv_heads": 3}, "num_kv_heads must divide num_heads, 4; 3 does not"),
        ({"num_kv_heads": 0}, "num_kv_heads must divide"),
        ({"hidden": 0}, "hidden must"),
        ({"max_len": 0}, "max_len must"),
        ({"rotary_base": 0.0}, "rotary_base must be a positive number, not 0"),
        ({"eps": float("nan")}, "eps must be a positive number, not nan"),
        ({"dropout": 1.0}, "dropout must"),
    ],
)
def test_what_cannot_be_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Llama(24, **{"dim": 24, "num_heads": 4, **wrong})
