"""What a user relies on in a run: its directory, its metrics, stopping, and going on exactly."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from warm import Warm
from words import replace

import nnkit
from nnkit import config as configs
from nnkit.callbacks.nan_guard import NonFinite
from nnkit.callbacks.signals import Interrupted
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import EnvironmentFault, UserError
from nnkit.runs.fit import test as run_test
from nnkit.runs.resuming import resume
from nnkit.runs.run import Run
from nnkit.runs.training import train

# Shuffling, dropout, augmentation and a schedule that moves every step: without them a fault of resume is not seen.
SMALL = [
    "data=digits",
    "model=mlp",
    "model.hidden=[16]",
    "model.dropout=0.2",
    "data.augment.shift=1",
    "data.batch_size=100",
    "trainer.max_epochs=3",
    "trainer.num_threads=1",
    "trainer.log_every_n_steps=5",
    "callbacks=[checkpoint]",
    "logger=[]",
]


def weights(run):
    return CheckpointStore(run.checkpoints).load("last")[1]


def assert_same(left, right, where=""):
    """Compare two checkpoints whole, with tolerance 0."""
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right), where
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            assert_same(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), where
        for number, (a, b) in enumerate(zip(left, right, strict=True)):
            assert_same(a, b, f"{where}[{number}]")
    else:
        assert left == right, where


def forget_names(checkpoint):
    """Leave out what two runs may differ in: the directory's name inside the config."""
    checkpoint["nnkit"].pop("config")
    return checkpoint


class StopAt(Callback):
    """Sends a signal to this process at the end of one step, as a user would at the terminal."""

    def __init__(self, step, number=signal.SIGINT):
        self.step, self.number, self.sent = step, number, False

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step + 1 == self.step and not self.sent:
            self.sent = True
            os.kill(os.getpid(), self.number)


def train_with(callback, words):
    """Train with one callback more than those of the config."""
    return train(*configs.examine(words), show=False, extra=[callback])


def test_a_run_directory_holds_what_a_person_looks_for(records):
    result = nnkit.train(replace(SMALL, "logger=[tensorboard]", "callbacks=[checkpoint,throughput]"))
    path = result.run.path
    assert path.parent == Path("outputs/mlp-digits")
    names = {entry.name for entry in path.iterdir()}
    assert {
        "config.yaml",
        "preprocessing.json",
        "run.json",
        "metrics.jsonl",
        "timing.jsonl",
        "checkpoints",
    } <= names
    assert list((path / "tensorboard").glob("events*"))
    record = json.loads((path / "run.json").read_text())
    assert record["status"] == "done"
    assert record["metrics"]["test/accuracy"] == result.metrics["test/accuracy"]
    assert record["seed"] == 0
    assert record["parameters"] == 64 * 16 + 16 + 16 * 10 + 10
    splits = [row["split"] for row in records(path / "metrics.jsonl")]
    assert splits.count("val") == splits.count("epoch") == 3
    assert splits.count("test") == 1
    assert len(records(path / "timing.jsonl")) == 3


def test_metrics_of_training_are_means_over_every_sample(records):
    result = nnkit.train([*SMALL, "model.dropout=0", "optimizer=sgd", "optimizer.lr=0", "scheduler=constant"])
    rows = records(result.run.path / "metrics.jsonl")
    losses = [row["train/loss"] for row in rows if row["split"] == "epoch"]
    # Weights that never move score every epoch alike, up to the augmentation.
    assert max(losses) - min(losses) < 0.02
    windows = [row for row in rows if row["split"] == "train"]
    assert [row["step"] for row in windows[:3]] == [5, 10, 15]


def test_test_repeats_the_metrics_to_the_digit():
    result = nnkit.train(SMALL)
    repeated = run_test("last")
    assert repeated == {name: value for name, value in result.metrics.items() if name.startswith("test/")}


def test_equal_commands_give_equal_weights_and_another_seed_others():
    first, second, third = (nnkit.train([*SMALL, f"seed={seed}"]).run for seed in (1, 1, 2))
    assert_same(weights(first)["state_dict"], weights(second)["state_dict"])
    with pytest.raises(AssertionError):
        assert_same(weights(first)["state_dict"], weights(third)["state_dict"])


# Inside and at the end of epochs and of windows; test_exactness.py resumes with everything else that has a state.
@pytest.mark.parametrize(
    ("step", "extra"),
    [(1, []), (13, []), (26, []), *((step, ["trainer.accumulate_grad_batches=2"]) for step in (7, 20))],
)
def test_a_run_stopped_by_ctrl_c_goes_on_exactly(records, step, extra):
    whole = nnkit.train([*SMALL, "name=whole", *extra]).run
    last = json.loads((whole.path / "run.json").read_text())["step"]
    with pytest.raises(Interrupted) as stopped:
        train_with(StopAt(min(step, last - 1)), [*SMALL, "name=stopped", *extra])
    assert stopped.value.exit_code == 130
    assert "nnkit resume outputs/stopped" in str(stopped.value)
    run = Run(Path("outputs/stopped"))
    assert run.status() == "stopped"
    resume("stopped", show=False)
    assert run.status() == "done"
    assert_same(forget_names(weights(whole)), forget_names(weights(run)))
    assert records(whole.path / "metrics.jsonl") == records(run.path / "metrics.jsonl")


def test_a_killed_run_goes_on_exactly(records):
    command = [*SMALL, "callbacks.checkpoint.every_n_steps=1", "trainer.max_epochs=8", "name=killed"]
    whole = nnkit.train([*command[:-1], "name=whole"]).run
    process = Warm(nnkit.train, command)
    run = Run(Path("outputs/killed"))
    deadline = time.monotonic() + 60
    while len(CheckpointStore(run.checkpoints).manifests()) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.end()
    assert run.status() == "killed"
    resume("killed", show=False)
    assert_same(forget_names(weights(whole)), forget_names(weights(run)))
    assert records(whole.path / "metrics.jsonl") == records(run.path / "metrics.jsonl")


