"""Sequence to sequence and translation: the loss and the metrics against others."""

from functools import cache
from types import SimpleNamespace

import pytest
import sacrebleu
import torch
from torch import nn

from nnkit.batches import IGNORED, PairBatch
from nnkit.losses.cross_entropy import CrossEntropy
from nnkit.tasks.seq2seq import Seq2Seq, edit_distance
from nnkit.tasks.translation import Translation

BEGIN, END, FIRST = 0, 1, 2
WORDS = ["the", "cat", "sat", "on", "mat", "dog", "ran", "home", "."]
VOCAB = FIRST + len(WORDS)


class Data:
    """A part of samples and the words that they are made of."""

    begin, end, target_unknown, max_target_len = BEGIN, END, None, 12

    def __init__(self, count):
        self.count = count

    def split(self, name):
        assert name == "val"
        return range(self.count)

    def decode_target(self, tokens):
        return " ".join(WORDS[token - FIRST] for token in tokens)


class Told(nn.Module):
    """Answers each source, a number, with the text it was told; scores true tokens of a target by their number."""

    def __init__(self, answers):
        super().__init__()
        self.answers = answers
        self.sizes = []

    def forward(self, inputs, mask, prefix, where):
        return nn.functional.one_hot(prefix[where], VOCAB).float()

    def begin(self, inputs, mask):
        self.sizes.append(len(inputs))
        return inputs[:, 0], torch.zeros(len(inputs), dtype=torch.int64)

    def step(self, tokens, state):
        numbers, places = state
        said = [
            (*self.answers[number], END)[place]
            for number, place in zip(numbers.tolist(), places.tolist(), strict=True)
        ]
        return nn.functional.one_hot(torch.tensor(said), VOCAB).float() * 9, (numbers, places + 1)


def pairs(references, start=0):
    """A batch whose sources are the numbers of the samples."""
    longest = max(len(text) for several in references for text in several) + 1
    most = max(map(len, references))
    table = torch.full((len(references), most, longest), IGNORED)
    for row, several in enumerate(references):
        for place, text in enumerate(several):
            table[row, place, : len(text) + 1] = torch.tensor([*text, END])
    numbers = torch.arange(start, start + len(references))
    target = table[:, 0]
    prefix = torch.cat([torch.full_like(target[:, :1], BEGIN), target[:, :-1].clamp(min=0)], dim=1)
    return PairBatch(
        numbers[:, None], torch.ones(len(numbers), 1, dtype=torch.bool), prefix, target, table, numbers
    )


def made(task_class, answers, *, testing=False, loss=None, **arguments):
    task = task_class(
        network=Told(answers), loss=loss or CrossEntropy(), target="index",
        make_optimizer=None, make_scheduler=None, **arguments,
    )  # fmt: skip
    task._trainer = SimpleNamespace(datamodule=Data(len(answers)), testing=testing)
    return task


def random_texts(seed, count, shortest=1):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(shortest, 9, (count,), generator=generator).tolist()
    return [tuple(torch.randint(FIRST, VOCAB, (n,), generator=generator).tolist()) for n in lengths]


@cache
def slow_distance(one, other):
    """The definition, without a table."""
    if not one or not other:
        return len(one) + len(other)
    return min(
        slow_distance(one[1:], other) + 1,
        slow_distance(one, other[1:]) + 1,
        slow_distance(one[1:], other[1:]) + (one[0] != other[0]),
    )


def test_the_edit_distance_is_that_of_its_definition():
    texts = [(), *random_texts(0, 12)]
    for one in texts:
        for other in texts:
            assert edit_distance(one, other) == slow_distance(one, other)


def test_answers_are_held_against_the_nearest_reference():
    answers = [(2, 3), (2, 3, 4), (), (5, 5, 5, 5, 5)]
    references = [[(2, 3)], [(6, 6, 6, 6), (2, 3)], [(7, 8)], [(5, 5, 5), (5, 5, 5, 5, 5)]]
    task = made(Seq2Seq, answers)
    task.evaluate(pairs(references[:3]))
    task.evaluate(pairs(references[3:], start=3))
    results = task.results()
    assert set(results) == set(Seq2Seq.metrics)
    assert results["exact_match"] == pytest.approx(2 / 4)
    # No edit, one of two tokens, two of two, none of five.
    assert results["token_error"] == pytest.approx((0 + 1 + 2 + 0) / (2 + 2 + 2 + 5))


