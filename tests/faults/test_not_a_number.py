"""What is not finite never reaches the weights, nor the choice of a checkpoint (classes 11 and 12)."""

import re
from pathlib import Path

import faulty
import pytest
import torch
from faulty import TRAIN, Poison, add_callback
from lightning.pytorch import Callback

from nnkit.checkpoint.store import CheckpointStore
from nnkit.runs.run import Run
from nnkit.tasks.classification import Classification

EVERY_STEP = ["callbacks.checkpoint.every_n_steps=1", "callbacks.checkpoint.keep_last=1000"]
MARKED = ["data.fault=mark", "data.bad=[40]"]
NAN = ["data.fault=not_a_number", "data.bad=[40]"]


@pytest.fixture(autouse=True)
def own_package(monkeypatch):
    faulty.install(monkeypatch)


PLACES = {
    "inputs": ([*NAN], "in the batch itself, inputs of training samples 40 (1 of 16)", "clean the data"),
    "infinite inputs": (
        ["data.fault=infinite", "data.bad=[40,20]"],
        "in the batch itself, inputs of training samples 20, 40 (2 of 16)",
        "policy=skip",
    ),
    "a layer": (
        [*MARKED, "model.fault=layer"],
        "what body.sore (Sore) returns is not finite, for training samples 40 (1 of 16)",
        "optimizer.lr=0.0003 or trainer.gradient_clip_val=1.0",
    ),
    "between two layers": (
        [*MARKED, "model.fault=between"],
        "what body.second (Linear) is given in body (Body) is not finite, for training samples 40 (1 of 16)",
        "policy=skip",
    ),
    "a logarithm of zero": (
        [*MARKED, "model.fault=minus_infinity"],
        "what body.second (Linear) returns is not finite, given minus infinity, for training samples 40",
        "policy=skip",
    ),
    "a gradient": (
        [*MARKED, "model.fault=gradient"],
        "the gradient of body.norm.bias is not finite, nor are those of 3 more",
        "try optimizer.lr=0.0003",
    ),
}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("place", PLACES)
def test_the_run_stops_before_the_step_and_names_the_first_place(cli, place, precision):
    options, words, advice = PLACES[place]
    code, _, err = cli("train", *TRAIN, *EVERY_STEP, f"trainer.precision={precision}", *options)
    assert code == 1
    assert "Traceback" not in err
    assert "not finite at step 3; the weights were not changed" in err
    assert f"first found: {words}" in err
    assert advice in err
    assert ("trainer.precision=32-true" in err) == (precision == "bf16-mixed" and "inputs" not in place)
    # Four losses, a rate on its way up to 0.003, and all samples of the batch.
    losses = re.search(r"last losses: (.*); learning rate 0.00244", err)[1].split(", ")
    assert len(losses) == 4
    assert (losses[-1] == "nan") == (place != "a gradient")
    assert "batch: training samples 30, 20, 40, 61, 12, 6, 21, 54 and 8 more" in err
    # What stands is the step before.
    run = Run(Path("outputs/run"))
    assert run.status() == "failed"
    manifest, state = CheckpointStore(run.checkpoints).load("last")
    assert manifest.step == 3
    assert all(tensor.isfinite().all() for tensor in state["state_dict"].values())


def test_all_batches_of_an_accumulation_window_are_looked_at(cli):
    # Sample 52 is in the second of four batches.
    options = ["trainer.accumulate_grad_batches=4", "data.fault=not_a_number", "data.bad=[52]"]
    code, _, err = cli("train", *TRAIN, *options)
    assert code == 1
    assert "not finite at step 0;" in err
    assert "inputs of training samples 52 (1 of 16)" in err
    assert "62, 4, 5, 0, 23, 1, 56, 58 and 56 more" in err
    losses = re.search(r"last losses: (.*);", err)[1].split(", ")
    assert losses[1] == "nan"
    # Not the quarter of it that is differentiated.
    assert float(losses[0]) > 0.7


def test_a_parameter_that_is_not_finite_is_named(cli, monkeypatch):
    add_callback(monkeypatch, Poison(lambda network: network.head.linear.weight.fill_(torch.nan)))
    _, _, err = cli("train", *TRAIN)
    assert "first found: what head.linear (Linear) returns is not finite, as its weight is not" in err


def test_a_parameter_that_only_a_gradient_notices_is_named(cli, monkeypatch):
    add_callback(monkeypatch, Poison(lambda network: network.body.hidden.fill_(torch.nan)))
    _, _, err = cli("train", *TRAIN, "model.fault=parameter")
    assert "first found: the parameter body.hidden is not finite" in err