def test_a_finished_run_is_not_resumed():
    nnkit.train(SMALL)
    with pytest.raises(UserError, match="is finished"):
        resume("last")


def test_max_steps_in_mid_epoch_validates_once_and_saves(records):
    run = nnkit.train([*SMALL[:6], *SMALL[7:], "trainer.max_steps=20"]).run
    rows = records(run.path / "metrics.jsonl")
    assert [row["step"] for row in rows if row["split"] == "val"] == [13, 20]
    assert CheckpointStore(run.checkpoints).load("last")[0].step == 20


def test_validation_inside_an_epoch_saves_and_chooses_the_best(records):
    run = nnkit.train([*SMALL, "trainer.val_check_interval=0.5", "callbacks.checkpoint.keep_last=100"]).run
    rows = [row for row in records(run.path / "metrics.jsonl") if row["split"] == "val"]
    assert len(rows) == 6
    best, _ = CheckpointStore(run.checkpoints).load("best")
    assert best.score == pytest.approx(max(row["val/accuracy"] for row in rows))
    steps = {manifest.step for manifest in CheckpointStore(run.checkpoints).manifests()}
    assert {row["step"] for row in rows} <= steps


def test_a_diverging_run_stops_before_the_step_and_says_where():
    with pytest.raises(NonFinite, match="not finite at step") as diverged:
        nnkit.train(
            [*SMALL[:-2], "logger=[]", "optimizer=sgd", "optimizer.lr=1e30", "scheduler=constant", "name=bad"]
        )
    assert diverged.value.exit_code == 1
    assert "optimizer.lr=" in str(diverged.value)
    assert Run(Path("outputs/bad")).status() == "failed"


def test_skip_leaves_bad_batches_out_and_the_weights_stay_finite():
    class Poison(Callback):
        def on_before_backward(self, trainer, pl_module, loss):
            if trainer.global_step == 3:
                loss.data.fill_(float("nan"))

    options = ["callbacks=[checkpoint,nan_guard]", "callbacks.nan_guard.policy=skip"]
    result = train_with(Poison(), replace(SMALL, *options))
    assert all(torch.isfinite(p).all() for p in result.session.task.network.parameters())


def test_bf16_with_the_default_optimizer_and_clipping_trains_on_a_cpu():
    options = [
        "trainer.precision=bf16-mixed",
        "trainer.gradient_clip_val=1.0",
        "optimizer.lr=0.01",
        "data.batch_size=20",
    ]
    result = nnkit.train([*SMALL, "model.dropout=0", *options])
    assert result.metrics["test/accuracy"] > 0.7


def test_clipping_bounds_the_gradient():
    norms = []

    class Norms(Callback):
        def on_before_zero_grad(self, trainer, pl_module, optimizer):
            gradients = [p.grad for p in pl_module.network.parameters() if p.grad is not None]
            if gradients:
                norms.append(torch.nn.utils.get_total_norm(gradients).item())

    train_with(Norms(), [*SMALL, "trainer.gradient_clip_val=0.01"])
    assert norms
    assert max(norms) <= 0.0101


def test_a_gpu_demanded_where_there_is_none_is_the_environments_fault():
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(EnvironmentFault, match=r"trainer\.accelerator=gpu"):
        nnkit.train([*SMALL, "trainer.accelerator=gpu"])
    assert not Path("outputs").exists()


def test_early_stopping_knows_which_way_is_better(records):
    options = [
        "callbacks=[checkpoint,early_stopping]",
        "callbacks.early_stopping.patience=1",
        "trainer.max_epochs=50",
    ]
    run = nnkit.train(replace(SMALL, *options, "optimizer.lr=0", "scheduler=constant", "optimizer=sgd")).run
    assert len([row for row in records(run.path / "metrics.jsonl") if row["split"] == "val"]) == 2


def test_nothing_but_dropout_draws_from_the_global_generator():
    torch.manual_seed(5)
    nnkit.train([*SMALL, "model.dropout=0", "seed=3"])
    after = torch.get_rng_state()
    nnkit.train([*SMALL, "model.dropout=0", "seed=3", "trainer.max_epochs=1"])
    assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize(("has_units", "expected"), [(True, "medium"), (False, "highest")])
def test_the_precision_of_products_left_to_the_machine_is_fixed_when_a_run_starts(
    has_units, expected, monkeypatch
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has_units}, raising=False)
    try:
        words = ["data=iris", "trainer.max_steps=1", "trainer.matmul_precision=null", "trainer.num_threads=1"]
        run = nnkit.train([*words, "logger=[]", "callbacks=[checkpoint]"]).run
        assert f"matmul_precision: {expected}" in (run.path / "config.yaml").read_text()
        assert torch.get_float32_matmul_precision() == expected
    finally:
        torch.set_float32_matmul_precision("highest")


def test_a_cluster_s_login_node_is_not_spoken_of(cli, tmp_path, monkeypatch):
    """Lightning warns wherever SLURM is installed: one process needs no srun, and several have joined already."""
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", str(srun.parent), prepend=os.pathsep)
    for words in (["train", *SMALL, "trainer.max_steps=2", "name=x"], ["test", "x"], ["check", *SMALL]):
        code, out, err = cli(*words)
        assert code == 0, err
        assert "srun" not in out + err
    # It is made by its first line.
    assert not Path("outputs/x/train.log").exists()
