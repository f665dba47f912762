"""What is not finite never reaches the weights, nor the choice of a checkpoint (classes 11 and 12)."""

import json
import re
from pathlib import Path

import faulty
import pytest
import torch
from exactness import assert_same_end, cut
from faulty import TRAIN
from lightning.pytorch import Callback
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.trainer.connectors import accelerator_connector

import nnkit
from nnkit import fit as fitting
from nnkit.callbacks import nan_guard
from nnkit.callbacks.triage import Finding
from nnkit.checkpoint.compare import differences
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import NnkitError
from nnkit.resuming import resume
from nnkit.run import Run
from nnkit.tasks.classification import Classification

EVERY_STEP = ["callbacks.checkpoint.every_n_steps=1", "callbacks.checkpoint.keep_last=1000"]
SKIP = "callbacks.nan_guard.policy=skip"
# Sample 40 is drawn in the fourth step of the first epoch, samples 5 and 40 in two steps of every epoch.
MARKED = ["data.fault=mark", "data.bad=[40]"]
NAN = ["data.fault=not_a_number", "data.bad=[40]"]


@pytest.fixture(autouse=True)
def own_package(monkeypatch):
    faulty.install(monkeypatch)


@pytest.fixture
def add_callback(monkeypatch):
    """Add a callback to the next runs, as a config would."""

    def add(callback):
        build_all = fitting.build_all
        monkeypatch.setattr(
            fitting,
            "build_all",
            lambda group, *rest, **named: (
                build_all(group, *rest, **named) + ([callback] if group == "callbacks" else [])
            ),
        )

    return add


class Poison(Callback):
    """Changes the network before one batch."""

    def __init__(self, change, step=3):
        self.change, self.step = change, step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            with torch.no_grad():
                self.change(pl_module.network)


def checkpoint(step, name="run"):
    """Return a checkpoint of one step."""
    store = CheckpointStore(Path("outputs", name, "checkpoints"))
    file = next(one.file for one in store.manifests() if one.step == step)
    return torch.load(store.directory / file, weights_only=True)


def rows(split, name="run"):
    lines = [json.loads(line) for line in Path("outputs", name, "metrics.jsonl").read_text().splitlines()]
    return [row for row in lines if row["split"] == split]


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


def test_a_parameter_that_is_not_finite_is_named(cli, add_callback):
    add_callback(Poison(lambda network: network.head.linear.weight.fill_(torch.nan)))
    _, _, err = cli("train", *TRAIN)
    assert "first found: what head.linear (Linear) returns is not finite, as its weight is not" in err


def test_a_parameter_that_only_a_gradient_notices_is_named(cli, add_callback):
    add_callback(Poison(lambda network: network.body.hidden.fill_(torch.nan)))
    _, _, err = cli("train", *TRAIN, "model.fault=parameter")
    assert "first found: the parameter body.hidden is not finite" in err


def test_a_norm_too_large_for_its_type_is_told_from_a_gradient_that_is_not_finite(cli, add_callback):
    add_callback(Poison(lambda network: network.head.linear.weight.fill_(1e30)))
    _, _, err = cli("train", *TRAIN)
    assert "first found: the gradient is finite, its norm is not: body." in err


def test_at_the_first_step_the_learning_rate_is_not_blamed(cli, add_callback):
    add_callback(Poison(lambda network: network.head.linear.weight.fill_(torch.nan), step=0))
    _, _, err = cli("train", *TRAIN)
    assert "no step has been taken yet, so it is not the learning rate" in err
    assert "optimizer.lr" not in err


def test_a_second_pass_that_finds_nothing_blames_no_layer(cli, add_callback):
    class Lie(Callback):
        def on_before_backward(self, trainer, pl_module, loss):
            if trainer.global_step == 3:
                loss.data.fill_(torch.nan)

    add_callback(Lie())
    code, _, err = cli("train", *TRAIN)
    assert code == 1
    assert "first found: nothing: computed a second time, with other dropout, all is finite" in err


