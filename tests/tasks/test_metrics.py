"""Metrics against scikit-learn and loops in float64, for any cut of a split into batches."""

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torch import nn

import nnkit
from nnkit.batches import IGNORED, BlockBatch, SentenceBatch, SeriesBatch, TableBatch
from nnkit.losses.cross_entropy import CrossEntropy
from nnkit.losses.focal import Focal
from nnkit.losses.map import MAP
from nnkit.tasks.classification import Classification
from nnkit.tasks.forecasting import Forecasting
from nnkit.tasks.language_modeling import LanguageModeling
from nnkit.tasks.masked_lm import MaskedLM
from nnkit.tasks.regression import Regression, names_of

NONE = {"make_optimizer": None, "make_scheduler": None}
WEIGHTS = [0.0, 0.5, 1.0, 4.0]
# Where a split of 60 samples is cut into batches.
CUTS = st.sets(st.integers(1, 59), max_size=12).map(lambda places: [0, *sorted(places), 60])


class Given(nn.Module):
    """Returns what it was made with, by the sample numbers it is given as inputs."""

    max_len = None

    def __init__(self, outputs, precision=torch.float32):
        super().__init__()
        self.outputs, self.precision = outputs, precision

    def forward(self, inputs, *rest):
        return self.outputs[inputs.long()].to(self.precision)


class Pair(Given):
    """Returns scores of masked tokens and of pairs."""

    def forward(self, inputs, mask, segments, where):
        tokens, follows = (part[inputs[:, 0]] for part in self.outputs)
        return tokens[where], follows


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels(most, *shape, seed=1):
    return torch.randint(most, shape, generator=torch.Generator().manual_seed(seed))


def numbers(results):
    return {name: float(value) for name, value in results.items()}


def evaluated(task, batch, cuts):
    for start, end in pairwise(cuts):
        task.evaluate(type(batch)(*(field[start:end] for field in batch)))
    return numbers(task.results())


def trained(task, batch, cuts):
    """Return the means that are logged of these training batches, read in two windows and as an epoch."""
    for number, (start, end) in enumerate(pairwise(cuts)):
        task.training_step(type(batch)(*(field[start:end] for field in batch)), number)
        if number == 1:
            task.read_window()
    return task.read_epoch()


def weighted_loss(scores, target, weights, power=0.0):
    """Return the weighted mean of -(1 - p)^power log p in float64."""
    rows = scores.double().log_softmax(-1)[torch.arange(len(target)), target]
    weights = torch.tensor(weights).double()[target]
    return float((weights * -rows * (1 - rows.exp()) ** power).sum() / weights.sum())


@settings(max_examples=25, deadline=None)
@given(CUTS, st.sampled_from(["smoothed", "weighted", "focal", "bce", "sum", "map"]), st.booleans())
def test_classification_is_the_same_for_any_batches(cuts, kind, half):
    scores, target = drawn(60, 4), labels(4, 60)
    precision = torch.bfloat16 if half else torch.float32
    ones, read = [1.0] * 4, scores.to(precision).float()
    one_hot = nn.functional.one_hot(target, 4).double()
    loss, expected = {
        "smoothed": (CrossEntropy(label_smoothing=0.3), weighted_loss(read, target, ones)),
        "weighted": (
            CrossEntropy(label_smoothing=0.1, class_weights=WEIGHTS),
            weighted_loss(read, target, WEIGHTS),
        ),
        "focal": (Focal(gamma=2.0, class_weights=WEIGHTS), weighted_loss(read, target, WEIGHTS, 2.0)),
        "bce": (nn.BCEWithLogitsLoss(), None),
        "sum": (nn.BCEWithLogitsLoss(reduction="sum"), None),
        "map": (MAP(j=0.5), float(MAP(j=0.5)(read.double(), target))),
    }[kind]
    if expected is None:
        expected = float(nn.functional.binary_cross_entropy_with_logits(read.double(), one_hot))
    kind_of_target = "one_hot" if kind in ("bce", "sum") else "index"
    task = Classification(
        num_classes=4, network=Given(scores, precision), loss=loss, target=kind_of_target, **NONE
    )
    found = evaluated(task, TableBatch(torch.arange(60), target, torch.arange(60)), cuts)
    predicted = read.argmax(-1)
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(target, predicted), rel=1e-6)
    assert found["f1"] == pytest.approx(
        sklearn_metrics.f1_score(target, predicted, average="macro"), rel=1e-6
    )


