"""A skipped step leaves no trace, and what a loss scaler skips is its own affair (class 11)."""

import re
from pathlib import Path

import faulty
import pytest
from exactness import assert_same_end, cut
from faulty import TRAIN, Poison, add_callback, checkpoint, rows
from lightning.pytorch import Callback
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.trainer.connectors import accelerator_connector

import nnkit
from nnkit.callbacks import nan_guard
from nnkit.callbacks.triage import Diagnosis
from nnkit.checkpoint.compare import differences
from nnkit.checkpoint.store import CheckpointStore
from nnkit.runs.resuming import resume
from nnkit.runs.run import Run

EVERY_STEP = ["callbacks.checkpoint.every_n_steps=1", "callbacks.checkpoint.keep_last=1000"]
SKIP = "callbacks.nan_guard.policy=skip"
MARKED = ["data.fault=mark", "data.bad=[40]"]
NAN = ["data.fault=not_a_number", "data.bad=[40]"]


@pytest.fixture(autouse=True)
def own_package(monkeypatch):
    faulty.install(monkeypatch)


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
    finding = Diagnosis("unknown", "")
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
    assert any("-" in point.name.removeprefix("step-") for point in points)
    assert any(checkpoint(point.step)["callbacks"]["NanGuard"]["skipped"] for point in points)
    for point in points:
        stopped = cut(whole, point, "cut")
        resume("cut", show=False)
        assert_same_end(whole, stopped, point.name)


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
def test_a_loss_scaler_settles_infinite_gradients_by_itself(cli, float16, monkeypatch):
    scales = []

    class Scales(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            scales.append(trainer.precision_plugin.scaler.get_scale())

    add_callback(monkeypatch, Scales())
    add_callback(monkeypatch, Poison(lambda network: network.head.linear.weight.mul_(1000), step=0))
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


def test_a_scaler_hides_no_loss_of_an_earlier_batch(cli, float16):
    # Sample 52 is in the second of four batches; of the gradients the scaler would make nothing.
    options = ["trainer.accumulate_grad_batches=4", "data.fault=not_a_number", "data.bad=[52]"]
    code, _, err = cli("train", *TRAIN, *float16, *options)
    assert code == 1
    assert "not finite at step 0;" in err
    assert "inputs of training samples 52 (1 of 16)" in err
    losses = [float(loss) for loss in re.search(r"last losses: (.*);", err)[1].split(", ")]
    assert losses[0] == pytest.approx(losses[3], abs=1)


def test_skipping_goes_with_a_scaler(cli, float16):
    code, _, err = cli("train", *TRAIN, *float16, *NAN, SKIP, *EVERY_STEP, "trainer.max_epochs=1")
    assert code == 0
    assert "1 of 4 steps were skipped" in err
    before, after = (checkpoint(step)["optimizer_states"][0]["state"] for step in (3, 4))
    assert not list(differences(before, after))


@SCALED
def test_a_scaler_that_can_do_no_more_ends_the_run(cli, float16, monkeypatch):
    # Samples whose gradient no scale makes finite, in every batch.
    every = f"data.bad={list(range(64))}".replace(" ", "")
    options = ["data.fault=mark", every, "model.fault=gradient", "data.batch_size=1", "data.num_train=64"]
    # One sample alone has no variance to normalise by.
    add_callback(monkeypatch, Poison(lambda network: network.body.norm.eval(), step=0))
    code, _, err = cli("train", *TRAIN, *float16, *options)
    assert code == 1
    assert "not finite in float16 whatever the loss is scaled by" in err
    assert "trainer.precision=bf16-mixed" in err