def test_the_network_is_looked_into_even_if_it_is_compiled(cli, monkeypatch):
    # Compiled for real, a step would take minutes; what counts is that it is not called.
    compile_ = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compile_(module, backend="eager"))
    _, _, err = cli("train", *TRAIN, "trainer.compile=true", *PLACES["a layer"][0])
    assert PLACES["a layer"][1] in err


# Policy "skip".


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_skipped_step_leaves_weights_optimizer_and_statistics_alone(cli, precision):
    options = [SKIP, *EVERY_STEP, *NAN, f"trainer.precision={precision}", "trainer.max_epochs=1"]
    code, _, err = cli("train", *TRAIN, *options)
    assert code == 0
    assert "step 3 is skipped: in the batch itself, inputs of training samples 40 (1 of 16)" in err
    assert "1 of 4 steps were skipped" in err
    before, after = checkpoint(3), checkpoint(4)
    network = {key for key in before["state_dict"] if key.startswith("network.")}
    assert any("running_mean" in key for key in network)
    assert not list(
        differences(*({key: one["state_dict"][key] for key in network} for one in (before, after)))
    )
    # Of the optimizer the learning rate alone moves on.
    assert not list(differences(*(one["optimizer_states"][0]["state"] for one in (before, after))))
    # The samples are in no mean, and no mean is spoilt.
    losses = [row.get("train/loss") for row in rows("train")]
    assert losses[3] is None
    (epoch,) = rows("epoch")
    assert epoch["train/loss"] == pytest.approx(sum(losses[:3]) / 3)
    assert all(value is not None for row in rows("val") for value in row.values())


def test_skipping_leaves_out_the_whole_accumulation_window(cli):
    # Sample 40 is in the last of four batches, the third goes with it.
    options = [SKIP, *EVERY_STEP, *NAN, "trainer.accumulate_grad_batches=2", "trainer.max_epochs=1"]
    assert cli("train", *TRAIN, *options)[0] == 0
    before, after = (checkpoint(step)["state_dict"] for step in (1, 2))
    assert not list(differences(*({k: v for k, v in s.items() if "network" in k} for s in (before, after))))
    (epoch,) = rows("epoch")
    assert epoch["train/loss"] == pytest.approx(rows("train")[0]["train/loss"])


def test_the_first_skipped_steps_are_told_and_all_are_counted(cli):
    options = [SKIP, "data.fault=not_a_number", "data.bad=[5,40]", "trainer.max_epochs=4"]
    code, _, err = cli("train", *TRAIN, *options)
    assert code == 0
    assert len(re.findall(r"step \d+ is skipped", err)) == 5
    assert err.count("further ones are only counted") == 1
    assert "8 of 16 steps were skipped" in err
    callbacks = CheckpointStore(Path("outputs/run/checkpoints")).load("last")[1]["callbacks"]
    assert callbacks["NanGuard"]["skipped"] == 8


def test_a_run_that_skips_every_step_of_an_epoch_stops(cli):
    options = [
        SKIP,
        "data.fault=not_a_number",
        f"data.bad={list(range(64))}".replace(" ", ""),
        "trainer.max_epochs=3",
    ]
    code, _, err = cli("train", *TRAIN, *options)
    assert code == 1
    assert "every step of epoch 0 was skipped, 4 in all" in err
    assert Run(Path("outputs/run")).status() == "failed"
    assert not CheckpointStore(Path("outputs/run/checkpoints")).manifests()


def test_looking_for_the_place_changes_nothing(monkeypatch):
    options = [*TRAIN, SKIP, *MARKED, "model.fault=layer", "model.dropout=0.3"]
    looked = nnkit.train(options).run
    finding = Finding("unknown", "")
    monkeypatch.setattr(nan_guard, "triage", lambda *arguments, **named: finding)
    unseen = nnkit.train([*options, "name=unseen"]).run
    assert_same_end(looked, unseen)