@settings(max_examples=25, deadline=None)
@given(CUTS, st.booleans())
def test_what_training_logs_is_the_same_for_any_batches(cuts, smoothed):
    scores, target = drawn(60, 4), labels(4, 60)
    # No weight is 0: the mean over a batch that has none is not a number, and is differentiated.
    weights = [0.25, 0.5, 1.0, 4.0]
    loss = CrossEntropy(label_smoothing=0.2 * smoothed, class_weights=weights)
    task = Classification(num_classes=4, network=Given(scores), loss=loss, target="index", **NONE)
    found = trained(task, TableBatch(torch.arange(60), target, torch.arange(60)), cuts)
    whole = nn.CrossEntropyLoss(weight=torch.tensor(weights).double(), label_smoothing=0.2 * smoothed)
    assert found["loss"] == pytest.approx(float(whole(scores.double(), target)), rel=1e-5)
    assert found["accuracy"] == pytest.approx(float((scores.argmax(-1) == target).double().mean()), rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    CUTS,
    # Kelvin, latitude, seconds since 1970, and a mean that no float32 holds.
    st.sampled_from([(288.15, 9.3), (52.52, 0.004), (1.7e9, 4.0e6), (1 / 3, 1e-4)]),
    st.sampled_from([nn.MSELoss(), nn.L1Loss(), nn.MSELoss(reduction="sum")]),
)
def test_regression_is_that_of_scikit_learn_on_the_users_units(cuts, scale, loss):
    mean, std = torch.tensor(scale).double().tolist()
    truth = drawn(60, 2) * torch.tensor([1.0, 0.5])
    said = truth + 0.4 * drawn(60, 2, seed=2)
    task = Regression(
        target_mean=[mean] * 2, target_std=[std] * 2, network=Given(said), loss=loss, target="real", **NONE
    )
    found = evaluated(task, TableBatch(torch.arange(60), truth, torch.arange(60)), cuts)
    real, units = truth.double().numpy() * std + mean, said.double().numpy() * std + mean
    assert found["r2"] == pytest.approx(sklearn_metrics.r2_score(real, units), abs=1e-6)
    assert found["mae"] == pytest.approx(sklearn_metrics.mean_absolute_error(real, units), rel=1e-6)
    assert found["rmse"] == pytest.approx(
        math.sqrt(sklearn_metrics.mean_squared_error(real, units)), rel=1e-6
    )
    plain = nn.L1Loss() if isinstance(loss, nn.L1Loss) else nn.MSELoss()
    assert found["loss"] == pytest.approx(float(plain(said.double(), truth.double())), rel=1e-5)
    assert task.last_outputs.numpy() == pytest.approx(units[cuts[-2] :], rel=1e-14)


def test_r2_of_targets_that_are_all_equal_is_that_of_scikit_learn():
    truth = torch.full((5, 1), 0.25)
    for said in (truth, truth + drawn(5, 1)):
        task = Regression(
            target_mean=[3.0], target_std=[2.0], network=Given(said), loss=nn.MSELoss(), target="real", **NONE
        )
        found = evaluated(task, TableBatch(torch.arange(5), truth, torch.arange(5)), [0, 2, 5])
        assert found["r2"] == sklearn_metrics.r2_score(truth, said)