def test_a_norm_too_large_for_its_type_is_told_from_a_gradient_that_is_not_finite(cli, monkeypatch):
    add_callback(monkeypatch, Poison(lambda network: network.head.linear.weight.fill_(1e30)))
    _, _, err = cli("train", *TRAIN)
    assert "first found: the gradient is finite, its norm is not: body." in err


def test_at_the_first_step_the_learning_rate_is_not_blamed(cli, monkeypatch):
    add_callback(monkeypatch, Poison(lambda network: network.head.linear.weight.fill_(torch.nan), step=0))
    _, _, err = cli("train", *TRAIN)
    assert "no step has been taken yet, so it is not the learning rate" in err
    assert "optimizer.lr" not in err


def test_a_second_pass_that_finds_nothing_blames_no_layer(cli, monkeypatch):
    class Lie(Callback):
        def on_before_backward(self, trainer, pl_module, loss):
            if trainer.global_step == 3:
                loss.data.fill_(torch.nan)

    add_callback(monkeypatch, Lie())
    code, _, err = cli("train", *TRAIN)
    assert code == 1
    assert "first found: nothing: computed a second time, with other dropout, all is finite" in err


def test_the_network_is_looked_into_even_if_it_is_compiled(cli, monkeypatch):
    def backend(graph, inputs):
        # Compiled once more, with hooks and without gradients, it would keep the user waiting for minutes.
        assert torch.is_grad_enabled()
        return graph

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: compile_(function, backend=backend))
    _, _, err = cli("train", *TRAIN, "trainer.compile=true", *PLACES["a layer"][0])
    assert PLACES["a layer"][1] in err


# Class 12: only the monitored metric is not finite.


@pytest.fixture
def val_losses(monkeypatch):
    """Let the validation loss take these values in turn."""
    given = []
    results = Classification.results

    def poisoned(task):
        found = results(task)
        if task.trainer.validating or task.trainer.training:
            found["loss"] = torch.tensor(given.pop(0))
        return found

    monkeypatch.setattr(Classification, "results", poisoned)
    return given


NAN_, MINUS = float("nan"), float("-inf")


@pytest.mark.parametrize(("values", "best"), [([NAN_, 0.7, MINUS, 0.8], 0.7), ([1.0, NAN_, 0.9, NAN_], 0.9)])
def test_a_metric_that_is_no_number_is_never_the_best(cli, val_losses, values, best):
    val_losses.extend(values)
    code, _, err = cli("train", *TRAIN, "trainer.max_epochs=4", "monitor=val/loss")
    assert code == 0
    assert CheckpointStore(Path("outputs/run/checkpoints")).load("best")[0].score == pytest.approx(best)
    assert len(re.findall(r"val/loss is (nan|-inf) at step \d+", err)) == 1
    assert "NaN" not in Path("outputs/run/metrics.jsonl").read_text()


def test_a_run_whose_metric_is_never_a_number_still_ends_with_a_test(cli, val_losses):
    val_losses.extend([NAN_] * 2)
    code, out, _ = cli("train", *TRAIN, "monitor=val/loss")
    assert code == 0
    assert "last checkpoint" in out
    assert "test/accuracy" in out


def test_early_stopping_takes_it_for_no_improvement(cli, val_losses):
    # Two in a row are allowed: 0.6 comes in time, the three after it are too many.
    val_losses.extend([1.0, NAN_, MINUS, 0.6, MINUS, NAN_, 0.7, 0.1])
    options = ["callbacks=[checkpoint,early_stopping]", "callbacks.early_stopping.patience=3"]
    code, _, _ = cli("train", *TRAIN[:-3], *TRAIN[-2:], *options, "monitor=val/loss", "trainer.max_epochs=8")
    assert code == 0
    assert val_losses == [0.1]


def test_a_plateau_schedule_takes_it_for_no_improvement(cli, val_losses):
    val_losses.extend([1.0, MINUS, 0.5, NAN_, 0.4, 0.3])
    options = ["scheduler=plateau", "scheduler.patience=1", "optimizer=sgd", "optimizer.lr=0.1"]
    code, _, _ = cli("train", *TRAIN, *options, "monitor=val/loss", "trainer.max_epochs=6")
    assert code == 0
    # Never two in a row without progress.
    assert {row["lr"] for row in faulty.rows("train")} == {0.1}
    assert CheckpointStore(Path("outputs/run/checkpoints")).load("best")[0].score == pytest.approx(0.3)
