"""Predictions of texts: padded together, scored one by one, and named in full or in brief."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from nnkit.batches import IGNORED, BlockBatch, TextBatch
from nnkit.cli.verbs import predict as verb
from nnkit.data.base import DataModule
from nnkit.embeds.tokens import Tokens as Embed
from nnkit.heads.classifier import Classifier
from nnkit.heads.language_model import LanguageModel
from nnkit.inference.prediction import Unreadable, predict
from nnkit.models.gru import GRU
from nnkit.network import Network
from nnkit.tasks.classification import Classification
from nnkit.tasks.language_modeling import LanguageModeling

ZERO = torch.zeros(1, dtype=torch.int64)
NONE = {"make_optimizer": None, "make_scheduler": None, "target": "index", "loss": nn.CrossEntropyLoss()}


class Reader:
    """A data module of texts, each letter a token."""

    preprocessing = {}  # noqa: RUF012
    read_at_once, reads_targets = DataModule.read_at_once, False
    read_batches = DataModule.read_batches

    def __init__(self, make):
        self.make = make
        self.learnt_tokenizer = self

    def read(self, items):
        for item in items:
            yield item, self.make(tokens(item)) if item else "it is empty"


def tokens(text):
    return torch.tensor([[ord(letter) - 97 for letter in text]])


def labelled(inputs):
    return TextBatch(inputs, torch.ones_like(inputs, dtype=torch.bool), ZERO, ZERO)


def blocks(inputs):
    characters = torch.tensor([inputs.shape[1] - 1.0])
    return BlockBatch(inputs[:, :-1], inputs[:, 1:], characters, ZERO)


def network(head):
    torch.manual_seed(0)
    embed = Embed(26, dim=8)
    body = GRU(embed.dim_out, dim=16)
    return Network(embed, body, head(body.dim_out))


def test_texts_of_all_lengths_share_a_batch_and_are_ranked_as_if_alone():
    net = network(lambda dim: Classifier(dim, 3))
    task = Classification(num_classes=3, class_names=["a", "b", "c"], network=net, **NONE).eval()
    calls = []
    net.register_forward_hook(lambda module, inputs, outputs: calls.append(len(outputs)))
    texts = ["abc", "z", "", "hello", "qqqqqqqqqqq"]
    answers = list(predict(task, Reader(labelled), texts, top_k=3))
    assert calls == [4]
    assert answers[2] == Unreadable("", "it is empty")
    for text, answer in zip(texts, answers, strict=True):
        if text:
            with torch.inference_mode():
                shares = net(tokens(text)).softmax(-1)[0]
            assert answer.item == text
            assert {label: share for label, share in answer.top} == pytest.approx(
                dict(zip("abc", shares.tolist(), strict=True)), rel=1e-4
            )


def test_a_language_model_says_how_surprising_a_text_is():
    net = network(lambda dim: LanguageModel(dim, 26))
    task = LanguageModeling(network=net, **NONE).eval()
    texts = ["hello", "", "ab"]
    long, empty, short = predict(task, Reader(blocks), texts)
    assert empty == Unreadable("", "it is empty")
    for text, answer in (("hello", long), ("ab", short)):
        numbers = tokens(text)
        with torch.inference_mode():
            shares = functional.log_softmax(net(numbers[:, :-1]), -1)[0]
        bits = -sum(shares[step, token].item() for step, token in enumerate(numbers[0, 1:])) / math.log(2)
        assert answer.values["bits_per_character"] == pytest.approx(bits / (len(text) - 1), rel=1e-5)
        assert answer.values["perplexity"] == pytest.approx(2 ** (bits / (len(text) - 1)), rel=1e-5)


def test_what_is_not_to_be_predicted_does_not_count():
    net = network(lambda dim: LanguageModel(dim, 26))
    task = LanguageModeling(network=net, **NONE).eval()

    def padded(inputs):
        target = functional.pad(inputs[:, 1:], (0, 3), value=IGNORED)
        return BlockBatch(functional.pad(inputs[:, :-1], (0, 3)), target, blocks(inputs).characters, ZERO)

    (whole,), (with_gap,) = (list(predict(task, Reader(make), ["hello"])) for make in (blocks, padded))
    assert with_gap.values == pytest.approx(whole.values, rel=1e-5)


def test_an_excerpt_is_one_line_of_the_beginning_and_the_end():
    text = "It was the best of times,\nit was the worst of times, " * 4 + "THE END"
    assert verb.excerpt("short\ntext") == "short text"
    found = verb.excerpt(text)
    assert len(found) == 60
    assert found.startswith("It was the best of times, it was")
    assert found.endswith("worst of times, THE END"[-20:])
