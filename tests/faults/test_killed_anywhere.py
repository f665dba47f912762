"""FAULTS classes 1, 2 and 5: SIGKILL at every kind of place, Ctrl-C and SIGTERM; nothing is lost or done twice."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from exactness import assert_same_end
from lightning.pytorch import Callback
from warm import Warm, command, context

import nnkit
from nnkit.callbacks.signals import Interrupted
from nnkit.checkpoint.store import CheckpointStore
from nnkit.runs.resuming import resume, resume_held
from nnkit.runs.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("a_config_is_judged_once")]

WORDS = [
    "data=digits",
    "data.subset=0.25",
    "data.batch_size=64",
    "data.augment.shift=1",
    "model=mlp",
    "model.hidden=[16]",
    "model.dropout=0.2",
    "trainer.max_epochs=3",
    "trainer.accumulate_grad_batches=2",
    "trainer.val_check_interval=3",
    "trainer.num_threads=1",
    "trainer.log_every_n_steps=1",
    "callbacks=[checkpoint,ema]",
    "callbacks.checkpoint.every_n_steps=1",
    "logger=[tensorboard]",
]


class Kill(Callback):
    """Kills its process at the n-th call of one hook, before (all other callbacks' hooks) or after them."""

    def __init__(self, hook, count):
        self.left = count
        setattr(self, hook, self.strike)

    def strike(self, *arguments, **keywords):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _resume(path, hook, count):
    run = Run(Path(path))
    with run.locked():
        resume_held(run, show=False, extra=[Kill(hook, count)])


@pytest.fixture
def killed_at(tmp_path):
    """Train a run in a process of its own that dies at the n-th call of a hook."""

    def train(run, hook, count):
        process = context().Process(target=_resume, args=(str(run.path), hook, count))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL, f"{hook} was not called {count} times"

    return train


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run directory in which nothing has been trained yet: killed right after its start."""
    folder = tmp_path_factory.mktemp("begun")
    run = nnkit.train([*WORDS, "trainer.max_steps=1", "name=killed", f"output_dir={folder}"]).run
    for path in [
        *run.checkpoints.iterdir(),
        *(run.path / "tensorboard").iterdir(),
        run.path / "metrics.jsonl",
    ]:
        path.unlink()
    config = (run.path / "config.yaml").read_text().replace("max_steps: 1\n", "max_steps: -1\n")
    (run.path / "config.yaml").write_text(config.replace(str(folder), "outputs"))
    run.update(status="running")
    return run


@pytest.fixture
def fresh(begun):
    """A copy of it, for one test."""
    return Run(Path(shutil.copytree(begun.path, "outputs/killed")))


PLACES = {
    "before the first batch": ("on_train_start", 1),
    "in the first batch, nothing saved": ("on_train_batch_start", 1),
    "inside an accumulation window": ("on_before_zero_grad", 3),
    "after the backward pass": ("on_after_backward", 8),
    "on an epoch's last batch, before its validation": ("on_train_batch_end", 6),
    "at the start of validation": ("on_validation_start", 2),
    "in the middle of validation": ("on_validation_batch_end", 3),
    "at the end of validation": ("on_validation_end", 2),
    "before the epoch-end hooks": ("on_train_epoch_end", 1),
    "while a checkpoint is made": ("on_save_checkpoint", 4),
    "at the start of the next epoch": ("on_train_epoch_start", 2),
    "after the last step": ("on_train_end", 1),
    "while everything is torn down": ("teardown", 1),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the run that is never killed."""
    path = tmp_path_factory.mktemp("whole")
    return nnkit.train([*WORDS, "name=whole", f"output_dir={path}"]).run


@pytest.mark.parametrize("place", PLACES)
def test_a_kill_there_changes_nothing(place, killed_at, fresh, whole, records):
    run = fresh
    killed_at(run, *PLACES[place])
    assert run.status() == "killed"
    resume("killed", show=False)
    assert_same_end(whole, run, place)
    validations = [row["step"] for row in records(run.path / "metrics.jsonl") if row["split"] == "val"]
    assert len(validations) == len(records_of(whole, records, "val")), "each validation once"


def records_of(run, records, split):
    return [row for row in records(run.path / "metrics.jsonl") if row["split"] == split]


def test_three_kills_inside_one_epoch_and_one_in_each_other(killed_at, fresh, whole):
    run = fresh
    for count in (1, 2, 2, 4, 5):
        killed_at(run, "on_train_batch_end", count)
    assert len(run.resumptions()) == 5
    resume("killed", show=False)
    assert_same_end(whole, run)


@pytest.mark.parametrize("place", [("on_train_batch_end", 5), ("on_validation_end", 2)])
def test_tensorboard_shows_each_point_once(place, killed_at, fresh, whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = fresh
    killed_at(run, *place)
    # TensorBoard reads its files in the order of the seconds in which they were begun.
    time.sleep(1.1)
    resume("killed", show=False)
    points = []
    for one in (whole, run):
        events = EventAccumulator(str(one.path / "tensorboard"))
        events.Reload()
        points.append(
            {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        )
    assert points[0]["train/loss"] == points[1]["train/loss"]
    assert points[0]["val/loss"] == points[1]["val/loss"]


class Signal(Callback):
    """Sends a signal to this process in the middle of a step."""

    def __init__(self, step):
        self.step = step

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        if trainer.global_step + 1 == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def test_the_step_in_which_a_signal_comes_is_finished_and_saved(fresh):
    run = fresh
    config = (
        (run.path / "config.yaml").read_text().replace("    every_n_steps: 1\n", "    every_n_steps: null\n")
    )
    (run.path / "config.yaml").write_text(config)
    with run.locked(), pytest.raises(Interrupted):
        resume_held(run, show=False, extra=[Signal(4)])
    # By themselves checkpoints were due at validations and ends of epochs only: after steps 1 and 3.
    assert CheckpointStore(run.checkpoints).load("last")[0].step == 4


def test_a_signal_to_the_process_alone_saves_the_finished_step_and_the_run_goes_on_exactly():
    words = [*WORDS, "trainer.max_epochs=40", "callbacks.checkpoint.every_n_steps=null"]
    process = Warm(command, "train", *words, "name=mine")
    run = Run(Path("outputs/mine"))
    deadline = time.monotonic() + 300
    while len(list(run.checkpoints.glob("*.json"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    code, said = process.wait(60)
    assert code == 143, said
    assert "Traceback" not in said
    assert "nnkit resume outputs/mine" in said
    assert run.status() == "stopped"
    step = run.record()["step"]
    # Either the finished step was saved, or it came in a validation, where the last checkpoint stands.
    assert CheckpointStore(run.checkpoints).load("last")[0].step <= step
    resume("mine", show=False)
    assert_same_end(nnkit.train([*words, "name=whole"]).run, run)