@settings(max_examples=20, deadline=None)
@given(CUTS)
def test_forecasting_is_the_same_for_any_batches_in_large_units(cuts):
    mean, std = np.array([1.7e9, 288.15]), np.array([4.0e6, 9.3])
    truth, said = drawn(60, 6), drawn(60, 6, seed=3)
    task = Forecasting(
        target_mean=mean.tolist(),
        target_std=std.tolist(),
        network=Given(said),
        loss=nn.HuberLoss(),
        target="real",
        **NONE,
    )
    found = evaluated(task, SeriesBatch(torch.arange(60), truth, torch.arange(60)), cuts)
    real, units = (part.double().numpy().reshape(60, 3, 2) * std + mean for part in (truth, said))
    error = units - real
    assert found["mse"] == pytest.approx((error**2).mean(), rel=1e-6)
    assert found["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-6)
    nrmse = np.sqrt((error**2).mean((0, 1))) / real.std((0, 1))
    assert found["nrmse"] == pytest.approx(nrmse.mean(), rel=1e-6)
    assert found["loss"] == pytest.approx(float(nn.HuberLoss()(said.double(), truth.double())), rel=1e-5)
    assert task.last_outputs.numpy() == pytest.approx(units[cuts[-2] :], rel=1e-14)


@settings(max_examples=20, deadline=None)
@given(CUTS, st.sampled_from(["plain", "smoothed", "focal", "weighted"]))
def test_language_modeling_is_the_same_for_any_batches(cuts, kind):
    logits, target = drawn(60, 7, 5), labels(5, 60, 7)
    # Gaps of unequal length.
    target = target.masked_fill(torch.arange(7) > labels(7, 60, 1, seed=4), IGNORED)
    characters = (target != IGNORED).sum(1) * 2.5
    weights = [0.5, 1.0, 2.0, 1.0, 3.0]
    loss = {
        "plain": CrossEntropy(),
        "smoothed": CrossEntropy(label_smoothing=0.4),
        "focal": Focal(gamma=1.0),
        "weighted": CrossEntropy(class_weights=weights),
    }[kind]
    task = LanguageModeling(network=Given(logits), loss=loss, target="index", **NONE)
    task.network.forward = lambda inputs: logits[inputs[:, 0]]
    inputs = torch.arange(60)[:, None].expand(60, 7)
    found = evaluated(task, BlockBatch(inputs, target, characters, torch.arange(60)), cuts)
    scored = target != IGNORED
    nats = float(nn.functional.cross_entropy(logits[scored].double(), target[scored], reduction="sum"))
    count = int(scored.sum())
    given_weights = weights if kind == "weighted" else [1.0] * 5
    expected = weighted_loss(logits[scored], target[scored], given_weights, power=float(kind == "focal"))
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(nats / count), rel=1e-5)
    assert found["bits_per_character"] == pytest.approx(nats / math.log(2) / (2.5 * count), rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(CUTS, st.sampled_from([0.0, 0.3]))
def test_masked_lm_is_the_same_for_any_batches_in_evaluation_and_training(cuts, smoothing):
    tokens, follows = drawn(60, 6, 9), drawn(60, 2, seed=5)
    hidden = torch.arange(6) <= labels(6, 60, 1, seed=6)
    target, truth = labels(9, 60, 6).masked_fill(~hidden, IGNORED), labels(2, 60)
    inputs = torch.arange(60)[:, None].expand(60, 6)
    whole = SentenceBatch(
        inputs, torch.ones_like(hidden), torch.zeros_like(inputs), target, truth, torch.arange(60)
    )
    loss = CrossEntropy(label_smoothing=smoothing)
    task = MaskedLM(network=Pair((tokens, follows)), loss=loss, target="index", **NONE)
    found, logged = evaluated(task, whole, cuts), trained(task, whole, cuts)
    for results, smooth in ((found, 0.0), (logged, smoothing)):
        exact = nn.CrossEntropyLoss(label_smoothing=smooth)
        mlm, nsp = (
            float(exact(tokens[hidden].double(), target[hidden])),
            float(exact(follows.double(), truth)),
        )
        assert results["mlm_loss"] == pytest.approx(mlm, rel=1e-5)
        assert results["next_sentence_loss"] == pytest.approx(nsp, rel=1e-5)
        assert results["loss"] == pytest.approx(mlm + nsp, rel=1e-5)
    hits = (tokens[hidden].argmax(-1) == target[hidden]).double().mean()
    for results in (found, logged):
        assert results["masked_accuracy"] == pytest.approx(float(hits), rel=1e-6)


def test_a_class_that_is_neither_there_nor_predicted_is_left_out_of_f1():
    target = torch.tensor([0, 1, 1, 2])
    task = Classification(
        num_classes=4,
        network=Given(nn.functional.one_hot(target, 4).float()),
        loss=CrossEntropy(),
        target="index",
        **NONE,
    )
    assert evaluated(task, TableBatch(torch.arange(4), target, torch.arange(4)), [0, 3, 4])["f1"] == 1


def test_an_own_loss_names_its_evaluation_form_and_its_weights():
    class Own(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, prediction, target):
            weights = target + 1.0
            return self.factor * (weights * prediction[:, 0]).sum() / weights.sum()

        def total_weight(self, target):
            return (target + 1.0).sum()

        def evaluation_form(self):
            return Own(1)

    scores, target = drawn(60, 3), labels(3, 60)
    task = Classification(num_classes=3, network=Given(scores), loss=Own(5), target="index", **NONE)
    found = evaluated(task, TableBatch(torch.arange(60), target, torch.arange(60)), [0, 7, 60])
    weights = target + 1.0
    assert found["loss"] == pytest.approx(float((weights * scores[:, 0]).sum() / weights.sum()), rel=1e-5)


def test_counts_above_what_32_bits_count_are_exact():
    task = Classification(
        num_classes=2, network=Given(drawn(1, 2)), loss=CrossEntropy(), target="index", **NONE
    )
    task.epoch_totals += torch.tensor([[2.0**25], [2.0**25]])
    for _ in range(4):
        task.training_step(TableBatch(torch.zeros(1), torch.zeros(1, dtype=torch.int64), torch.zeros(1)), 0)
    task.read_window()
    assert task.epoch_totals[1].tolist() == [2**25 + 4] * 2


def test_train_metrics_are_the_same_under_accumulation():
    words = ["data=iris", "model=mlp", "model.hidden=[8]", "trainer.max_epochs=1", "optimizer.lr=0"]
    words += [
        "optimizer.weight_decay=0",
        "loss.class_weights=[0.2,1,5]",
        "loss.label_smoothing=0.1",
        "scheduler=constant",
    ]
    words += ["trainer.num_threads=1", "logger=[]", "callbacks=[checkpoint]", "model.dropout=0"]
    logged = []
    for more in (["data.batch_size=120"], ["data.batch_size=7", "trainer.accumulate_grad_batches=3"]):
        result = nnkit.train([*words, *more])
        rows = map(json.loads, (result.run.path / "metrics.jsonl").read_text().splitlines())
        logged.append(next(row for row in rows if row["split"] == "epoch"))
    for name in ("train/loss", "train/accuracy"):
        assert logged[0][name] == pytest.approx(logged[1][name], rel=1e-5)


@pytest.mark.parametrize("kind", ["bpe", "words", "bytes"])
def test_bits_per_character_are_those_of_the_part_and_of_predict(kind):
    # The parts differ in how many characters a token stands for.
    head = "a bb ccc dddd eeeee ffffff " * 300
    tail = " ".join(f"ab{number * 7919 % 1000}  ünlike" for number in range(120))
    Path("text.txt").write_text(head + tail, encoding="utf-8")
    words = ["data=text_file", "data.path=text.txt", f"data.tokenizer={kind}", "data.val_fraction=0.05"]
    words += [
        "data.test_fraction=0.1",
        "data.block_size=16",
        "model=lstm",
        "model.dim=16",
        "model.num_layers=1",
    ]
    words += ["trainer.max_steps=5", "trainer.num_threads=1", "logger=[]", "callbacks=[checkpoint]"]
    words += ["loss.label_smoothing=0.2", *(["data.max_vocab=300"] if kind == "bpe" else [])]
    result = nnkit.train(words)
    loaded = nnkit.load(result.run.path)
    counts = loaded.data.preprocessing["counts"]
    per_token = {part: count["characters"] / count["tokens"] for part, count in counts.items()}
    assert max(per_token.values()) / min(per_token.values()) > 1.02
    nats = math.log(result.metrics["test/perplexity"]) * counts["test"]["tokens"]
    expected = nats / math.log(2) / counts["test"]["characters"]
    assert result.metrics["test/bits_per_character"] == pytest.approx(expected, rel=1e-5)
    assert result.metrics["test/loss"] == pytest.approx(math.log(result.metrics["test/perplexity"]), rel=1e-5)
    # The same of a text that is read as one piece.
    part = (head + tail)[-counts["test"]["characters"] :]
    (batch,) = [batch for _, batch in loaded.data.read([part])]
    network, rows = loaded.network.eval(), loaded.data.learnt_tokenizer.encode(part)
    first = len(part) - loaded.data.learnt_tokenizer.starts(part)[1]
    with torch.inference_mode():
        logits = network(torch.tensor(rows[None, :-1].astype("int64")))[0].double()
    nats = float(nn.functional.cross_entropy(logits, torch.tensor(rows[1:].astype("int64")), reduction="sum"))
    assert loaded.task.score_text(batch)["bits_per_character"] == pytest.approx(
        nats / math.log(2) / first, rel=1e-5
    )


def test_several_targets_have_an_error_each_by_their_names():
    truth = drawn(60, 3)
    said = truth + 0.4 * drawn(60, 3, seed=2)
    learnt = {
        "target": {"names": ["price in €", "size", "age"], "mean": [1.0, 2.0, 3.0], "std": [1.0, 5.0, 0.1]}
    }
    task = Regression(
        **Regression.learnt(learnt), network=Given(said), loss=nn.MSELoss(), target="real", **NONE
    )
    found = evaluated(task, TableBatch(torch.arange(60), truth, torch.arange(60)), [0, 7, 60])
    errors = (said - truth).abs().double().mean(0) * torch.tensor([1.0, 5.0, 0.1]).double()
    expected = dict(zip(["mae_price_in_", "mae_size", "mae_age"], errors.tolist(), strict=True))
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["mae"] == pytest.approx(np.mean([*expected.values()]))
    assert task.mode("val/mae_size") == "min"


def test_targets_of_earlier_runs_are_numbered():
    assert names_of({"name": "y", "mean": [0.0]}) == ["y"]
    assert names_of({"name": "y", "mean": [0.0, 0.0]}) == ["y_1", "y_2"]