def test_a_run_that_skips_resumes_exactly_inside_a_window_too(monkeypatch):
    # Three batches to a step, and validation after the second of them.
    windows = ["trainer.accumulate_grad_batches=3", "trainer.val_check_interval=2", "data.num_train=96"]
    options = [
        *TRAIN,
        SKIP,
        *EVERY_STEP,
        *windows,
        "data.fault=not_a_number",
        "data.bad=[40]",
        "model.dropout=0.2",
    ]
    whole = nnkit.train(options).run
    points = CheckpointStore(whole.checkpoints).manifests()
    assert any("-" in point.file.removeprefix("step-") for point in points)
    assert any(checkpoint(point.step)["callbacks"]["NanGuard"]["skipped"] for point in points)
    for point in points:
        stopped = cut(whole, point, "cut")
        resume("cut", show=False)
        assert_same_end(whole, stopped, point.file)


# A loss scaler, as float16 has it on a GPU.


# A scaler that skips the first step makes torch wonder about the schedule.
SCALED = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")


@pytest.fixture
def float16(monkeypatch):
    """Let mixed precision be that of float16, with a real loss scaler, which Lightning offers on GPUs only."""
    monkeypatch.setattr(
        accelerator_connector, "MixedPrecision", lambda precision, device: MixedPrecision("16-mixed", device)
    )
    return ["trainer.precision=bf16-mixed", "optimizer.fused=false"]


@SCALED
def test_a_loss_scaler_settles_infinite_gradients_by_itself(cli, float16, add_callback):
    scales = []

    class Scales(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            scales.append(trainer.precision_plugin.scaler.get_scale())

    add_callback(Scales())
    add_callback(Poison(lambda network: network.head.linear.weight.mul_(1000), step=0))
    code, _, err = cli("train", *TRAIN, *float16)
    assert code == 0, err
    assert scales[0] < 2**16
    assert "skipped" not in err


def test_a_nan_loss_is_no_affair_of_the_scaler(cli, float16):
    code, _, err = cli("train", *TRAIN, *float16, *NAN)
    assert code == 1
    assert "inputs of training samples 40" in err
    # Not multiplied by 65,536.
    losses = re.search(r"last losses: (.*);", err)[1].split(", ")
    assert all(float(loss) < 10 for loss in losses[:3])


def test_skipping_goes_with_a_scaler(cli, float16):
    code, _, err = cli("train", *TRAIN, *float16, *NAN, SKIP, *EVERY_STEP, "trainer.max_epochs=1")
    assert code == 0
    assert "1 of 4 steps were skipped" in err
    before, after = (checkpoint(step)["optimizer_states"][0]["state"] for step in (3, 4))
    assert not list(differences(before, after))


@SCALED
def test_a_scaler_that_can_do_no_more_ends_the_run(cli, float16, add_callback):
    # Samples whose gradient no scale makes finite, in every batch.
    every = f"data.bad={list(range(64))}".replace(" ", "")
    options = ["data.fault=mark", every, "model.fault=gradient", "data.batch_size=1", "data.num_train=64"]
    # One sample alone has no variance to normalise by.
    add_callback(Poison(lambda network: network.body.norm.eval(), step=0))
    code, _, err = cli("train", *TRAIN, *float16, *options)
    assert code == 1
    assert "not finite in float16 whatever the loss is scaled by" in err
    assert "trainer.precision=bf16-mixed" in err


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
    assert {row["lr"] for row in rows("train")} == {0.1}
    assert CheckpointStore(Path("outputs/run/checkpoints")).load("best")[0].score == pytest.approx(0.3)


def test_it_is_stopped_by_the_guard_only_where_training_itself_fails():
    with pytest.raises(NnkitError, match="not finite at step 3"):
        nnkit.train([*TRAIN, *NAN])
