"""Predictions of texts: padded together, scored one by one, and named in full or in brief."""

import math
import random

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
from nnkit.inference.prediction import Scores, Unreadable, predict, predict_batches
from nnkit.models.gru import GRU
from nnkit.network import Network
from nnkit.tasks.classification import Classification
from nnkit.tasks.language_modeling import LanguageModeling
from nnkit.tasks.predictions import Predictions, WrittenTexts

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


class Scored(Reader):
    """Texts of which some have a true class."""

    reads_targets = True

    def read(self, items):
        for item in items:
            text, _, target = item.partition("=")
            if not text:
                yield item, "it is empty"
                continue
            found = labelled(tokens(text))
            yield item, found._replace(target=torch.tensor([int(target or -1)]))


def many_texts(num, *, unlabelled=0):
    dice = random.Random(5)
    texts = ["".join(dice.choices("abcdefgh", k=dice.choice([1, 2, 3, 5, 40, 90]))) for _ in range(num)]
    texts = [text if place % 7 < unlabelled else f"{text}={place % 3}" for place, text in enumerate(texts)]
    return [*texts[:400], "", *texts[400:]]


def classifier():
    net = network(lambda dim: Classifier(dim, 3))
    return Classification(num_classes=3, class_names=["a", "b", "c"], network=net, **NONE).eval()


@pytest.mark.parametrize("unlabelled", [0, 2])
def test_many_texts_are_predicted_by_length_and_answered_in_order(unlabelled):
    task, reader = classifier(), Scored(labelled)
    shapes = []
    task.network.register_forward_hook(lambda module, inputs, outputs: shapes.append(inputs[1].shape))
    items = many_texts(1500, unlabelled=unlabelled)
    scores = Scores(task)
    reads = list(predict_batches(task, reader, items, scores=scores))
    assert [name for read, _ in reads for name in read.names] == items
    # The answers come as the items were read, and not all at the end.
    assert [len(read.names) for read, _ in reads] == [256] * 5 + [221]
    computed = sum(rows * length for rows, length in shapes)
    needed = sum(len(item.partition("=")[0]) for item in items)
    assert computed < (1.15 if not unlabelled else 2.1) * needed
    assert max(rows * length for rows, length in shapes) <= 16_384
    results = scores.results()

    # One by one.
    alone, right = classifier(), []
    for read, predictions in reads:
        names, _ = read.readable()
        for name, answer in zip(names, predictions.each(names), strict=True):
            text, _, target = name.partition("=")
            with torch.inference_mode():
                shares = alone.network(tokens(text)).softmax(-1)[0]
            assert answer.item == name
            assert dict(answer.top) == pytest.approx(dict(zip("abc", shares.tolist(), strict=True)), abs=1e-5)
            if target:
                right.append(int(shares.argmax()) == int(target))
    assert results["accuracy"] == pytest.approx(sum(right) / len(right))
    assert scores.num_labelled == len(right) == 1500 - scores.num_unlabelled
    assert scores.num_unlabelled == (0 if not unlabelled else sum(place % 7 < 2 for place in range(1500)))


def test_a_task_that_predicts_in_its_own_way_does_so_beside_its_metrics():
    class Other(Classification):
        def predict(self, batch, data, top_k):
            return WrittenTexts([str(int(number)) for number in batch.mask.sum(1)])

    net = network(lambda dim: Classifier(dim, 3))
    task = Other(num_classes=3, class_names=["a", "b", "c"], network=net, **NONE).eval()
    items, scores = many_texts(600), Scores(task)
    answers = [
        text
        for _, found in predict_batches(task, Scored(labelled), items, scores=scores)
        for text in found.texts
    ]
    assert answers == [str(len(item.partition("=")[0])) for item in items if item]
    assert 0 <= scores.results()["accuracy"] <= 1
    assert scores.num_labelled == 600


def test_predictions_without_another_order_are_made_in_order():
    class Plain(Predictions):
        def __init__(self, lengths):
            self.lengths = lengths

        def columns(self):
            return {"length": self.lengths}

        def each(self, names, kept=None):
            return iter(self.lengths.tolist())

    class Other(Classification):
        def predict(self, batch, data, top_k):
            return Plain(batch.mask.sum(1).numpy())

    net = network(lambda dim: Classifier(dim, 3))
    task = Other(num_classes=3, class_names=["a", "b", "c"], network=net, **NONE).eval()
    items = many_texts(600)
    found = [
        int(length)
        for _, one in predict_batches(task, Scored(labelled), items)
        for length in one.columns()["length"]
    ]
    assert found == [len(item.partition("=")[0]) for item in items if item]


def test_labelled_texts_go_through_the_network_once():
    task = classifier()
    calls = []
    task.network.register_forward_hook(lambda module, inputs, outputs: calls.append(len(outputs)))
    list(predict_batches(task, Scored(labelled), ["abc=0", "de=1", "f=2"], scores=Scores(task)))
    assert calls == [3]