def test_loss_and_token_accuracy_are_those_of_all_tokens_whatever_the_training_loss():
    texts = random_texts(1, 20)
    for loss in (CrossEntropy(), CrossEntropy(label_smoothing=0.3)):
        task = made(Seq2Seq, texts, loss=loss)
        scores, targets = [], []
        for start in (0, 8, 16):
            batch = pairs([[text] for text in texts[start : start + 8]], start)
            task.evaluate(batch)
            where = batch.target != IGNORED
            scores.append(task.network(None, None, batch.prefix, where))
            targets.append(batch.target[where])
        logits, target = torch.cat(scores), torch.cat(targets)
        results = task.results()
        assert results["loss"] == pytest.approx(nn.functional.cross_entropy(logits, target).item(), rel=1e-5)
        assert results["token_accuracy"] == pytest.approx((logits.argmax(-1) == target).float().mean().item())
        assert results["exact_match"] == 1
        mean, totals = task.score(batch)
        right, count = totals["token_accuracy"]
        assert mean == pytest.approx(loss(scores[-1], targets[-1]).item(), rel=1e-5)
        assert right / count == (scores[-1].argmax(-1) == targets[-1]).float().mean()


@pytest.mark.parametrize(("count", "most"), [(20, 7), (20, 20), (20, 1), (20, None), (5, 100)])
def test_validation_answers_so_many_spread_evenly_and_the_test_all(count, most):
    texts = random_texts(2, count)
    for testing in (False, True):
        task = made(Seq2Seq, texts, testing=testing, max_decoded=most)
        for start in range(0, count, 6):
            task.evaluate(pairs([[text] for text in texts[start : start + 6]], start))
        expected = count if testing or most is None else min(most, count)
        assert sum(task.network.sizes) == expected
        assert task.results()["exact_match"] == 1


def test_results_are_cleared_and_the_sums_are_no_buffers():
    for task_class in (Seq2Seq, Translation):
        task = made(task_class, [(2, 3), (4,)])
        batch = pairs([[(2, 4)], [(4,)]])
        task.evaluate(batch)
        first = task.results()
        task.evaluate(batch)
        assert task.results() == first
        assert set(dict(task.named_buffers())) == {"window", "epoch_totals"}
        # Without a sample nothing is claimed.
        assert all(
            value.isnan() for name, value in task.results().items() if name not in ("loss", "token_accuracy")
        )


def test_bleu_and_chrf_are_those_of_sacrebleu():
    answers = random_texts(3, 30, shortest=4)
    references = [[text[:-1] or text] for text in answers]
    for number in range(0, 30, 3):
        references[number].append(answers[(number + 1) % 30])
    task = made(Translation, answers)
    for start in (0, 12, 24):
        task.evaluate(pairs(references[start : start + 12], start))
    results = task.results()
    assert set(results) == set(Translation.metrics)
    said = [Data.decode_target(None, text) for text in answers]
    streams = [
        [Data.decode_target(None, several[place]) if place < len(several) else None for several in references]
        for place in range(2)
    ]
    assert results["bleu"] == pytest.approx(sacrebleu.corpus_bleu(said, streams).score, rel=1e-5)
    assert results["chrf"] == pytest.approx(sacrebleu.corpus_chrf(said, streams).score, rel=1e-5)
    assert 30 < results["bleu"] < 99


@pytest.mark.parametrize(
    ("wrong", "name"),
    [({"max_decoded": 0}, "max_decoded"), ({"beam_size": 0}, "beam_size"), ({"length_penalty": -1}, "length_penalty")],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(wrong, name):
    with pytest.raises(ValueError, match=name):
        made(Seq2Seq, [(2,)], **wrong)
