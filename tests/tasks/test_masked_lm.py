"""BERT's pre-training as a task, and a run from training to masked words."""

import json
import re

import pytest
import torch
from torch import nn

import nnkit
from nnkit.batches import IGNORED, SentenceBatch
from nnkit.errors import UserError
from nnkit.losses.cross_entropy import CrossEntropy
from nnkit.tasks.masked_lm import MaskedLM, best_together

WORDS = ["callbacks=[checkpoint]", "logger=[]", "trainer.num_threads=1"]


class Given(nn.Module):
    """Returns what it was made with, whatever it reads."""

    def __init__(self, tokens, follows):
        super().__init__()
        self.tokens, self.follows = tokens, follows

    def forward(self, inputs, mask, segments, where):
        rows = inputs[:, 0]
        return self.tokens[rows][where], self.follows[rows]


def test_losses_and_accuracies_are_means_over_masked_tokens_and_over_pairs():
    drawn = torch.Generator().manual_seed(0)
    tokens = torch.randn(5, 6, 9, generator=drawn)
    follows = torch.randn(5, 2, generator=drawn)
    # A different number of them in each pair, so that a mean of means would be another one.
    hidden = torch.arange(6) <= torch.arange(5)[:, None]
    target = torch.randint(9, (5, 6), generator=drawn).masked_fill(~hidden, IGNORED)
    truth, numbers = torch.tensor([0, 1, 1, 0, 1]), torch.arange(5)
    inputs = numbers[:, None].expand(5, 6)
    whole = SentenceBatch(inputs, torch.ones_like(hidden), torch.zeros_like(inputs), target, truth, numbers)
    learning = MaskedLM(
        network=Given(tokens, follows),
        loss=CrossEntropy(),
        target="index",
        make_optimizer=None,
        make_scheduler=None,
    )
    for part in (slice(0, 2), slice(2, 5)):
        learning.evaluate(SentenceBatch(*(field[part] for field in whole)))
    results = learning.results()
    chosen, right = tokens[hidden].log_softmax(-1), target[hidden]
    mlm_loss = -sum(row[number] for row, number in zip(chosen, right, strict=True)) / len(right)
    next_loss = -sum(row[number] for row, number in zip(follows.log_softmax(-1), truth, strict=True)) / 5
    expected = {
        "loss": mlm_loss + next_loss,
        "mlm_loss": mlm_loss,
        "masked_accuracy": (chosen.argmax(-1) == right).float().mean(),
        "next_sentence_loss": next_loss,
        "next_sentence_accuracy": (follows.argmax(-1) == truth).float().mean(),
    }
    assert results.keys() == MaskedLM.metrics.keys()
    for name, value in expected.items():
        torch.testing.assert_close(results[name], value)
    assert learning.results()["loss"] == 0
    loss, totals = learning.score(whole)
    torch.testing.assert_close(loss, expected["loss"])
    for name, (value, weight) in totals.items():
        torch.testing.assert_close(value / weight, expected[name])
    assert [weight.item() for _, weight in totals.values()] == [len(right), len(right), 5, 5]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A folder with a run that has learnt a language in which only one word is ever in doubt."""
    folder = tmp_path_factory.mktemp("outputs")
    documents = ["\n".join(["the cat sees a dog .", "it goes home ."] * 12)] * 40
    (folder / "text.txt").write_text("\n\n".join(documents))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NNKIT_CACHE", str(folder / "cache"))
        data = ["data=text_pairs_file", f"data.path={folder / 'text.txt'}", "data.max_vocab=60"]
        data += ["data.max_length=16", "data.batch_size=32", "trainer.check_val_every_n_epoch=8"]
        model = [
            "model=bert_tiny",
            "model.num_layers=1",
            "model.dim=64",
            "model.dropout=0",
            "optimizer.lr=5e-3",
        ]
        nnkit.train([*data, *model, "trainer.max_epochs=40", "name=bert", f"output_dir={folder}", *WORDS])
        nnkit.train(["data=iris", "trainer.max_epochs=1", "name=iris", f"output_dir={folder}", *WORDS])
    (folder / "text.txt").unlink()
    return folder


@pytest.fixture
def ask(cli, outputs):
    def run(*words):
        return cli("generate", "bert", "--output-dir", outputs, *words)

    return run


def test_masked_words_are_found_and_ranked(ask):
    code, out, err = ask("--prompt", "the cat [MASK] a dog .", "--format", "jsonl", "--top-k", 3)
    assert (code, err) == (0, "")
    row = json.loads(out)
    assert row["text"] == "the cat sees a dog ."
    (ranked,) = row["hidden"]
    assert ranked[0]["token"] == "sees"
    assert len(ranked) == 3
    assert 1 >= ranked[0]["probability"] > ranked[1]["probability"]
    code, out, _ = ask("--prompt", "the [MASK] sees a [MASK] .")
    assert code == 0
    assert re.fullmatch(r"the \S+ sees a \S+ \.", out.splitlines()[0])
    assert out.count("%") == 10


def test_a_second_sentence_is_judged(ask):
    _, out, _ = ask("--prompt", "the cat sees a dog .", "--next", "it goes home .", "--format", "jsonl")
    row = json.loads(out)
    assert row["hidden"] == []
    assert 0 <= row["follows"] <= 1
    code, out, _ = ask("--prompt", "the cat sees a [MASK] .", "--next", "it goes home .")
    assert code == 0
    assert out.startswith("the cat sees a dog . it goes home .")
    assert "the second text follows the first: " in out


def test_the_probability_of_the_next_sentence_is_that_of_the_label_the_run_was_trained_with(outputs):
    trained = nnkit.load("bert", outputs)
    found = trained.fill("the cat sees a dog .", following="it goes home .")
    with torch.no_grad():
        trained.task.network.head.follows.weight.zero_()
        trained.task.network.head.follows.bias.copy_(torch.tensor([2.0, 0.0]))
    expected = torch.tensor([2.0, 0.0]).softmax(0)
    asked = ("the cat sees a dog .", "it goes home .")
    assert trained.fill(*asked).follows == pytest.approx(expected[0].item())
    # A run from before the label was written down.
    del trained.data.preprocessing["is_next"]
    assert trained.fill(*asked).follows == pytest.approx(expected[1].item())
    assert 0 <= found.follows <= 1


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["--prompt", "the cat"], ["does not write on", "write [MASK]", "--next", "data=pydocs"]),
        ([], ["does not write on"]),
        (["--prompt", "[MASK] " * 40], ["it has 42 tokens", "at most 16"]),
        (["--prompt", "the [MASK]", "--next", " "], ["there is nothing to read"]),
        (["--prompt", "the [MASK]", "--top-k", "0"], ["--top-k must be at least 1, not 0"]),
        (["--prompt", "the [MASK]", "--length", "9"], ["--length is not for a run that fills in"]),
    ],
)
def test_what_cannot_be_asked_is_said(ask, words, messages):
    code, out, err = ask(*words)
    assert (code, out) == (2, "")
    for message in messages:
        assert message in err


def test_other_runs_are_told_from_it(cli, outputs):
    code, _, err = cli("generate", "iris", "--next", "a", "--output-dir", outputs)
    assert code == 2
    assert "is no language model" in err
    with pytest.raises(UserError, match="was not trained to find masked words"):
        nnkit.load("iris", outputs).fill("the [MASK]")


def test_from_python(outputs):
    found = nnkit.load("bert", outputs).fill("it goes [MASK] .", top_k=2)
    assert found.text == "it goes home ."
    assert found.follows is None
    with pytest.raises(ValueError, match="top_k must be at least 1"):
        nnkit.load("bert", outputs).fill("[MASK]", top_k=0)


def test_predict_ranks_masked_words(cli, outputs):
    items = ["it goes [MASK] .", "the cat goes home .", "[MASK] goes [MASK] ."]
    code, out, err = cli("predict", "bert", *items, "--output-dir", outputs)
    assert code == 2
    assert "the cat goes home .: nothing is masked in it: write [MASK]" in err
    first, both = (json.loads(line) for line in out.splitlines())
    assert first["label"] == "home"
    assert both["label"] == both["top"][0]["label"]
    assert len(both["label"].split()) == 2
    shares = [one["probability"] for one in both["top"]]
    assert len(shares) == 3
    assert shares == sorted(shares, reverse=True)


def test_the_best_choices_together_are_those_of_trying_all():
    found = [
        [(1, 0.5), (2, 0.3), (3, 0.2)],
        [(4, 0.7), (5, 0.25), (6, 0.05)],
        [(7, 0.4), (8, 0.35), (9, 0.25)],
    ]
    every = [
        ([one, two, three], p * q * r) for one, p in found[0] for two, q in found[1] for three, r in found[2]
    ]
    best = sorted(every, key=lambda choice: -choice[1])[:3]
    together = best_together(found, 3)
    assert [chosen for chosen, _ in together] == [chosen for chosen, _ in best]
    assert [share for _, share in together] == pytest.approx([share for _, share in best])
