"""Many prompts are written on from side by side, each text as if its prompt were alone."""

import random

import pytest
import torch

from nnkit.data.tokenizing import learn_tokenizer
from nnkit.decoding.sampling import Sampling
from nnkit.embeds.tokens import Tokens
from nnkit.errors import UserError
from nnkit.heads.language_model import LanguageModel
from nnkit.inference import many_prompts
from nnkit.inference.generation import continuations, encode_prompt, whole
from nnkit.inference.many_prompts import continuations_of_many
from nnkit.models.gpt import GPT
from nnkit.models.lstm import LSTM
from nnkit.network import Network

LETTERS = "abcdefgh \n"
TOKENIZER = learn_tokenizer("characters", [LETTERS], max_vocab=None, with_unknown=False)


def network(body):
    torch.manual_seed(1)
    made = GPT(16, dim=16, num_layers=2, num_heads=2, max_len=24) if body == "gpt" else LSTM(16, dim=16)
    net = Network(Tokens(len(LETTERS), dim=16, std=0.5), made, LanguageModel(made.dim_out, len(LETTERS)))
    # Far from ties, which rounding might break otherwise.
    for parameter in net.head.parameters():
        parameter.data *= 8
    return net.double().eval()


def prompts(num):
    dice = random.Random(2)
    return ["".join(dice.choices(LETTERS, k=dice.randint(1, 20))) for _ in range(num)]


@pytest.mark.parametrize("body", ["gpt", "lstm"])
@pytest.mark.parametrize(
    ("sampling", "num_samples", "stop"),
    [
        (Sampling(0), 1, ()),
        (Sampling(0), 1, ("ab", "c")),
        (Sampling(0.9, top_k=6), 3, ()),
        (Sampling(1.0), 1, ("a",)),
    ],
)
def test_each_text_is_that_of_its_prompt_alone(monkeypatch, body, sampling, num_samples, stop):
    monkeypatch.setattr(many_prompts, "_TOGETHER", 8)
    monkeypatch.setattr(many_prompts, "_AHEAD", 2)
    net, texts = network(body), prompts(37)
    options = {"length": 30, "sampling": sampling, "seeds": (4,), "num_samples": num_samples, "stop": stop}
    batches = []
    net.head.register_forward_hook(lambda module, inputs, outputs: batches.append(len(outputs)))
    encoded = [encode_prompt(TOKENIZER, text) for text in texts]
    found = list(continuations_of_many(net, TOKENIZER, encoded, **options))
    assert max(batches) == 8 // num_samples * num_samples
    alone = [whole(continuations(net, TOKENIZER, one, **options), num_samples) for one in encoded]
    assert found == alone
    assert len({text for some in alone for text in some}) > (5 if body == "gpt" else 1)


def test_prompts_are_read_as_texts_are_written(monkeypatch):
    monkeypatch.setattr(many_prompts, "_TOGETHER", 2)
    monkeypatch.setattr(many_prompts, "_AHEAD", 2)
    read = []

    def encoded():
        for text in prompts(12):
            read.append(text)
            yield encode_prompt(TOKENIZER, text)

    found = continuations_of_many(
        network("lstm"), TOKENIZER, encoded(), length=2, sampling=Sampling(0), seeds=(0,)
    )
    next(found)
    assert len(read) == 4
    assert len(list(found)) == 11


def test_a_prompt_that_is_too_long_is_refused():
    found = continuations_of_many(
        network("gpt"), TOKENIZER, [[1], [1] * 25], length=2, sampling=Sampling(0), seeds=(0,)
    )
    with pytest.raises(UserError, match="a prompt has 25 tokens, more than can be read, 24"):
        next(found)
